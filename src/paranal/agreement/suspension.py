"""What a member suspended by itself on its node: the record, and the view narrowed by it.

Narrowing is unilateral (``design.md``): the record counts at once, without a controller, and
``site.yml`` keeps it. It only ever narrows: nothing in it can open what the agreement does not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from paranal.agreement.derive import effective, open_channels

RECORD = Path("/var/lib/paranal/suspended.json")
"""Root's, readable by every service of the node."""
_DIRECTION = re.compile("[a-z]{2}>[a-z]{2}")


@dataclass(frozen=True)
class Suspension:
    """One direction, of one service or of all: since when, by whom, why."""

    direction: str
    """``pe>co``: asker, answerer."""
    service: str
    """Empty: every service."""
    since: str
    """RFC 3339, UTC."""
    by: str
    reason: str

    def covers(self, direction: str, service: str) -> bool:
        """Tell whether this closes a service of a direction."""
        return direction == self.direction and self.service in ("", service)


@dataclass(frozen=True)
class Suspensions:
    """The whole record; one that cannot be read suspends everything (``unreadable`` says why)."""

    entries: tuple[Suspension, ...] = ()
    unreadable: str = ""

    def __bool__(self) -> bool:
        """Tell whether anything is suspended."""
        return bool(self.entries or self.unreadable)

    def covers(self, direction: str, service: str) -> bool:
        """Tell whether a service of a direction is suspended."""
        return bool(self.unreadable) or any(e.covers(direction, service) for e in self.entries)

    def text(self) -> str:
        """Return the record as it stands in its file."""
        entries = [asdict(entry) for entry in self.entries]
        return json.dumps({"suspended": entries}, ensure_ascii=False, indent=1) + "\n"


def parsed(text: str) -> Suspensions:
    """Return the record that a file's text is; what is no record suspends everything."""
    try:
        entries = tuple(Suspension(**entry) for entry in json.loads(text)["suspended"])
    except (KeyError, TypeError, ValueError) as error:
        return Suspensions(unreadable=f"{type(error).__name__}: {error}")
    if not all(isinstance(value, str) for entry in entries for value in vars(entry).values()):
        return Suspensions(unreadable="TypeError: not text")
    if odd := [entry.direction for entry in entries if not _DIRECTION.fullmatch(entry.direction)]:
        return Suspensions(unreadable=f"ValueError: {odd[0]!r}")
    return Suspensions(entries)


def probed(found: Mapping[str, Any]) -> Suspensions:
    """Return the record that the probe of a node brought: ``{"text": its text, or null}``.

    Whatever else it brought says that the node could not tell, and suspends everything.
    """
    text = found.get("text", 0)
    if text is None:
        return Suspensions()
    return parsed(text) if isinstance(text, str) else Suspensions(unreadable=str(dict(found)))


def read_suspensions(path: Path = RECORD) -> Suspensions:
    """Return a node's record: none without a file; everything when it cannot be read."""
    try:
        return parsed(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Suspensions()
    except (OSError, ValueError) as error:
        return Suspensions(unreadable=str(error))


def narrowed(view: Mapping[str, Any], record: Suspensions) -> dict[str, Any]:
    """Return a member's view (docs/architecture.md) with all that it suspended closed.

    What was live or trial becomes ``suspended``; ``pending`` is stricter, and stays.
    """
    if not record:
        return dict(view)
    peers = [_narrowed(view, peer, record) for peer in view["peers"]]
    return {**view, "peers": peers}


def _narrowed(
    view: Mapping[str, Any], peer: Mapping[str, Any], record: Suspensions
) -> Mapping[str, Any]:
    us, them = view["member"]["code"], peer["code"]
    ways = {"asks": f"{us}>{them}", "answers": f"{them}>{us}"}
    status = {
        way: {
            service: effective(found, "suspended") if record.covers(direction, service) else found
            for service, found in peer[way].items()
        }
        for way, direction in ways.items()
    }
    pair = {**peer["pair"], **open_channels(view["services"], **status)}
    return {**peer, **status, "pair": pair}
