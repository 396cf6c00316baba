"""Postquantum preshared keys (RFC 8784) of a country: made, sealed for the peer, kept, dropped.

Runs on the controller only. Why so: ``docs/adr/0008-postquantum-preshared-keys-by-ceremony.md``.
"""
