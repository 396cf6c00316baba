"""nft's JSON is read as nft means it, and what is not understood is refused."""

from __future__ import annotations

from typing import Any

import pytest

from paranal.audit.proof import values
from paranal.audit.proof.ruleset import Rule, read
from paranal.audit.proof.values import FIELDS, TRACKED, Values, address, gateway, interface
from paranal.messages import Refusal
from tests.unit.audit.rules import ACCEPT, DROP, Statement, base, chain, match, meta, payload, table

FLAGS = {"&": [payload("tcp", "flags"), [2, 4]]}
FLAGS_1_1 = {"&": [payload("tcp", "flags"), {"|": [2, 4]}]}
STATE, DIRECTION = {"ct": {"key": "state"}}, {"ct": {"key": "direction"}}
FROM_PEER = {"ipsec": {"key": "saddr", "family": "ip", "dir": "in", "spnum": 0}}
SET = {"set": {"family": "inet", "table": "paranal", "name": "peers", "type": "ipv4_addr"}}


def one_rule(*statements: Statement, hook: str = "forward", also: Statement | None = None) -> Rule:
    listing = table(*([also] if also else []), *base(hook, statements))
    return read(listing).chains[hook].rules[0]


def refused(*statements: Statement, hook: str = "forward", also: Statement | None = None) -> str:
    with pytest.raises(Refusal, match="PAR-0802") as caught:
        one_rule(*statements, hook=hook, also=also)
    return str(caught.value)


@pytest.mark.parametrize(
    ("statement", "field", "inside", "outside"),
    [
        (match(meta("iifname"), "wan"), "iif", interface("wan"), interface("wan0")),
        (match(meta("iifname"), "lo", "!="), "iif", interface("wan"), interface("lo")),
        (match(meta("oifname"), {"set": ["lo", "wan"]}), "oif", interface("lo"), 0),
        (match(meta("l4proto"), 50), "protocol", 50, 51),
        (match(meta("ipsec"), True), "decrypted", gateway("192.0.2.1"), 0),
        (match(meta("ipsec"), False), "decrypted", 0, gateway("192.0.2.1")),
        (match({"rt": {"key": "ipsec"}}, False), "encrypted", 0, 1),
        (match(FROM_PEER, "192.0.2.1"), "decrypted", gateway("192.0.2.1"), 0),
        (match(payload("tcp", "dport"), {"range": [5, 9]}), "dport", 9, 10),
        (match(payload("udp", "sport"), {"set": [500, 4500]}), "sport", 4500, values.NO_PORT),
        (match(payload("tcp", "dport"), 22, "!="), "dport", 23, values.NO_PORT),
        (match(payload("ip6", "hoplimit"), 255), "hops", 255, 64),
        (match(payload("icmp", "type"), 3), "icmp_type", 3, values.NO_OCTET),
        (match(FLAGS, 2), "tcp_flags", 0b10010, 0b110),
        (match(FLAGS_1_1, 2), "tcp_flags", 0b10010, 0b110),
        (match(FLAGS, 2, "!="), "tcp_flags", 0b110, values.NO_OCTET),
        (match(STATE, 4, "in"), "tracked", TRACKED["related reply"], TRACKED["new"]),
        (match(STATE, [2, 8], "in"), "tracked", TRACKED["new"], TRACKED["invalid"]),
        (match(STATE, {"|": [2, 8]}, "in"), "tracked", TRACKED["new"], TRACKED["invalid"]),
        (match(DIRECTION, 0), "tracked", TRACKED["new"], TRACKED["untracked"]),
        (match(DIRECTION, 1), "tracked", TRACKED["related reply"], TRACKED["new"]),
    ],
    ids=str,
)
def test_a_match_is_read_as_nft_means_it(
    statement: Statement, field: str, inside: int, outside: int
) -> None:
    rule = one_rule(statement, ACCEPT)
    assert inside in rule.condition[field]
    assert outside not in rule.condition[field]


