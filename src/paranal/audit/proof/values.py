"""The fields of a packet as the rules see them, and sets of a field's values.

Every field is a line of whole numbers, so that all sets are intervals: IPv4 lies before IPv6 on the
line of addresses, a port or flag that the packet does not have is a value of its own, and an
interface's name is read as a number. Zero means "none" for interfaces and gateways.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Values:
    """A set of whole numbers: disjoint intervals ``(first, last)``, both inside, in order."""

    spans: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, *numbers: int) -> Values:
        """Return the set of these numbers."""
        return cls.union((number, number) for number in numbers)

    @classmethod
    def union(cls, spans: Iterable[tuple[int, int]]) -> Values:
        """Return the set of all numbers in any of the spans."""
        merged: list[tuple[int, int]] = []
        for first, last in sorted(spans):
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
            else:
                merged.append((first, last))
        return cls(tuple(merged))

    def __contains__(self, number: int) -> bool:
        """Tell whether the number is in the set."""
        return any(first <= number <= last for first, last in self.spans)

    def __or__(self, other: Values) -> Values:
        """Return what is in either."""
        return Values.union(self.spans + other.spans)

    def __and__(self, other: Values) -> Values:
        """Return what is in both."""
        return Values.union(
            (max(a, c), min(b, d))
            for a, b in self.spans
            for c, d in other.spans
            if max(a, c) <= min(b, d)
        )

    def __sub__(self, other: Values) -> Values:
        """Return what is here and not there."""
        left = list(self.spans)
        for first, last in other.spans:
            left = [
                piece
                for a, b in left
                for piece in ((a, min(b, first - 1)), (max(a, last + 1), b))
                if piece[0] <= piece[1]
            ]
        return Values.union(left)


Condition = Mapping[str, Values]
"""What a packet must be: field -> its values; a field that is not named may be anything."""

ICMP, TCP, UDP, ESP, ICMPV6 = 1, 6, 17, 50, 58
IPV4 = Values(((0, 2**32 - 1),))
IPV6 = Values(((2**32, 2**32 + 2**128 - 1),))
PORTS = Values(((0, 2**16 - 1),))
OCTETS = Values(((0, 255),))
NO_PORT, NO_OCTET = 2**16, 256
NAMES = Values(((1, 2**128 - 1),))
GATEWAYS = Values(((1, IPV6.spans[-1][1] + 1),))

TRACKED: Final = {
    "invalid": 0,
    "untracked": 1,
    "new": 2,
    "established original": 3,
    "established reply": 4,
    "related original": 5,
    "related reply": 6,
}
"""What connection tracking says of a packet; one without a connection has no direction."""

FIELDS: Final[dict[str, Values]] = {
    "iif": Values(((0, 2**128 - 1),)),
    "oif": Values(((0, 2**128 - 1),)),
    "source": IPV4 | IPV6,
    "destination": IPV4 | IPV6,
    "protocol": OCTETS,
    "sport": PORTS | Values.of(NO_PORT),
    "dport": PORTS | Values.of(NO_PORT),
    "tcp_flags": OCTETS | Values.of(NO_OCTET),
    "icmp_type": OCTETS | Values.of(NO_OCTET),
    "icmp_code": OCTETS | Values.of(NO_OCTET),
    "hops": OCTETS,
    "tracked": Values.of(*TRACKED.values()),
    "decrypted": Values.of(0) | GATEWAYS,
    "encrypted": Values.of(0) | GATEWAYS,
    "return_path": Values.of(0, 1),
}
"""Every field that a rule may look at, with all its values.

``decrypted`` is the gateway whose tunnel a packet came out of, ``encrypted`` the one whose tunnel
it goes into, both outer addresses (``gateway``); ``return_path`` is whether a route leads back to
the source through the interface of arrival.
"""


def address(text: str) -> int:
    """Return an address's place on the line. Raises ``ValueError`` for what is none."""
    found = ipaddress.ip_address(text)
    return int(found) + (IPV6.spans[0][0] if found.version == 6 else 0)


def network(text: str) -> Values:
    """Return all addresses of a prefix, or the one of an address. Raises ``ValueError``."""
    found = ipaddress.ip_network(text)
    first = address(str(found.network_address))
    return Values(((first, first + found.num_addresses - 1),))


def gateway(text: str) -> int:
    """Return a gateway's place on the line of gateways, where 0 is "none"."""
    return address(text) + 1


def interface(name: str) -> int:
    """Return an interface's name as a number; "" is 0, no interface."""
    return int.from_bytes(name.encode().ljust(16, b"\0") if name else b"", "big")


def interface_name(number: int) -> str:
    """Return the name that ``interface`` made a number of."""
    return number.to_bytes(16, "big").rstrip(b"\0").decode(errors="replace")


def address_text(number: int) -> str:
    """Return the address at a place of the line."""
    first = IPV6.spans[0][0]
    if number >= first:
        return str(ipaddress.IPv6Address(number - first))
    return str(ipaddress.IPv4Address(number))
