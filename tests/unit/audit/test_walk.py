"""A box of packets goes through the chains as each of its packets would by itself."""

from __future__ import annotations

from itertools import product
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from paranal.audit.proof.ruleset import read
from paranal.audit.proof.space import Space, meet, size
from paranal.audit.proof.values import IPV6, TCP, Values
from paranal.audit.proof.walk import Walk
from tests.unit.audit.rules import ACCEPT, DROP, Statement, base, chain, match, payload, table

PORTS, HOPS = range(5), range(4)
LIMIT: Statement = {"limit": {"rate": 1, "burst": 1, "per": "second"}}

matches = st.one_of(
    st.builds(
        match, st.just(payload("tcp", "dport")), st.integers(0, 4), st.sampled_from(["==", "!="])
    ),
    st.builds(match, st.just(payload("ip6", "hoplimit")), st.integers(0, 3)),
)
ends = st.sampled_from([ACCEPT, DROP, {"counter": "x"}])
rules = st.tuples(st.lists(matches, max_size=2), ends).map(lambda pair: [*pair[0], pair[1]])
inner = st.lists(rules, max_size=3)
jumps = st.lists(matches, max_size=2).map(lambda found: [*found, {"jump": {"target": "inner"}}])
chains = st.lists(st.one_of(rules, jumps), max_size=5)


def naive(outer: list[Any], inside: list[Any], port: int, hops: int) -> str | None:
    """Evaluate rules one by one for one packet, the slow and obvious way."""
    for rule in outer:
        seen = {"dport": port, "hoplimit": hops}
        asked = [statement["match"] for statement in rule[:-1]]
        if all(
            (seen[a["left"]["payload"]["field"]] == a["right"]) is (a["op"] == "==") for a in asked
        ):
            if "jump" in rule[-1]:
                if verdict := naive(inside, [], port, hops):
                    return verdict
            elif "counter" not in rule[-1]:
                return str(next(iter(rule[-1])))
    return None


@settings(max_examples=200, deadline=None)
@given(chains, inner, st.sampled_from(["accept", "drop"]))
def test_every_packet_ends_as_one_by_one(outer: list[Any], inside: list[Any], policy: str) -> None:
    ruleset = read(table(*base("input", *outer, policy=policy), *chain("inner", *inside)))
    tcp6 = {"source": IPV6, "protocol": Values.of(TCP)}
    points = [
        tcp6,
        *({"dport": Values.of(each)} for each in PORTS),
        *({"hops": Values.of(each)} for each in HOPS),
    ]
    space = Space([*ruleset.conditions(), *points])
    walk = Walk(ruleset, space)
    for port, hops in product(PORTS, HOPS):
        box = space.box({**tcp6, "dport": Values.of(port), "hops": Values.of(hops)})
        assert box
        found = {end.accepted for end in walk.path("in", box)}
        assert found == {(naive(outer, inside, port, hops) or policy) == "accept"}


@settings(deadline=None)
@given(chains, inner)
def test_the_ends_of_a_box_are_disjoint_and_make_the_box(
    outer: list[Any], inside: list[Any]
) -> None:
    ruleset = read(table(*base("input", *outer), *chain("inner", *inside)))
    space = Space(ruleset.conditions())
    found = [*Walk(ruleset, space).path("in", space.everything)]
    assert sum(size(end.box) for end in found) == size(space.everything)
    for number, one in enumerate(found):
        assert not any(meet(one.box, other.box) for other in found[number + 1 :])


def test_where_a_rate_decides_a_packet_has_both_ends() -> None:
    ruleset = read(table(*base("input", [LIMIT, ACCEPT])))
    space = Space([])
    assert {end.accepted for end in Walk(ruleset, space).path("in", space.everything)} == {
        True,
        False,
    }


def test_a_packet_passes_every_base_chain_of_its_way_in_their_order() -> None:
    first = chain("first", [ACCEPT], hook="prerouting", priority=-300, policy="accept")
    second = chain("second", [DROP], hook="prerouting", priority=0)
    ruleset = read(table(*second, *first, *base("input", [ACCEPT])))
    space = Space([])
    (end,) = Walk(ruleset, space).path("in", space.everything)
    assert end.by == ("first 1", "second 1")
    # Nothing stands at output: what no chain sees passes.
    (end,) = Walk(ruleset, space).path("out", space.everything)
    assert (end.accepted, end.by) == (True, ())
