"""Prove every claim about one member's rules, or find a packet that breaks it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, product
from typing import Any

from paranal.agreement.connections import Connection
from paranal.audit.proof.claims import Claim, Selector, Site, claims, on_path, ordinary, site
from paranal.audit.proof.ruleset import Ruleset, read
from paranal.audit.proof.space import Box, Packet, Space, meet, size, without
from paranal.audit.proof.values import ICMP, ICMPV6, TRACKED, Condition
from paranal.audit.proof.walk import Walk

ICMP_ERRORS = {
    *product([ICMP], (3, 5, 11, 12)),
    *product([ICMPV6], (1, 2, 3, 4)),
}
"""Protocol and type; connection tracking never calls one new."""


@dataclass(frozen=True)
class Counterexample:
    """A packet that ends as it must not, and what decided so."""

    path: str
    packet: Packet
    by: tuple[str, ...]


@dataclass(frozen=True)
class Property:
    """One property of one node: what was looked at, and what broke it."""

    key: str
    classes: int
    """Combinations of classes that were followed, none left out."""
    broken: Counterexample | None


def prove(
    view: Mapping[str, Any], connections: Iterable[Connection], listing: Mapping[str, Any]
) -> list[Property]:
    """Return every property of a node.

    ``view`` is ``member_view``'s, ``connections`` are the node's, ``listing`` is nft's own numeric
    JSON.
    Raises ``Refusal`` PAR-0802, PAR-0805 or PAR-0806 for rules that cannot be judged.
    """
    ruleset, here = read(listing), site(view, connections)
    wanted = claims(here)
    space = space_of(ruleset, here, wanted)
    walk = Walk(ruleset, space)
    return [*(_property(walk, space, here, claim) for claim in wanted), *_selectors(space, here)]


def space_of(ruleset: Ruleset, here: Site, wanted: Iterable[Claim]) -> Space:
    """Return the space that tells all of the rules, claims and selectors apart."""
    told: list[Condition] = [*ruleset.conditions()]
    for path in ("in", "forward", "out"):
        told += on_path(path)
    for claim in wanted:
        told += [*claim.of, *claim.but, *claim.given]
    told += [_carried(each) for each in (*here.exact, *here.selectors)]
    return Space(told)


def _property(walk: Walk, space: Space, here: Site, claim: Claim) -> Property:
    classes = 0
    for box in boxes(space, claim):
        classes += size(box)
        occurring = (part for given in claim.given if (part := _within(space, box, given)))
        ends = (end for part in occurring for end in walk.path(claim.path, part))
        if wrong := next((end for end in ends if end.accepted != claim.accepted), None):
            packet = _example(space, wrong.box, ordinary(here, claim.path))
            found = Counterexample(claim.path, packet, wrong.by)
            return Property(claim.key, classes, found)
    return Property(claim.key, classes, None)


def _example(space: Space, box: Box, ordinary: Mapping[str, Sequence[int]]) -> Packet:
    """Return a packet of the box that can be sent: an ICMP error belongs to a flow, or to none."""
    packet = space.pick(box, ordinary)
    if (packet["protocol"], packet["icmp_type"]) in ICMP_ERRORS:
        states = [TRACKED[each] for each in ("related reply", "related original", "invalid")]
        packet = space.pick(box, {**ordinary, "tracked": states})
    return packet


def _within(space: Space, box: Box, condition: Condition) -> Box | None:
    other = space.box(condition)
    return meet(box, other) if other else None


def boxes(space: Space, claim: Claim) -> Iterator[Box]:
    """Yield disjoint boxes that hold all packets of a claim."""
    taken = [box for each in claim.but if (box := space.box(each))]
    for condition, way in product(claim.of, on_path(claim.path)):
        whole = space.box(way)
        if whole and (start := _within(space, whole, condition)):
            left = [start]
            for gone in taken:
                left = [part for box in left for part in without(box, gone)]
            yield from left
            taken.append(start)


def _carried(selector: Selector) -> Condition:
    return {"source": selector.local, "destination": selector.remote}


def _selectors(space: Space, here: Site) -> Iterator[Property]:
    """Tunnels carry exactly the service addresses of their own pair, and every open channel."""
    wide = _beyond(space, here.selectors, here.exact)
    narrow = _beyond(space, here.exact, here.selectors)
    classes = sum(size(box) for each in here.selectors if (box := space.box(_carried(each))))
    found = next(chain(wide, narrow), None)
    yield Property("selectors", classes, found)


def _beyond(
    space: Space, these: Iterable[Selector], those: Iterable[Selector]
) -> Iterator[Counterexample]:
    """Yield a packet of each of these that none of those of the same pair and channel carries."""
    limits = list(those)
    for each in these:
        left = [box] if (box := space.box(_carried(each))) else []
        for limit in limits:
            known = space.box(_carried(limit))
            if known and (limit.peer, limit.channel) == (each.peer, each.channel):
                left = [part for box in left for part in without(box, known)]
        for box in left:
            by = f"{each.peer} {each.channel}"
            yield Counterexample("selectors", space.pick(box, {}), (by,))
