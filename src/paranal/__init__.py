"""Paranal: real-time border queries between sovereign states."""

__version__ = "0.1.0"
