"""What a member tells its peers of itself: what it suspended, and when it will be at work.

A notice opens and closes nothing: it says why something is closed. Each replaces the one before.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec

from paranal.agreement.suspension import Suspensions, read_suspensions
from paranal.control import inbox
from paranal.control.settings import WINDOWS
from paranal.messages import Refusal
from paranal.pki.storage import write_atomic
from paranal.serving.view import Peer, View

PATH = "/v1/notice"
HEARD = Path("/var/lib/paranal/notices")
"""What each peer said last, ``CC.json``; the service's own."""
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
"""RFC 3339, with its offset."""
OCTETS_MAX = 8192
TEXT_MAX = 200
SUSPENDED = "suspended"


class Closed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One service in one direction that its sender suspended, and since when where it is known."""

    direction: Annotated[str, msgspec.Meta(pattern="^[a-z]{2}>[a-z]{2}$")]
    service: Annotated[str, msgspec.Meta(pattern="^[a-z]{1,32}$")]
    since: Moment | None = None


class Window(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Maintenance from ``begin`` to ``end``, and what to know of it, in a line of plain text.

    Raises ``ValueError`` for an end that is not after its begin, and for any other text: it is
    shown on terminals of another country.
    """

    begin: Moment
    end: Moment
    text: str

    def __post_init__(self) -> None:
        """Refuse what is no window."""
        if self.begin >= self.end:
            raise ValueError("begin, end")
        marks = (unicodedata.category(sign)[0] for sign in self.text)
        if not 0 < len(self.text.strip()) <= len(self.text) <= TEXT_MAX or "C" in marks:
            raise ValueError("text")


class Notice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that a member has to tell one peer; empty when nothing is wrong."""

    closed: tuple[Closed, ...] = ()
    windows: tuple[Window, ...] = ()


class Heard(msgspec.Struct, frozen=True):
    """A peer's notice as this node keeps it."""

    at: datetime
    notice: Notice


def notice_to(
    peer: Peer, view: View, record: Suspensions, windows: Iterable[Window] = ()
) -> Notice:
    """Return what to tell a peer; ``view`` is narrowed by ``record`` (``agreement.suspension``).

    Nobody is told why we suspended: the reason is this country's own.
    """
    us = view.member.code
    ways = ((f"{us}>{peer.code}", peer.asks), (f"{peer.code}>{us}", peer.answers))
    closed = (
        Closed(direction, service, _since(record, direction, service))
        for direction, found in ways
        for service, status in found.items()
        if status == SUSPENDED
    )
    return Notice(tuple(closed), tuple(windows))


def _since(record: Suspensions, direction: str, service: str) -> datetime | None:
    since = (one.since for one in record.entries if one.covers(direction, service))
    return next(map(datetime.fromisoformat, since), None)


def checked_notice(data: bytes, peer: Peer, view: View) -> Notice:
    """Return a peer's notice, which may speak of its pair with us and of nothing else.

    Raises ``Refusal`` PAR-0925.
    """
    try:
        notice = msgspec.json.decode(data, type=Notice)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Refusal("PAR-0925", member=peer.code, reason=error) from None
    ours = {f"{view.member.code}>{peer.code}", f"{peer.code}>{view.member.code}"}
    if strange := {one.direction for one in notice.closed} - ours:
        raise Refusal("PAR-0925", member=peer.code, reason=", ".join(sorted(strange)))
    return notice


def keep(notice: Notice, peer: Peer, folder: Path) -> bool:
    """Keep a peer's notice unless it is the one held; raises ``Refusal`` PAR-0926."""
    path = folder / f"{peer.code}.json"
    try:
        held = _held(path)
        if held and held.notice == notice:
            return False
        write_atomic(path, msgspec.json.encode(Heard(datetime.now(UTC), notice)), 0o644)
    except OSError as error:
        raise Refusal("PAR-0926", path=path, reason=error.strerror) from None
    return True


def heard(peers: Iterable[str], folder: Path = HEARD) -> dict[str, Heard]:
    """Return what each of ``peers`` said last; one that has said nothing is not in it."""
    found = {code: _held(folder / f"{code}.json") for code in peers}
    return {code: one for code, one in found.items() if one}


def _held(path: Path) -> Heard | None:
    try:
        return msgspec.json.decode(inbox.content(path, 2 * OCTETS_MAX), type=Heard)
    except msgspec.MsgspecError:
        return None


def current(windows: Iterable[Window], now: datetime) -> tuple[Window, ...]:
    """Return the windows that are not over."""
    return tuple(window for window in windows if window.end > now)


def own_windows(path: Path = WINDOWS) -> tuple[Window, ...]:
    """Return the windows that this member has announced; none without a file."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=tuple[Window, ...])
    except FileNotFoundError:
        return ()
    except msgspec.MsgspecError as error:
        raise Refusal("PAR-0929", path=path, reason=error) from None


def announce(windows: Iterable[Window], path: Path = WINDOWS) -> None:
    """Replace what is announced; the service tells the peers within seconds."""
    write_atomic(path, msgspec.json.format(msgspec.json.encode(tuple(windows))) + b"\n", 0o644)


def standing(view: View, record: Path, windows: Path) -> dict[str, bytes]:
    """Return for each peer what it has to be told now, encoded."""
    held, announced = read_suspensions(record), own_windows(windows)
    return {
        peer.code: msgspec.json.encode(notice_to(peer, view, held, announced))
        for peer in view.peers
    }
