"""All packets, divided into the coarsest classes that the rules and the claims tell apart.

A box is one set of classes for each field; the packets in it are every combination. Because rules
and claims are conjunctions of conditions on single fields, a box never has to be enumerated.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import prod

from paranal.audit.proof.values import FIELDS, Condition, Values, address, gateway, interface

Box = tuple[int, ...]
"""For each field, in the order of ``FIELDS``, a set of its classes as bits. Never empty."""

Packet = Mapping[str, int]
"""One packet: every field with its value."""

TYPICAL: dict[str, tuple[int, ...]] = {
    "iif": tuple(map(interface, ("wan", "inner", "eth9"))),
    "oif": tuple(map(interface, ("wan", "inner", "eth9"))),
    "source": (address("192.0.2.9"), address("2001:db8:9::9")),
    "destination": (address("192.0.2.9"), address("2001:db8:9::9")),
    "protocol": (6, 17, 1, 253),
    "sport": (40000,),
    "dport": (40000,),
    "tcp_flags": (2, 16),
    "icmp_type": (8, 128, 3, 2),
    "icmp_code": (0, 4),
    "hops": (64, 255),
    "tracked": (2, 3, 4),
    "decrypted": (gateway("192.0.2.1"), gateway("2001:db8:9::1")),
    "encrypted": (gateway("192.0.2.1"), gateway("2001:db8:9::1")),
    "return_path": (1,),
}
"""Values that a person expects in an example, preferred where the class has them."""


class Space:
    """The classes of every field, from all conditions that anything will ask about."""

    def __init__(self, conditions: Iterable[Condition]) -> None:
        """Divide each field so that every condition is a whole number of classes."""
        told: dict[str, set[Values]] = {name: set() for name in FIELDS}
        for condition in conditions:
            for name, values in condition.items():
                told[name].add(values)
        self._fields = {name: _Field(FIELDS[name], sets) for name, sets in told.items()}
        self.everything: Box = tuple(
            (1 << len(field.classes)) - 1 for field in self._fields.values()
        )

    def box(self, condition: Condition) -> Box | None:
        """Return the packets that meet a condition; None when there is none.

        Raises ``KeyError`` for a condition that the space was not told of and may cut a class.
        """
        box = tuple(
            field.bits(condition[name]) if name in condition else (1 << len(field.classes)) - 1
            for name, field in self._fields.items()
        )
        return box if all(box) else None

    def pick(self, box: Box, preferred: Mapping[str, Sequence[int]]) -> dict[str, int]:
        """Return one packet of the box, as ordinary as the box allows."""
        return {
            name: field.example(bits, (*preferred.get(name, ()), *TYPICAL[name]))
            for (name, field), bits in zip(self._fields.items(), box, strict=True)
        }

    def point(self, packet: Packet) -> Box:
        """Return the smallest box that holds the packet: its class in every field."""
        return tuple(
            1 << field.index[bisect_right(field.starts, packet[name]) - 1]
            for name, field in self._fields.items()
        )


class _Field:
    """One field's classes: values are alike when every set that was told holds both or neither."""

    def __init__(self, domain: Values, sets: Iterable[Values]) -> None:
        kinds = list(sets)
        self._known = dict.fromkeys(kinds, 0)
        edges = {edge for each in kinds for first, last in each.spans for edge in (first, last + 1)}
        ends = {edge for first, last in domain.spans for edge in (first, last + 1)}
        self.starts = sorted(edge for edge in edges | ends if edge in domain)
        self.index: list[int] = []
        self.classes: list[Values] = []
        found: dict[tuple[bool, ...], int] = {}
        for start in self.starts:
            likeness = tuple(start in each for each in kinds)
            self.index.append(found.setdefault(likeness, len(found)))
        stops = [*(start - 1 for start in self.starts[1:]), domain.spans[-1][1]]
        pieces = list(zip(self.starts, stops, self.index, strict=True))
        for number in range(len(found)):
            spans = [(start, stop) for start, stop, index in pieces if index == number]
            self.classes.append(Values.union(spans) & domain)
        for values in kinds:
            for number, each in enumerate(self.classes):
                self._known[values] |= (each.spans[0][0] in values) << number

    def bits(self, values: Values) -> int:
        return self._known[values]

    def example(self, bits: int, typical: Iterable[int]) -> int:
        allowed = [each for number, each in enumerate(self.classes) if bits >> number & 1]
        for value in typical:
            if any(value in each for each in allowed):
                return value
        first, last = allowed[0].spans[0]
        return min(first + 1, last)


def meet(one: Box, other: Box) -> Box | None:
    """Return the packets in both boxes; None when there is none."""
    both = tuple(a & b for a, b in zip(one, other, strict=True))
    return both if all(both) else None


def without(box: Box, taken: Box) -> Iterator[Box]:
    """Yield disjoint boxes that hold what is in ``box`` and not in ``taken``."""
    for place, (mine, theirs) in enumerate(zip(box, taken, strict=True)):
        if outside := mine & ~theirs:
            yield (*box[:place], outside, *box[place + 1 :])
        if not mine & theirs:
            return
        box = (*box[:place], mine & theirs, *box[place + 1 :])


def size(box: Box) -> int:
    """Return how many combinations of classes are in the box."""
    return prod(bits.bit_count() for bits in box)
