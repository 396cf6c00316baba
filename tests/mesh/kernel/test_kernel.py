"""Tunnels in a real kernel: its SAs and policies are charon's, and what they refuse is counted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from testinfra.host import Host

from paranal.agreement import Agreement
from paranal.agreement.address import host_prefix
from paranal.agreement.connections import LIFE_BYTES, LIFE_PACKETS, REPLAY_WINDOW
from paranal.lab import names, packets, people
from paranal.lab.lab import Lab
from tests.mesh.breaking import FLUSH_POLICIES
from tests.mesh.conftest import KERNEL, MEMBERS
from tests.mesh.kernel.xfrm import State, errors, policies, risen, rules, states
from tests.mesh.support import (
    PERSON,
    Views,
    ask_from_border,
    by_hand,
    capture,
    counted,
    esp_flows,
    eventually,
    in_part,
    list_sas,
    on_node,
    sas_with,
    spis,
    tunnels_up,
)

HEALED_SECONDS = 90
FRAME_SECONDS = 40.0
UNKNOWN_SPI = "deadbeef"
FAR_AHEAD = 100_000
"""A sequence number that no replay window refuses."""


@pytest.mark.req("B4", "R6")
@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("gateway", KERNEL)
def test_the_kernel_s_sas_are_exactly_charon_s(
    nodes: dict[str, Host], agreement: Agreement, gateway: str
) -> None:
    node = nodes[gateway]
    listed = {
        spi: (sa["remote-id"].split(".")[1], child)
        for sa in list_sas(node)
        for child in sa["child-sas"].values()
        for spi in (child["spi-in"], child["spi-out"])
    }
    held = states(node)
    assert set(held) == set(listed)
    assert len(held) == 4 * (len(MEMBERS) - 1), "two channels with each peer, both ways"
    for spi, (peer, child) in listed.items():
        state = held[spi]
        extended = agreement.members[peer]["data_plane"] == "kernel"
        assert child["mode"] == "TUNNEL"
        assert "mode tunnel" in state.text
        assert (child["encr-alg"], child["encr-keysize"]) == ("AES_GCM_16", "256")
        assert "aead rfc4106(gcm(aes)) <<Keys hidden>> 128" in state.text
        # ESN, and the wire in UDP, are the two planes' to agree on.
        assert (child.get("esn") == "1") is extended
        assert bool(re.search(r"flag [^\n]*\besn\b", state.text)) is extended
        assert ("encap type espinudp sport 4500 dport 4500" in state.text) is not extended
        _limits(state, inward=spi == child["spi-in"])


def _limits(state: State, *, inward: bool) -> None:
    """Check replay window and volume limits of one SA."""
    if inward:
        # The kernel keeps a window of more than 32 in the same context as ESN.
        assert state.number("replay_window") == REPLAY_WINDOW
    assert f"hard {LIFE_BYTES}(bytes)" in state.text
    assert f"hard {LIFE_PACKETS}(packets)" in state.text


@pytest.mark.req("B4", "R6")
@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("gateway", KERNEL)
def test_every_tunnel_has_its_policies_and_a_drop_below_them(
    nodes: dict[str, Host], views: Views, gateway: str
) -> None:
    held = policies(nodes[gateway])
    own = views[gateway]["member"]
    for peer in views[gateway]["peers"]:
        for channel in peer["pair"]["channels"]:
            here, there = (host_prefix(side["addresses"][channel]) for side in (own, peer))
            for direction in ("in", "fwd"):
                assert f"dst {own['wan_address']}" in held[direction, there, here]
            assert f"dst {peer['wan_address']}" in held["out", here, there]
        for key in _drops(peer["inner_prefix"]):
            assert "action block priority 4294967295" in held[key]
    assert not [
        text
        for text in held.values()
        if "level use" in text or ("tmpl" not in text and "action block" not in text)
    ]


def _drops(prefix: str) -> list[tuple[str, str, str]]:
    everywhere = "::/0" if ":" in prefix else "0.0.0.0/0"
    inward = [(direction, prefix, everywhere) for direction in ("in", "fwd")]
    return [("out", everywhere, prefix), *inward]


@pytest.mark.req("B4", "R6", "D4")
@pytest.mark.usefixtures("settled")
def test_a_query_between_kernels_is_esp_that_both_rules_and_no_error_count(
    lab: Lab, agreement: Agreement, nodes: dict[str, Host]
) -> None:
    co, pe = nodes["co"], nodes["pe"]
    counters = [(pe, "output"), (pe, "input"), (co, "input"), (co, "output")]
    before = [rules(node, chain)["pe>co person"] for node, chain in counters]
    quiet = {"co": errors(co), "pe": errors(pe)}
    with capture(lab, "esp") as seen:
        answer = ask_from_border(lab, "pe", ["co"], people.DEMO_WANTED_MRZ)
    assert answer["outcome"] == "ALERT"
    after = [rules(node, chain)["pe>co person"] for node, chain in counters]
    assert all(now > then for now, then in zip(after, before, strict=True)), (before, after)
    wan = {code: agreement.members[code]["wan_address"] for code in ("co", "pe")}
    flows = esp_flows(seen.seen, "esp")
    assert (wan["pe"], wan["co"], spis(co, "pe")["operational"]) in flows
    assert (wan["co"], wan["pe"], spis(pe, "co")["operational"]) in flows
    assert {code: risen(nodes[code], quiet[code]) for code in quiet} == {"co": {}, "pe": {}}


@pytest.mark.req("B4", "R6")
@pytest.mark.usefixtures("settled")
def test_a_kernel_and_a_userspace_gateway_ask_each_other_in_udp(
    lab: Lab, agreement: Agreement, nodes: dict[str, Host]
) -> None:
    quiet = errors(nodes["pe"])
    with capture(lab, "udp port 4500") as seen:
        for asker, answerer in (("pe", "mx"), ("mx", "pe")):
            answer = ask_from_border(lab, asker, [answerer], people.DEMO_CLEAN_MRZ)
            assert answer["outcome"] == "OK", answer
    wan = {code: agreement.members[code]["wan_address"] for code in ("mx", "pe")}
    flows = esp_flows(seen.seen, "udp")
    assert (wan["pe"], wan["mx"], spis(nodes["mx"], "pe")["operational"]) in flows
    assert (wan["mx"], wan["pe"], spis(nodes["pe"], "mx")["operational"]) in flows
    assert risen(nodes["pe"], quiet) == {}


@pytest.mark.req("B3", "B4")
@pytest.mark.usefixtures("settled")
def test_a_packet_that_is_sent_again_is_dropped_and_counted(
    lab: Lab, nodes: dict[str, Host]
) -> None:
    pe = nodes["pe"]
    before = errors(pe)
    given = {"link": names.wan_link("pe"), "seconds": FRAME_SECONDS}
    with ThreadPoolExecutor(1) as pool:
        replayed = pool.submit(in_part, lab, names.WAN, "replay", **given)
        assert eventually(
            lambda: (
                bool(ask_from_border(lab, "pe", ["co"], people.DEMO_CLEAN_MRZ)) and replayed.done()
            ),
            FRAME_SECONDS,
        )
        spi = replayed.result()
    assert spi in spis(pe, "co").values(), "it was one of ours"
    assert eventually(lambda: risen(pe, before) == {"XfrmInStateSeqError": 1}, 10), risen(
        pe, before
    )
    assert states(pe)[spi].number("replay") == 1


@pytest.mark.req("B3", "B4")
def test_esp_of_no_tunnel_is_dropped_and_counted(
    lab: Lab, nodes: dict[str, Host], agreement: Agreement
) -> None:
    pe = nodes["pe"]
    before = errors(pe)
    wan = {code: agreement.members[code]["wan_address"] for code in ("co", "pe")}

    def inject(spi: str, sequence: int) -> None:
        packet = packets.esp(wan["co"], wan["pe"], spi, sequence)
        in_part(lab, names.WAN, "send", link=names.wan_link("pe"), packet=packet.hex())

    inject(UNKNOWN_SPI, 1)
    assert eventually(lambda: risen(pe, before) == {"XfrmInNoStates": 1}, 10), risen(pe, before)
    # With an SPI that exists: the kernel's own tag says that nobody who has the key wrote it.
    inject(spis(pe, "co")["operational"], FAR_AHEAD)
    assert eventually(lambda: "XfrmInStateProtoError" in risen(pe, before), 10), risen(pe, before)


@pytest.fixture
def colombia_silent(nodes: dict[str, Host]) -> Iterator[None]:
    """CO's charon is stopped and PE's has just started: it has found no peer yet in CO."""
    co, pe = nodes["co"], nodes["pe"]
    with by_hand(co, "heal"), by_hand(pe, "heal"):
        co.check_output("systemctl stop strongswan.service")
        pe.check_output("systemctl restart strongswan.service")
        yield
        co.check_output("systemctl start strongswan.service")
    assert eventually(lambda: len(spis(pe, "co")) == 2, HEALED_SECONDS)
    assert eventually(lambda: len(spis(pe, "mx")) == 2, HEALED_SECONDS)


@pytest.mark.req("B3", "B4")
@pytest.mark.usefixtures("colombia_silent")
def test_traps_and_drops_stand_before_any_key_is_agreed(
    lab: Lab, nodes: dict[str, Host], views: Views
) -> None:
    pe = nodes["pe"]
    assert sas_with(pe, "co") == []
    co = next(peer for peer in views["pe"]["peers"] if peer["code"] == "co")
    here, there = (
        host_prefix(side["addresses"]["operational"]) for side in (views["pe"]["member"], co)
    )
    held = policies(pe)
    for key in (("out", here, there), ("in", there, here), ("fwd", there, here)):
        assert "tmpl" in held[key]
        assert "spi" not in held[key]
    assert set(_drops(co["inner_prefix"])) <= set(held)
    answer = ask_from_border(lab, "pe", ["co"], people.DEMO_WANTED_MRZ)
    assert answer["outcome"] == "INCOMPLETE"


@pytest.mark.req("B4", "B6")
def test_a_charon_that_was_killed_leaves_no_sa_behind(nodes: dict[str, Host]) -> None:
    co, pe = nodes["co"], nodes["pe"]
    before = set(states(pe))
    pe.check_output("systemctl kill --signal=KILL strongswan.service")

    def whole() -> bool:
        if pe.run("swanctl --stats").rc:  # not back yet
            return False
        pairs = (spis(pe, "co"), spis(pe, "mx"), spis(co, "pe"))
        held = set(states(pe))
        return all(len(pair) == 2 for pair in pairs) and not held & before and len(held) == 8

    assert eventually(whole, HEALED_SECONDS), states(pe).keys() & before


STOP_WHILE_UPKEEP_STARTS = """
for turn in 1 2 3 4 5 6; do systemctl start --no-block paranal-heal.service; sleep 0.04; done &
systemctl stop strongswan.service; stopped=$?; wait; exit $stopped
"""


@pytest.mark.req("B6")
def test_the_upkeep_does_not_cancel_a_stop_of_charon(nodes: dict[str, Host]) -> None:
    """An emulated charon takes a third of a second to stop, in which the timer came round."""
    pe = nodes["pe"]
    with by_hand(pe, "heal"):
        try:
            stopped = pe.run(STOP_WHILE_UPKEEP_STARTS)
        finally:
            pe.check_output("systemctl start strongswan.service")
    assert stopped.rc == 0, stopped.stderr
    assert eventually(lambda: tunnels_up(pe, ["co", "mx"]), HEALED_SECONDS)


@pytest.fixture
def peru_without_charon(nodes: dict[str, Host]) -> Iterator[None]:
    """PE's charon is stopped; afterwards its tunnels and drop policies are back."""
    pe = nodes["pe"]
    with by_hand(pe, "heal"):
        pe.check_output("systemctl stop strongswan.service")
        yield
        pe.check_output("systemctl restart paranal-drop-policies.service")
        pe.check_output("systemctl start strongswan.service")
    assert eventually(lambda: len(spis(pe, "co")) == 2 and len(spis(pe, "mx")) == 2, HEALED_SECONDS)


