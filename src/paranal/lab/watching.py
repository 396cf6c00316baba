"""When the mesh was whole: the gateways' own accounts of their tunnels, put side by side."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import inf
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from paranal.agreement import member_view
from paranal.lab import watch_tunnels
from paranal.lab.lab import Lab
from paranal.messages import Refusal

_POLL_SECONDS = 0.05
_END_SECONDS = 5.0

Sas = Mapping[str, Sequence[Sequence[str]]]


@dataclass
class Account:
    """One gateway's account: what it said and when, in this machine's CLOCK_BOOTTIME (s)."""

    identity: str
    said: list[tuple[float, dict[str, Any]]] = field(default_factory=list)

    def at(self, when: float) -> dict[str, Any]:
        """Return what held at ``when``."""
        held: dict[str, Any] = {"charon": None, "sas": {}}
        for at, line in self.said:
            if at > when:
                break
            held = line
        return held

    def gone(self, after: float) -> float:
        """Return when it first said after a moment that no daemon answered; infinity: not yet."""
        silent = (at for at, line in self.said if at > after and line["charon"] is None)
        return next(silent, inf)


@dataclass(frozen=True)
class Pair:
    """Two members of the lab and the CHILD_SAs that they must share."""

    one: str
    other: str
    channels: frozenset[str]


def pairs_of(lab: Lab) -> list[Pair]:
    """Return every pair of the lab's members in which something is open."""
    agreement, members = lab.agreement(), sorted(lab.facts()["members"])
    open_channels = {
        (code, peer["code"]): frozenset(peer["pair"]["channels"])
        for code in members
        for peer in member_view(agreement, code)["peers"]
    }
    found = (Pair(*pair, open_channels[pair]) for pair in combinations(members, 2))
    return [pair for pair in found if pair.channels]


def whole(pair: Pair, accounts: Mapping[str, Account], when: float) -> bool:
    """Tell whether both ends of a pair hold the same CHILD_SA for each of its channels."""
    one, other = accounts[pair.one], accounts[pair.other]
    ours = {tuple(each) for each in one.at(when)["sas"].get(other.identity, ())}
    theirs = other.at(when)["sas"].get(one.identity, ())
    shared = ours & {(name, spi_out, spi_in) for name, spi_in, spi_out in theirs}
    return {name for name, *_ in shared} >= pair.channels


def whole_since(
    pairs: Iterable[Pair], accounts: Mapping[str, Account], after: float
) -> float | None:
    """Return the first moment from which on, to the end, every pair was whole; None: it is not.

    Only moments after ``after`` count.
    """
    pairs = list(pairs)
    moments = sorted({after, *(at for each in accounts.values() for at, _ in each.said)})
    since = None
    for moment in (each for each in moments if each >= after):
        if not all(whole(pair, accounts, moment) for pair in pairs):
            since = None
        elif since is None:
            since = moment
    return since


class Watch:
    """A watch on several gateways at once; a context manager that ends it."""

    def __init__(self, lab: Lab, members: Iterable[str]) -> None:
        """Start it and return when each gateway has given its first account."""
        source = Path(watch_tunnels.__file__).read_text(encoding="utf-8")
        agreement = lab.agreement()
        self.accounts = {
            code: Account(agreement.members[code]["identities"]["ike"]) for code in members
        }
        self._running = {
            code: subprocess.Popen(  # noqa: S603 - a list of words, no shell
                lab.command(code, ["python3", "-I", "-c", source]),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for code in self.accounts
        }
        self._readers = [
            threading.Thread(target=self._read, args=(code,), daemon=True) for code in self._running
        ]

    def __enter__(self) -> Self:
        """Wait for the first account of each."""
        for reader in self._readers:
            reader.start()
        until(lambda: all(each.said for each in self.accounts.values()), 30)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the programs on the nodes, which read the end of their input."""
        for process in self._running.values():
            with process:
                if process.stdin is not None:
                    process.stdin.close()
                try:
                    process.wait(_END_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()

    def back(self, pairs: Sequence[Pair], after: float, seconds: float, quiet: float) -> float:
        """Wait until all ``pairs`` have been whole for ``quiet`` seconds; return since when.

        Raises ``Refusal`` PAR-0253 when they are not within ``seconds`` after ``after``.
        """

        def settled() -> bool:
            since = whole_since(pairs, self.accounts, after)
            return since is not None and now() - since > quiet

        until(settled, after + seconds - now())
        since = whole_since(pairs, self.accounts, after)
        if since is None:
            moment = now()
            broken = [f"{p.one}-{p.other}" for p in pairs if not whole(p, self.accounts, moment)]
            raise Refusal("PAR-0253", pairs=", ".join(broken), seconds=seconds)
        return since

    def _read(self, code: str) -> None:
        output, account = self._running[code].stdout, self.accounts[code]
        offset = None
        for text in output or ():
            line = json.loads(text)
            # A virtual machine has a clock of its own; a line takes a millisecond or so to come.
            offset = now() - line["at"] if offset is None else offset
            if line["charon"] is not None:
                line["charon"] += offset
            account.said.append((line.pop("at") + offset, line))


def now() -> float:
    """Return CLOCK_BOOTTIME, which the kernel's process start times are given in (s)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def until(true: Callable[[], bool], seconds: float) -> bool:
    """Wait until something is true; tell whether it became so in time."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True
