"""The view that a service works by, and its settings: read strictly, followed as they change."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from paranal.agreement.suspension import narrowed, read_suspensions
from paranal.messages import Refusal
from paranal.serving.files import Watched

T = TypeVar("T")


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
    """What a service reads of a member."""

    code: str
    domain: str
    addresses: dict[str, str]
    identities: dict[str, str]
    contact: Contact


class Pair(msgspec.Struct, frozen=True):
    """A pair's name, and the digest of all that both its ends must agree on."""

    name: str
    parity: str


class Peer(Member, frozen=True):
    """A member on the other side, with the status of both directions."""

    pair: Pair
    asks: dict[str, str]
    answers: dict[str, str]
    ask_names: dict[str, str]
    answer_names: dict[str, str]


class View(msgspec.Struct, frozen=True):
    """The part of ``view.json`` (docs/architecture.md) that services work by."""

    epoch: int
    digest: str
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
