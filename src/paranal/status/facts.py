"""What ``paranal status`` can see on a gateway, as frozen data: the whole input of a diagnosis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias

from paranal.agreement import is_open
from paranal.agreement.suspension import Suspensions
from paranal.status.bounded import Unseen
from paranal.tunnels.charon import IkeSa

if TYPE_CHECKING:  # it brings all that checks certificates, and a timer reads these facts
    from paranal.control.notice import Heard


@dataclass(frozen=True)
class Charon:
    """The daemon's own view: is it there, what is loaded (peer identities), what is up.

    ``boots``: the next start loads the connections that were applied.
    """

    running: bool
    loaded: frozenset[str] = frozenset()
    tunnels: tuple[IkeSa, ...] = ()
    data_plane: str = "userspace"
    boots: bool = True


class Ike(StrEnum):
    """What the last attempt to bring a pair up came to, as far as the log tells."""

    NO_REPLY = "no_reply"
    NOT_SENT = "not_sent"
    THEY_REFUSED_US = "they_refused_us"
    NO_PROPOSAL = "no_proposal"
    SELECTORS = "selectors"
    THEY_CLOSED = "they_closed"
    WE_DO_NOT_TRUST = "we_do_not_trust"
    THEIRS_INVALID = "theirs_invalid"
    OURS_MISSING = "ours_missing"
    KEY_DIFFERS = "key_differs"


class Reach(StrEnum):
    """What an active try of the peer's service port came to."""

    ANSWERED = "answered"
    TCP_REFUSED = "tcp_refused"
    TCP_TIMEOUT = "tcp_timeout"
    NO_ROUTE = "no_route"
    NOT_AUTHORISED = "not_authorised"
    TLS_REFUSED = "tls_refused"
    TLS_UNTRUSTED = "tls_untrusted"
    HTTP_FAILED = "http_failed"


Flow: TypeAlias = tuple[str, str, str]
"""One direction of a service as we see it: (``asks`` or ``answers``, peer's code, service)."""


@dataclass(frozen=True)
class Firewall:
    """Our nft table in the kernel: there, dropping by default, and what it lets pass.

    ``flows`` have both their rules, ``partial`` only the one for questions or for replies.
    ``boots``: the next boot loads the rules that were applied; ``policies``: the kernel plane's own
    drop policies are all there.
    """

    present: bool
    drops: bool = False
    flows: frozenset[Flow] = frozenset()
    partial: frozenset[Flow] = frozenset()
    boots: bool = True
    policies: bool = True


@dataclass(frozen=True)
class Services:
    """Our half's processes.

    ``units``: unit -> systemd's ActiveState; ``healthy``: the services' units whose ``/health``
    says that they reach the database; ``listening``: the (address, port) pairs TCP listens on;
    ``database``: PostgreSQL's unit, which is named by its major version.
    """

    units: Mapping[str, str]
    healthy: frozenset[str]
    listening: frozenset[tuple[str, int]]
    database: str


@dataclass(frozen=True)
class Exchange:
    """The last questions of one flow: when one last went well, and how the very last one ended.

    ``outcome`` is ``GOOD``, ``REFUSED``, ``NOT_AUTHORISED``, ``TIMEOUT`` or ``UNAVAILABLE``.
    """

    last_good: datetime | None
    last_at: datetime | None = None
    outcome: str | None = None


@dataclass(frozen=True)
class Certificate:
    """One of our own leaves, named as role ``pki`` names it: ``ike``, ``operational``, ..."""

    name: str
    path: str
    not_before: datetime
    not_after: datetime


@dataclass(frozen=True)
class Crl:
    """One certificate revocation list on this node: country, ``root`` or ``issuing``, its dates."""

    country: str
    authority: str
    this_update: datetime
    next_update: datetime


@dataclass(frozen=True)
class LineCheck:
    """The line-check timer's last note on a pair with nothing open."""

    at: datetime
    ok: bool
    reason: str


@dataclass(frozen=True)
class Facts:
    """Everything one diagnosis may look at. ``view`` has the shape of docs/architecture.md."""

    now: datetime
    view: Mapping[str, Any]
    charon: Charon | Unseen
    firewall: Firewall | Unseen
    services: Services | Unseen
    exchange: Mapping[Flow, Exchange] | Unseen
    certificates: tuple[Certificate, ...] | Unseen
    crls: tuple[Crl, ...] | Unseen
    traces: Mapping[str, Ike] | Unseen
    lines: Mapping[str, LineCheck] | Unseen
    suspended: Suspensions = field(default_factory=Suspensions)
    """What this member suspended by itself; ``view`` is narrowed by it."""
    notices: Mapping[str, Heard] | Unseen = field(default_factory=dict)
    """Peer -> what it said last of itself."""
    reached: Mapping[tuple[str, str], Reach | Unseen] = field(default_factory=dict)
    """(peer, service) -> what the active try said; empty without ``--probe``."""


@dataclass(frozen=True)
class Direction:
    """One service in one direction between us and a peer, as the agreement has it."""

    way: str
    peer: Mapping[str, Any]
    service: str
    channel: str
    port: int
    status: str

    @property
    def flow(self) -> Flow:
        """The key of this direction in every collected table."""
        return (self.way, self.peer["code"], self.service)

    @property
    def open(self) -> bool:
        """Tell whether traffic should pass at all."""
        return is_open(self.status)


def directions(view: Mapping[str, Any], peer: Mapping[str, Any]) -> tuple[Direction, ...]:
    """Return every direction and service between the view's member and one of its peers."""
    return tuple(
        Direction(way, peer, name, service["channel"], service["port"], peer[way][name])
        for name, service in view["services"].items()
        for way in ("asks", "answers")
    )