def test_what_nft_adds_by_itself_is_added() -> None:
    assert one_rule(match(payload("tcp", "dport"), 22), DROP).condition["protocol"] == Values.of(6)
    for protocol, family in (("icmp", values.IPV4), ("icmpv6", values.IPV6)):
        rule = one_rule(match(payload(protocol, "type"), 3), DROP)
        assert rule.condition["source"] == family
        rule = one_rule({"reject": {"type": protocol, "expr": 1}})
        assert (rule.verdict, rule.condition["source"]) == ("drop", family)
    assert one_rule({"reject": {"type": "tcp reset"}}).condition["protocol"] == Values.of(6)
    assert one_rule({"reject": {"type": "icmpx", "expr": 1}}).condition == {}
    # Not the address, of an IPv4 packet; a packet of the other family is neither.
    rule = one_rule(match(payload("ip", "saddr"), "10.0.0.1", "!="), DROP)
    assert rule.condition["source"] == values.IPV4 - Values.of(address("10.0.0.1"))


def test_a_named_set_and_a_prefix_stand_for_their_addresses() -> None:
    prefix = {"prefix": {"addr": "10.52.0.0", "len": 16}}
    elements = {"set": {**SET["set"], "flags": ["interval"], "elem": [prefix, "10.9.9.9"]}}
    rule = one_rule(match(payload("ip", "saddr"), "@peers"), DROP, also=elements)
    assert rule.condition["source"] == values.network("10.52.0.0/16") | values.network("10.9.9.9")
    assert one_rule(match(payload("ip", "saddr"), "@peers"), DROP, also=SET).condition == {
        "source": Values(())
    }


PAIR = {"concat": [payload("ip", "saddr"), payload("tcp", "dport")]}


def test_a_set_of_pairs_is_one_rule_for_each_pair() -> None:
    pairs = [("10.9.9.9", 7443), ("10.9.9.8", 7446)]
    elements = {"set": {**SET["set"], "elem": [{"concat": [*pair]} for pair in pairs]}}
    listing = table(elements, *base("input", [match(PAIR, "@peers"), DROP]))
    rules = read(listing).chains["input"].rules
    assert [rule.number for rule in rules] == [1, 1]
    for rule, (host, port) in zip(rules, pairs, strict=True):
        assert rule.condition["source"] == Values.of(address(host))
        assert rule.condition["dport"] == Values.of(port)


def test_an_empty_set_of_pairs_is_met_by_nothing() -> None:
    rule = one_rule(match(PAIR, "@peers"), DROP, also=SET)
    assert rule.condition["source"] == Values(())


@pytest.mark.parametrize(
    ("statement", "flags"),
    [
        (match(PAIR, "@peers", "!="), []),
        (match(PAIR, {"set": []}), []),
        (match(PAIR, "@peers"), ["timeout"]),
        (match(PAIR, "@peers"), ["dynamic"]),
    ],
)
def test_pairs_that_prove_nothing_are_refused(statement: Statement, flags: list[str]) -> None:
    refused(statement, DROP, also={"set": {**SET["set"], "flags": flags}})


def test_chance_is_kept_and_what_decides_nothing_has_no_verdict() -> None:
    rate = {"limit": {"rate": 10, "burst": 5, "per": "second"}}
    assert one_rule(rate, ACCEPT).chance
    assert not one_rule(ACCEPT).chance
    mangle = {"mangle": {"key": {"tcp option": {"name": "maxseg", "field": "size"}}, "value": 1}}
    assert one_rule(mangle).verdict == ""
    assert one_rule({"counter": "x"}, {"log": {"prefix": "y"}}).verdict == ""


def test_a_mark_is_understood_on_what_comes_by_lo_and_nowhere_else() -> None:
    mark = {"mangle": {"key": meta("mark"), "value": 80}}
    assert one_rule(match(meta("iif"), "lo"), mark, ACCEPT, hook="input").verdict == "accept"
    others = (match(meta("iif"), "lo", "!="), match(meta("iif"), {"set": ["lo", "wan"]}))
    for wider in ([], *([each] for each in others)):
        assert "input 1" in refused(*wider, mark, ACCEPT, hook="input")


