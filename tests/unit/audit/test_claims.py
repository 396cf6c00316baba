"""What must hold: kept by no ruleset that lets all pass, or nothing, and told in words."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from paranal.agreement import load, member_view
from paranal.agreement.connections import connections
from paranal.audit import cli
from paranal.audit.proof.claims import site
from paranal.audit.proof.declared import variables
from paranal.audit.proof.prove import Counterexample, prove
from paranal.audit.proof.values import TRACKED, address, gateway, interface
from paranal.audit.proof.words import PROPERTIES, by, fields, sentence
from paranal.messages import Refusal
from tests.unit.audit.rules import ACCEPT, DROP, Listing, base, match, meta, payload, table

AGREEMENT = Path(__file__).parents[3] / "agreement" / "pacific-alliance.yml"
PLANES = ("kernel", "userspace")
PASSING = {"open-in", "open-out"}


def broken(code: str, plane: str, listing: Listing) -> dict[str, Counterexample]:
    view = member_view(load(AGREEMENT), code)
    for member in (view["member"], *view["peers"]):
        member["data_plane"] = plane
    declared = connections(view, {peer["code"]: "" for peer in view["peers"]})
    found = prove(view, declared, listing)
    assert [each.key for each in found] == list(PROPERTIES)
    return {each.key: each.broken for each in found if each.broken}


def everywhere(*rules: Any) -> Listing:  # noqa: ANN401 - nft's JSON
    return table(*(item for hook in ("input", "forward", "output") for item in base(hook, *rules)))


@pytest.mark.req("B3")
@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("code", ["pe", "cl"])
def test_rules_that_let_everything_pass_keep_nothing(code: str, plane: str) -> None:
    found = broken(code, plane, everywhere([ACCEPT]))
    never = PASSING | {"selectors"}
    # There charon's check keeps every tunnel to its own addresses, whatever nft says.
    if plane == "userspace":
        never |= {"foreign-in", "foreign-out"}
    assert found.keys() == set(PROPERTIES) - never


@pytest.mark.req("B3")
@pytest.mark.parametrize("plane", PLANES)
def test_rules_that_let_nothing_pass_keep_everything_but_what_is_open(plane: str) -> None:
    assert broken("pe", plane, everywhere([DROP])).keys() == PASSING
    assert broken("cl", plane, everywhere([DROP])) == {}


@pytest.mark.parametrize("plane", PLANES)
def test_rules_without_a_chain_are_rules_that_let_everything_pass(plane: str) -> None:
    assert broken("pe", plane, table()).keys() == broken("pe", plane, everywhere([ACCEPT])).keys()


@pytest.mark.req("B3")
def test_a_gateway_that_nobody_declared_is_no_peer() -> None:
    """One accept for whatever was decrypted lets each peer speak for the others."""
    decrypted = base("input", [match(meta("ipsec"), True), ACCEPT])
    found = broken("pe", "kernel", table(*decrypted, *base("forward"), *base("output")))
    assert found.keys() == {"foreign-in", "closed-in", "open-out"}


def test_the_counterexample_is_an_ordinary_packet_and_says_what_decided() -> None:
    port = [match(payload("tcp", "dport"), 7443), ACCEPT]
    found = broken(
        "pe", "userspace", table(*base("input", port), *base("forward"), *base("output"))
    )
    clear = found["clear-in"]
    assert clear.by == ("input 1",)
    assert fields(clear) == {
        "path": "in",
        "source": "10.57.1.1",
        "destination": "10.51.1.1",
        "protocol": 6,
        "sport": 40000,
        "dport": 7443,
        "tcp_flags": 2,
        "hops": 64,
        "tracked": "new",
        "iif": "wan",
        "decrypted": None,
        "encrypted": None,
    }
    assert sentence(clear) == (
        "TCP 10.57.1.1:40000 → 10.51.1.1:7443, ct new, entra por «wan» en claro",
        "TCP 10.57.1.1:40000 → 10.51.1.1:7443, ct new, in on 'wan' in the clear",
    )


PACKET = {
    "iif": interface("wan"),
    "oif": interface("mgmt"),
    "source": address("2001:db8::1"),
    "destination": address("2001:db8::2"),
    "protocol": 58,
    "sport": 1,
    "dport": 2,
    "tcp_flags": 3,
    "icmp_type": 2,
    "icmp_code": 0,
    "hops": 9,
    "tracked": TRACKED["related reply"],
    "decrypted": gateway("192.0.2.7"),
    "encrypted": 0,
    "return_path": 1,
}


def test_a_packet_is_told_with_the_fields_that_it_has() -> None:
    english = sentence(Counterexample("forward", PACKET, ()))[1]
    assert english == (
        "ICMPv6 2/0 2001:db8::1 → 2001:db8::2, ct related reply, in on 'wan' decrypted from the "
        "tunnel of 192.0.2.7, out on 'mgmt' in the clear"
    )
    udp = {**PACKET, "protocol": 17, "encrypted": gateway("192.0.2.8"), "iif": 0, "sport": 2**16}
    spanish = sentence(Counterexample("out", udp, ()))[0]
    assert spanish.startswith("UDP [2001:db8::1]:- → [2001:db8::2]:2, ct related reply")
    assert spanish.endswith("sale por «mgmt» cifrado hacia 192.0.2.8")
    plain = sentence(Counterexample("selectors", {**PACKET, "protocol": 253}, ()))
    assert plain == ("253 2001:db8::1 → 2001:db8::2",) * 2


def test_what_holds_only_with_charons_check_says_so() -> None:
    assert by("userspace", "foreign-in")[1] == "nft and charon's check"
    assert by("kernel", "foreign-in") == by("userspace", "closed-in") == ("nft", "nft")
    assert by("kernel", "selectors") == ("swanctl", "swanctl")


def test_rules_of_one_node_want_its_name(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    cli.configure(parser)
    for words in ([], ["--member", "pe", "--member", "co"]):
        for option in ("--ruleset", "--suspended"):
            with pytest.raises(Refusal, match="PAR-0809"):
                cli.run(parser.parse_args(["prove", option, str(tmp_path / "x"), *words]))


@pytest.mark.parametrize("text", ["", "{", '{"suspended": [{}]}', None])
def test_a_record_of_suspensions_that_is_none_is_refused(tmp_path: Path, text: str | None) -> None:
    parser, file = argparse.ArgumentParser(), tmp_path / "suspended.json"
    cli.configure(parser)
    if text is not None:
        file.write_text(text, encoding="utf-8")
    with pytest.raises(Refusal, match="PAR-0477"):
        cli.run(parser.parse_args(["prove", "--member", "pe", "--suspended", str(file)]))


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "\x00", ""])
def test_variables_that_are_none_are_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "vars.yml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(Refusal, match="PAR-0808"):
        variables(file)
    with pytest.raises(Refusal, match="PAR-0808"):
        variables(tmp_path / "absent.yml")


@pytest.mark.req("B3")
def test_behind_a_translation_the_wan_is_the_address_that_the_gateway_has() -> None:
    agreement = load(AGREEMENT)
    for local, has in ((None, "203.0.113.34"), ("192.0.2.2", "192.0.2.2")):
        assert site(member_view(agreement, "pe", local), []).wan == address(has)
