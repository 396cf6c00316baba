"""The query services' settings, ``/etc/paranal/{national,alliance}.json``."""

from __future__ import annotations

from pathlib import Path

import msgspec

from paranal.agreement.suspension import RECORD


class Database(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to reach PostgreSQL: the socket's directory, and who we are there (peer auth)."""

    host: str
    name: str
    user: str
    pool: int = 8
    timeout_seconds: float = 3.0


class National(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the national service needs beyond the view.

    ``credentials`` is one PEM of key, leaf and issuing CA; ``trust`` the directory that holds each
    peer's ``CC-ca.pem`` and ``CC.crl``.
    """

    view: Path
    database: Database
    credentials: Path
    trust: Path
    deadline_seconds: float = 4.0
    suspended: Path = RECORD


class Alliance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the alliance service needs beyond the view: the sources that must all have spoken."""

    view: Path
    database: Database
    sources: tuple[str, ...]
    suspended: Path = RECORD
