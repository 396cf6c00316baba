"""The lab: one container per country, four separate WAN links, and faults to put on them.

``Lab`` brings a named mesh up, breaks it on purpose, and takes it down without leaving a trace.
It stands in for the hardware, the Debian installer and the line; whatever a role provisions it
leaves alone.
"""

from paranal.lab.lab import Lab

__all__ = ["Lab"]
