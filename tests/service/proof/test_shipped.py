"""Every agreement that we ship is proved, and no guard of the rules goes without being missed."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from paranal.agreement.suspension import Suspension, Suspensions, narrowed
from paranal.audit.proof.prove import prove
from paranal.audit.proof.words import PROPERTIES
from paranal.cli import main
from paranal.firewall import suspended
from tests.service.proof.theatre import ROOT, Node, node

AGREEMENTS = sorted((ROOT / "agreement").glob("*.yml"))
EXAMPLE = ROOT / "inventories/example-pe/host_vars/pe/firewall.yml"

Listing = dict[str, Any]
Mutation = tuple[str, Listing]


@pytest.mark.req("R6", "B3")
@pytest.mark.parametrize("agreement", AGREEMENTS, ids=lambda path: path.stem)
def test_every_member_of_a_shipped_agreement_is_proved_on_both_planes(
    agreement: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(
        ["audit", "prove", "--agreement", str(agreement), "--data-plane", "both", "--json"]
    )
    nodes = json.loads(capsys.readouterr().out)["nodes"]
    assert status == 0
    assert len(nodes) == 8
    for each in nodes:
        assert {one["property"] for one in each["properties"]} == set(PROPERTIES)
        assert all(one["holds"] for one in each["properties"])
        for one in each["properties"]:
            # Nothing open is nothing to let pass; anything else would be proved about no packet.
            assert one["classes"] > 0 or one["property"] in ("open-in", "open-out", "selectors")


@pytest.mark.req("B3")
def test_a_countrys_own_services_open_nothing_of_the_alliance(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["audit", "prove", "--member", "pe", "--data-plane", "both", "--vars", str(EXAMPLE)]
    assert main(words) == 0
    assert capsys.readouterr().out.count("se cumple | holds") == 2 * len(PROPERTIES)


@pytest.mark.req("B3")
def test_rules_of_a_node_are_judged_as_text_and_as_json_and_a_hole_is_told_in_both_languages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    holed = node("userspace").changed(
        'iif "lo" accept', 'iif "lo" accept\n    tcp dport 7443 accept'
    )
    for name, text in (("rules.nft", holed.text), ("rules.json", json.dumps(holed.listing))):
        file = tmp_path / name
        file.write_text(text, encoding="utf-8")
        words = ["audit", "prove", "--member", "pe", "--ruleset", str(file)]
        assert main(words) == 1
        said = capsys.readouterr().out
        assert "PAR-0801: pe (userspace): no se cumple «nada de la alianza entra en claro»" in said
        assert ":7443, ct new, entra por «wan» en claro" in said
        assert "input 2" in said
    assert main([*words, "--json"]) == 1
    (found,) = json.loads(capsys.readouterr().out)["nodes"]
    broken = {one["property"]: one for one in found["properties"] if not one["holds"]}
    assert broken["clear-in"]["counterexample"]["dport"] == 7443
    assert broken["clear-in"]["finding"]["runbook"].startswith("RB-")


@pytest.mark.req("B3", "R12")
def test_a_suspended_nodes_rules_are_judged_by_what_it_left_open(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    agreed = node("userspace")
    record = Suspensions((Suspension("pe>co", "", "2026-11-25T08:00:00Z", "ops", "drill"),))
    filled = agreed.text + suspended.text(narrowed(agreed.view, record))
    (tmp_path / "open.nft").write_text(agreed.text, encoding="utf-8")
    (tmp_path / "closed.nft").write_text(filled, encoding="utf-8")
    (tmp_path / "suspended.json").write_text(record.text(), encoding="utf-8")

    def proved(rules: str, *more: str) -> tuple[int, str]:
        words = ["audit", "prove", "--member", "pe", "--ruleset", str(tmp_path / rules), *more]
        return main(words), capsys.readouterr().out

    told = ("--suspended", str(tmp_path / "suspended.json"))
    status, said = proved("closed.nft")
    assert status == 1
    assert "«lo que un sentido abierto necesita entra»" in said
    assert "¿este nodo suspendió algo?" in said
    status, said = proved("closed.nft", *told)
    assert (status, "suspendió" in said) == (0, False)
    other = Suspensions((Suspension("pe>mx", "", "2026-11-25T08:00:00Z", "ops", "drill"),))
    (tmp_path / "other.json").write_text(other.text(), encoding="utf-8")
    status, said = proved("closed.nft", "--suspended", str(tmp_path / "other.json"))
    assert (status, "suspendió" in said) == (1, False), "what it suspended is known: not this"
    status, said = proved("open.nft", *told)
    assert status == 1
    assert "«por los túneles solo entra lo que un sentido abierto necesita»" in said
    assert "suspendió" not in said


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["audit", "prove", *words]) == 3
    return capsys.readouterr().err


def test_what_cannot_be_judged_is_refused_with_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sound = node("userspace").text
    lo = 'iif "lo" accept'
    for code, text in (
        ("PAR-0802", sound.replace(lo, f"{lo}\n    meta cgroup 7 accept")),
        ("PAR-0802", sound.replace(lo, f"{lo}\n    ip daddr 10.9.9.9 meta mark set 5")),
        ("PAR-0802", sound.replace("policy drop;", "policy drop; meta nfproto ipv4 accept", 1)),
        ("PAR-0804", sound[: len(sound) // 2]),
        ("PAR-0804", "{}"),
        ("PAR-0805", f"{sound}\ntable ip nat {{\n}}\n"),
        ("PAR-0806", "\n"),
    ):
        file = tmp_path / "rules.nft"
        file.write_text(text, encoding="utf-8")
        assert code in refused(["--member", "pe", "--ruleset", str(file)], capsys), text[-200:]
    file.write_bytes(b"table \xff")
    assert "PAR-0804" in refused(["--member", "pe", "--ruleset", str(file)], capsys)
    assert "PAR-0809" in refused(["--ruleset", str(file)], capsys)
    assert "PAR-0808" in refused(["--vars", str(file)], capsys)


def missed(pe: Node, listing: Listing) -> bool:
    """Tell whether the proof notices what was done to the rules."""
    return any(each.broken for each in prove(pe.view, pe.connections, listing))


def objects(listing: Listing, kind: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for place, item in enumerate(listing["nftables"]):
        if kind in item:
            yield place, item[kind]


def without(listing: Listing, *places: int) -> Listing:
    """Return the rules without some, and with chains whose place is named accepting by policy."""
    items = []
    for place, item in enumerate(listing["nftables"]):
        if place not in places:
            items.append(item)
        elif "chain" in item:
            items.append({"chain": {**item["chain"], "policy": "accept"}})
    return {**listing, "nftables": items}


def guards(pe: Node) -> dict[str, int]:
    """Return every rule that only refuses, and every base chain that drops by policy."""
    found: dict[str, int] = {}
    counted: dict[str, int] = {}
    chains = pe.ruleset.chains
    for place, rule in objects(pe.listing, "rule"):
        number = counted[rule["chain"]] = counted.get(rule["chain"], 0) + 1
        read_rule = chains[rule["chain"]].rules[number - 1]
        if read_rule.verdict in ("drop", "jump"):
            found[str(read_rule)] = place
    for place, chain in objects(pe.listing, "chain"):
        if chain.get("policy") == "drop":
            found[f"{chain['name']} policy"] = place
    return found


def last(pe: Node, chain: str) -> str:
    return f"{chain} {len(pe.ruleset.chains[chain].rules)}"


@pytest.mark.req("B3")
@pytest.mark.parametrize("plane", ["userspace", "kernel"])
def test_no_guard_goes_without_being_missed_but_one_of_two_lines(plane: str) -> None:
    pe = node(plane)
    found = guards(pe)
    redundant = {
        name for name, place in found.items() if not missed(pe, without(pe.listing, place))
    }
    # Each ends what the policy behind it would end as well, in silence; both at once are missed.
    pairs = [(last(pe, chain), f"{chain} policy") for chain in ("input", "forward", "output")]
    # Which answer a refused packet gets is not a matter of whether it passes.
    other = {"forward_refused 2", last(pe, "forward_refused"), "reject_logged 2"}
    # Nor is a source to which no route leads back: alliance addresses are guarded without.
    other |= {name for name in found if "return_path" in asked(pe, name)}
    # And where nothing is suspended, what asks for that meets no packet.
    suspending = {name for name, place in found.items() if asks_suspended(pe, place)}
    assert len(suspending) == 6
    other |= suspending
    assert redundant == {name for pair in pairs for name in pair} | other
    # On the kernel plane what comes last at output guards nothing of the alliance by itself.
    tunnels = [
        place for name, place in found.items() if asked(pe, name) in ({"decrypted"}, {"encrypted"})
    ]
    for pair in pairs:
        assert missed(pe, without(pe.listing, *tunnels, *(found[name] for name in pair))), pair
    assert len(found) - len(redundant) >= 6


def asked(pe: Node, name: str) -> set[str]:
    """Return the fields that a rule looks at; none for a policy."""
    rules = (rule for chain in pe.ruleset.chains.values() for rule in chain.rules)
    return {field for rule in rules if str(rule) == name for field in rule.condition}


def asks_suspended(pe: Node, place: int) -> bool:
    """Tell whether a rule looks into a set of what ``paranal suspend`` closed."""
    return "@suspended_" in json.dumps(pe.listing["nftables"][place])


def without_match(listing: Listing, place: int, match: int) -> Listing:
    items = list(listing["nftables"])
    items[place] = copy.deepcopy(items[place])
    del items[place]["rule"]["expr"][match]
    return {**listing, "nftables": items}


@pytest.mark.req("B3")
@pytest.mark.parametrize("plane", ["userspace", "kernel"])
def test_no_condition_of_an_alliance_rule_goes_without_being_missed(plane: str) -> None:
    """All but the tunnel itself, that the refusal of the clear holds as well."""
    pe = node(plane)
    clear = [
        place
        for place, rule in objects(pe.listing, "rule")
        if {"counter": "clear_in"} in rule["expr"] or {"counter": "clear_out"} in rule["expr"]
    ]
    assert len(clear) == 4
    tried = 0
    for place, rule in objects(pe.listing, "rule"):
        if "co" not in rule.get("comment", "").replace(" control", ""):
            continue
        for number, statement in enumerate(rule["expr"]):
            if "match" not in statement:
                continue
            tried += 1
            changed = without_match(pe.listing, place, number)
            left = statement["match"]["left"]
            if left in ({"meta": {"key": "ipsec"}}, {"rt": {"key": "ipsec"}}):
                # `ipsec in` and `ipsec out` ask for a tunnel by themselves.
                assert not missed(pe, changed)
            elif left in ({"meta": {"key": "iifname"}}, {"meta": {"key": "oifname"}}):
                assert not missed(pe, changed)
                assert missed(pe, without(changed, *clear)), (rule["comment"], left)
            else:
                assert missed(pe, changed), (rule["comment"], left)
    assert tried > 80


@pytest.mark.req("B3")
def test_wider_or_crossed_selectors_are_found() -> None:
    pe = node("userspace")
    for key, value in (
        ("remote_ts", ["10.57.0.0/16"]),
        ("local_ts", ["10.51.1.0/24"]),
        ("remote_ts", ["10.52.1.1/32"]),
        ("remote_ts", ["0.0.0.0/0"]),
    ):
        changed = copy.deepcopy(pe.connections)
        (co,) = [one for one in changed if one["peer"] == "co"]
        co["config"]["children"]["operational"][key] = value
        broken = {
            each.key: each.broken for each in prove(pe.view, changed, pe.listing) if each.broken
        }
        assert "selectors" in broken, value
        # With Mexico's addresses in Colombia's tunnel nft, that sees one interface, is not enough.
        reaches_mexico = value in (["10.52.1.1/32"], ["0.0.0.0/0"])
        assert ("foreign-in" in broken) is ("foreign-out" in broken) is reaches_mexico


@pytest.mark.req("B3")
def test_a_closed_channel_without_a_tunnel_and_an_open_one_are_told_apart() -> None:
    pe = node("kernel")
    changed = copy.deepcopy(pe.connections)
    (co,) = [one for one in changed if one["peer"] == "co"]
    del co["config"]["children"]["strategic"]
    (broken,) = [each for each in prove(pe.view, changed, pe.listing) if each.broken]
    assert broken.key == "selectors"
    assert broken.broken
    assert broken.broken.by == ("co strategic",)
