"""The control service's settings, ``/etc/paranal/control.json``."""

from __future__ import annotations

from pathlib import Path

import msgspec

from paranal.agreement.suspension import RECORD
from paranal.control.trusted import FILE as TRUSTED

WINDOWS = Path("/var/lib/paranal/maintenance.json")
"""The maintenance that we announce; root's, readable by the service."""
SERVICE = "control"
CHANNEL = "strategic"


class Control(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the service needs beyond the view.

    ``swanctl`` holds every member's authority and lists, ``inbox`` takes what is news, ``notices``
    what peers say of themselves, and ``credentials`` (one PEM of key, leaf and issuing CA) and
    ``trust`` are for calling peers. What we suspended, our ``maintenance`` and which roots root saw
    ``trusted`` here are told to them.
    """

    view: Path
    swanctl: Path
    inbox: Path
    notices: Path
    credentials: Path
    trust: Path
    suspended: Path = RECORD
    maintenance: Path = WINDOWS
    trusted: Path = TRUSTED
