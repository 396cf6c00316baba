"""What one end of a precheck knows of the line, message by message; no socket and no clock here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from paranal.precheck.message import NOBODY, Carrier, Message

NANOSECONDS = 1_000_000_000
LONGEST_PACKET = 1500
"""Octets of the largest packet that is tried: what an Ethernet line carries."""
WANTED_PACKET = 1280
"""Octets of an IP packet that every line must pass: the role firewall's ``firewall_path_octets``.

The segments in a tunnel are clamped so that with ESP and UDP around them they are no longer.
"""
TRIES = 4
"""How often a size is sent before it counts as lost."""


@dataclass(frozen=True)
class Clock:
    """How far the peer's clock is ahead of ours, and how wrong that can be; seconds."""

    ahead: float
    uncertainty: float


@dataclass
class Knowledge:
    """What this end has heard, and what its peer has said that it heard of this end."""

    session: bytes
    carriers: tuple[Carrier, ...]
    peer_session: bytes = NOBODY
    heard: int = 0
    largest: int = 0
    confirmed: int = 0
    confirmed_octets: int = 0
    reported: bool = False
    """The peer has said what it heard of us, be it nothing."""
    peer_found: int = 0
    peer_settled: bool = False
    clock: Clock | None = None
    last: tuple[int, int] = (0, 0)
    """The peer's clock when it sent its last packet, and ours when it came."""
    tries: dict[int, int] = field(default_factory=dict)
    """Octets of a packet -> how often it was sent."""

    def take(self, message: Message, octets: int, now: int) -> None:
        """Learn from a packet that arrived at ``now``; ``octets`` as it came, not as it says."""
        if message.session != self.peer_session:  # the peer has begun anew
            self.peer_session, self.heard, self.largest = message.session, 0, 0
        self.heard |= message.carrier.bit
        self.largest = max(self.largest, octets)
        self.last = (message.sent_at, now)
        self.peer_settled, self.peer_found = message.settled, message.found
        if message.peer_session == self.session:
            self.reported = True
            self.confirmed |= message.heard
            self.confirmed_octets = max(self.confirmed_octets, message.largest)
            self.clock = closer(self.clock, clock(message, now))
        elif message.peer_session == NOBODY:
            self.reported = True

    def message(self, carrier: Carrier, now: int) -> Message:
        """Return what to say next by a carrier."""
        return Message(
            carrier,
            self.session,
            now,
            self.heard,
            self.settled,
            self.peer_session,
            *self.last,
            self.largest,
            self.found or 0,
        )

    @property
    def next_octets(self) -> int | None:
        """The size of the next packet that tries the path; None while, or since, there is none."""
        if not self.confirmed & Carrier.NAT.bit:
            return None
        return next_octets(self.confirmed_octets, self.tries)

    @property
    def found(self) -> int | None:
        """The path MTU towards the peer; None while it is not found."""
        known = self.confirmed & Carrier.NAT.bit and self.next_octets is None
        return self.confirmed_octets if known else None

    @property
    def settled(self) -> bool:
        """There is nothing left to learn: all well as far as it can be asked."""
        wanted = sum(carrier.bit for carrier in self.carriers)
        both = self.heard & self.confirmed & wanted == wanted
        return both and self.clock is not None and bool(self.found and self.peer_found)


def next_octets(confirmed: int, tries: Mapping[int, int]) -> int | None:
    """Return the packet size to try next, None when the largest that passes is known.

    First the two that matter, then halves of what is between the largest that passed and the
    smallest that did not. A confirmation that comes late only moves the first.
    """
    for octets in (LONGEST_PACKET, WANTED_PACKET):
        if confirmed < octets and tries.get(octets, 0) < TRIES:
            return octets
    lost = (octets for octets, count in tries.items() if octets > confirmed and count >= TRIES)
    above = min(lost, default=LONGEST_PACKET + 1)
    return (confirmed + above) // 2 if above - confirmed > 1 else None


def clock(message: Message, now: int) -> Clock | None:
    """Return what one exchange tells of the clocks: RFC 5905 section 8, by its four time stamps."""
    there = message.sent_at - message.received_at
    trip = now - message.peer_sent_at - there
    if trip < 0 or there < 0:
        return None
    ahead = (message.received_at - message.peer_sent_at + message.sent_at - now) / 2
    return Clock(ahead / NANOSECONDS, trip / 2 / NANOSECONDS)


def closer(one: Clock | None, other: Clock | None) -> Clock | None:
    """Return the one that is less uncertain."""
    known = [each for each in (one, other) if each is not None]
    return min(known, key=lambda each: each.uncertainty, default=None)
