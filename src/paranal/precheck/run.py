"""One precheck: say and hear until both ends know all, or the time is over."""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable

from paranal.precheck.knowledge import Knowledge
from paranal.precheck.line import Line, new_session
from paranal.precheck.message import Carrier

TICK_SECONDS = 0.25
"""One packet, and one that tries the path's MTU, leave with each tick: eight a second at most."""
LINGER_TICKS = 8
"""How long an end that knows all goes on, so that its peer learns the rest."""
PROGRESS_TICKS = 20

Progress = Callable[[float, Knowledge], None]


def exchange(
    line: Line,
    seconds: float,
    progress: Progress,
    now: Callable[[], int] = time.time_ns,
) -> Knowledge:
    """Return what is known of an open line at the end; ``now`` is this end's clock."""
    carriers = tuple(line.sockets)
    known = Knowledge(new_session(), carriers)
    begun, linger = time.monotonic(), LINGER_TICKS
    with selectors.DefaultSelector() as waiting:
        for carrier, made in line.sockets.items():
            waiting.register(made, selectors.EVENT_READ, carrier)
        for tick in range(round(seconds / TICK_SECONDS)):
            _say(line, known, carriers[tick % len(carriers)], now)
            _hear(line, known, waiting, begun + (tick + 1) * TICK_SECONDS, now)
            if tick % PROGRESS_TICKS == 0:
                progress(time.monotonic() - begun, known)
            linger = linger - 1 if known.settled and known.peer_settled else LINGER_TICKS
            if linger == 0:
                break
    return known


def _say(line: Line, known: Knowledge, carrier: Carrier, now: Callable[[], int]) -> None:
    line.send(known.message(carrier, now()))
    octets = known.next_octets
    if octets is not None:
        known.tries[octets] = known.tries.get(octets, 0) + 1
        line.send(known.message(Carrier.NAT, now()), octets)


def _hear(
    line: Line,
    known: Knowledge,
    waiting: selectors.BaseSelector,
    until: float,
    now: Callable[[], int],
) -> None:
    while (left := until - time.monotonic()) > 0:
        for key, _ in waiting.select(left):
            for message, octets in line.received(key.data):
                known.take(message, octets, now())
