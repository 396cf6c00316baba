"""A service's settings (``/etc/paranal/{national,alliance}.json``) and the view it works by."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from paranal.agreement.suspension import RECORD, narrowed, read_suspensions
from paranal.messages import Refusal
from paranal.query.files import Watched

T = TypeVar("T")


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


class Service(msgspec.Struct, frozen=True):
    """A service of the agreement."""

    channel: str
    port: int
    status: str


class Contact(msgspec.Struct, frozen=True):
    """Whom to call at any hour."""

    name: str
    phone: str
    email: str


class Member(msgspec.Struct, frozen=True):
    """What the query server reads of a member."""

    code: str
    domain: str
    addresses: dict[str, str]
    identities: dict[str, str]
    contact: Contact


class Peer(Member, frozen=True):
    """A member on the other side, with the status of both directions."""

    asks: dict[str, str]
    answers: dict[str, str]
    ask_names: dict[str, str]
    answer_names: dict[str, str]


class View(msgspec.Struct, frozen=True):
    """The part of ``view.json`` (docs/architecture.md) that the query server works by."""

    services: dict[str, Service]
    member: Member
    peers: tuple[Peer, ...]

    def peer(self, code: str) -> Peer:
        """Return the peer of that code; ``KeyError`` when there is none."""
        for peer in self.peers:
            if peer.code == code:
                return peer
        raise KeyError(code)


def watched_view(path: Path, record: Path) -> Watched[View]:
    """Return the view that follows its file and what this member suspended by itself."""

    def made() -> View:
        view = narrowed(msgspec.json.decode(path.read_bytes()), read_suspensions(record))
        return msgspec.convert(view, type=View)

    return Watched([path], made, may_lack=[record])


def read(path: Path, kind: type[T]) -> T:
    """Return the settings in ``path``; raises ``OSError`` or ``ValueError`` with the reason."""
    data = path.read_bytes()
    # msgspec 0.19, Debian 13's, leaves paths to its caller, and its errors are no ValueError.
    try:
        return msgspec.json.decode(data, type=kind, dec_hook=lambda _, text: Path(text))
    except (msgspec.MsgspecError, TypeError) as error:
        raise ValueError(str(error)) from None


def load(path: Path, kind: type[T]) -> T:
    """Return a service's settings; raises ``Refusal`` PAR-0592 with the reason."""
    try:
        return read(path, kind)
    except (OSError, ValueError) as error:
        raise Refusal("PAR-0592", path=path, reason=error) from None