@pytest.mark.req("B3", "B4")
@pytest.mark.usefixtures("peru_without_charon")
def test_without_charon_the_drops_hold_and_without_them_the_firewall(
    nodes: dict[str, Host], views: Views
) -> None:
    pe = nodes["pe"]
    own, co = views["pe"]["member"], views["co"]["member"]
    call = {
        "address": co["addresses"]["operational"],
        "port": 7443,
        "source": own["addresses"]["operational"],
        "server_name": "x",
        "body": PERSON,
    }
    assert states(pe) == {}
    drops = {key for peer in views["pe"]["peers"] for key in _drops(peer["inner_prefix"])}
    assert set(policies(pe)) == drops
    before = errors(pe)
    seen = on_node(pe, "call", **call)
    assert "PermissionError" in seen["error"]
    assert seen["milliseconds"] < 1000
    assert risen(pe, before).keys() == {"XfrmOutPolBlock"}

    pe.check_output("ip xfrm policy flush")
    assert policies(pe) == {}
    refused = counted(pe, "clear_out")
    seen = on_node(pe, "call", **call)
    assert "ConnectionRefused" in seen["error"]
    assert counted(pe, "clear_out") > refused


@pytest.mark.req("B3")
@pytest.mark.usefixtures("settled")
def test_flushed_policies_are_reported_at_once_and_come_back_by_themselves(
    nodes: dict[str, Host],
) -> None:
    pe = nodes["pe"]
    before = set(policies(pe))
    with by_hand(pe, "firewall-heal"):
        pe.check_output(FLUSH_POLICIES)
        assert policies(pe) == {}
        shown = pe.run("paranal status --json --service person")
        assert (shown.rc, "PAR-0737" in shown.stdout) == (1, True)
        since = pe.check_output("date +@%s")
    assert eventually(lambda: set(policies(pe)) == before, HEALED_SECONDS)
    journal = "journalctl --unit=paranal-firewall-heal.service --output=cat --since=%s"
    assert "PAR-0736" in pe.check_output(journal, since)
    assert eventually(lambda: tunnels_up(pe, ["co", "mx"]), HEALED_SECONDS)
