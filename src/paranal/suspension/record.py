"""What is asked of ``paranal suspend``, checked against the view, and the record that it makes."""

from __future__ import annotations

import fcntl
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from paranal.agreement.suspension import RECORD, Suspension, Suspensions
from paranal.messages import Refusal
from paranal.tunnels.record import replace

LOCK = Path("/var/lib/paranal/node/suspended.lock")
_DIRECTION = re.compile(r"([a-z]{2})>([a-z]{2})")


def directions(view: Mapping[str, Any], asked: str) -> list[str]:
    """Return the directions that ``pe>co`` (one) or ``co`` (both with that peer) means.

    Raises ``Refusal`` PAR-0740 for a direction that does not begin or end here, or is none;
    PAR-0741 for who is no peer.
    """
    us, peers = view["member"]["code"], [peer["code"] for peer in view["peers"]]
    match = _DIRECTION.fullmatch(asked)
    if match is None and not re.fullmatch("[a-z]{2}", asked):
        raise Refusal("PAR-0740", asked=asked, member=us)
    ends = match.groups() if match else (us, asked)
    if us not in ends or ends == (us, us):
        raise Refusal("PAR-0740", asked=asked, member=us)
    (peer,) = set(ends) - {us}
    if peer not in peers:
        raise Refusal("PAR-0741", asked=asked, peer=peer, peers=", ".join(peers))
    return [asked] if match else [f"{us}>{peer}", f"{peer}>{us}"]


def checked_service(view: Mapping[str, Any], service: str | None) -> str:
    """Return the service, empty for all; raises ``Refusal`` PAR-0742 for one that is not agreed."""
    if service and service not in view["services"]:
        raise Refusal("PAR-0742", service=service, known=", ".join(view["services"]))
    return service or ""


def checked_reason(reason: str) -> str:
    """Return the reason in one line; raises ``Refusal`` PAR-0747 without one."""
    line = " ".join(reason.split())
    if not line:
        raise Refusal("PAR-0747")
    return line


def added(record: Suspensions, more: Sequence[Suspension]) -> Suspensions:
    """Return the record with what is not in it yet; who was first stays."""
    held = {(entry.direction, entry.service) for entry in record.entries}
    new = [
        entry
        for entry in more
        if not {(entry.direction, entry.service), (entry.direction, "")} & held
    ]
    return Suspensions((*record.entries, *new))


def without(record: Suspensions, over: Sequence[str], service: str) -> Suspensions:
    """Return the record without what names these directions and this service (empty: all).

    Raises ``Refusal`` PAR-0743 when nothing of it is suspended under that name: a service cannot be
    taken out of a direction that was suspended whole.
    """
    gone = [
        entry
        for entry in record.entries
        if entry.direction in over and service in ("", entry.service)
    ]
    if not gone:
        raise Refusal("PAR-0743", direction=", ".join(over), service=service or "*")
    return Suspensions(tuple(entry for entry in record.entries if entry not in gone))


def write(record: Suspensions, path: Path = RECORD) -> None:
    """Replace the record so that a crash leaves the old or the new one, on the disk."""
    replace(path, record.text(), 0o644)


@contextmanager
def alone(path: Path = LOCK) -> Iterator[None]:
    """Let one command at a time change the record and its layers."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