@pytest.mark.parametrize(
    "statement",
    [
        {"mangle": {"key": {"meta": {"key": "mark"}}, "value": 1}},
        {"mangle": {"key": payload("ip", "daddr"), "value": "10.0.0.1"}},
        {"notrack": None},
        {"dnat": {"addr": "10.0.0.1"}},
        {"vmap": {"key": meta("l4proto"), "data": {"set": [[6, ACCEPT]]}}},
        {"goto": {"target": "x"}},
        {"return": None},
        match(meta("mark"), 1),
        match(meta("iifname"), "wan*"),
        match(meta("ipsec"), True, "!="),
        match(payload("tcp", "doff"), 5),
        match({"payload": {"base": "th", "offset": 0, "len": 16}}, 22),
        match({"concat": [payload("ip", "saddr"), payload("ip", "daddr")]}, "@pairs"),
        match({"&": [payload("ip", "saddr"), 255]}, 1),
        match(payload("ip", "saddr"), "@absent"),
        match(payload("tcp", "dport"), "ssh"),
        match(FLAGS, "syn"),
        match(payload("tcp", "dport"), 22, "<"),
        match(STATE, 2),
        match(STATE, 16, "in"),
        match(DIRECTION, 0, "!="),
        match({"ct": {"key": "mark"}}, 1),
        match({"ipsec": {"key": "reqid", "dir": "in", "spnum": 0}}, 1),
        match({"ipsec": {"key": "saddr", "family": "ip", "dir": "in", "spnum": 1}}, "192.0.2.1"),
        match({"fib": {"result": "type", "flags": ["daddr"]}}, "local"),
    ],
    ids=str,
)
def test_what_is_not_understood_is_refused(statement: Statement) -> None:
    assert "forward 1" in refused(statement, ACCEPT)


def test_a_set_that_changes_by_itself_and_a_verdict_before_the_end_are_refused() -> None:
    dynamic = {"set": {**SET["set"], "flags": ["dynamic"]}}
    assert "@peers" in refused(match(payload("ip", "saddr"), "@peers"), also=dynamic)
    assert "accept" in refused(ACCEPT, ACCEPT)
    assert "flowtable" in refused(ACCEPT, also={"flowtable": {"name": "fast"}})


@pytest.mark.parametrize(
    ("hook", "statement"),
    [
        ("input", match(meta("oifname"), "wan")),
        ("output", match(meta("iifname"), "wan")),
        ("output", match(meta("ipsec"), False)),
        ("input", match({"rt": {"key": "ipsec"}}, True)),
        ("prerouting", match(meta("oifname"), "ipsec0", "!=")),
    ],
)
def test_a_rule_that_looks_where_its_hook_sees_nothing_is_refused(
    hook: str, statement: Statement
) -> None:
    assert f"({hook} 0)" in refused(statement, DROP, hook=hook)
    # Also from a chain that it jumps to.
    jumped = table(*base(hook, [{"jump": {"target": "x"}}]), *chain("x", [statement, DROP]))
    with pytest.raises(Refusal, match=r"x 1.*PAR-0802|PAR-0802.*x 1"):
        read(jumped)


def test_connections_are_not_known_before_they_are_tracked() -> None:
    early = [match(STATE, 2, "in"), ACCEPT]
    for priority in (-300, -200):
        with pytest.raises(Refusal, match="PAR-0802"):
            read(table(*chain("x", early, hook="prerouting", priority=priority)))
    read(table(*chain("x", early, hook="prerouting", priority=-199)))


def test_a_jump_in_a_circle_is_refused() -> None:
    there, back = ([{"jump": {"target": name}}] for name in ("y", "x"))
    with pytest.raises(Refusal, match="PAR-0802"):
        read(table(*base("input", back), *chain("x", there), *chain("y", back)))


@pytest.mark.parametrize(
    ("listing", "code"),
    [
        (table({"table": {"family": "ip", "name": "nat"}}), "PAR-0805"),
        ({"nftables": [{"metainfo": {}}]}, "PAR-0806"),
        (table({"chain": {"name": "x", "type": "nat", "hook": "prerouting"}}), "PAR-0802"),
        (table({"chain": {"name": "x", "type": "filter", "hook": "ingress"}}), "PAR-0802"),
    ],
)
def test_a_table_or_chain_that_could_change_packets_is_refused(
    listing: dict[str, Any], code: str
) -> None:
    with pytest.raises(Refusal, match=code):
        read(listing)


def test_every_field_of_a_condition_is_one_of_a_packet() -> None:
    rule = one_rule(match(payload("icmpv6", "code"), 0), match(meta("iifname"), "wan"), ACCEPT)
    assert rule.condition.keys() <= FIELDS.keys()
