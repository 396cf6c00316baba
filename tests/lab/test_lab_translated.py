"""A gateway behind a 1:1 translation: its peers need nothing, its own inventory one address.

Mexico is translated: it asks Peru for the tunnel and answers Colombia's. Judged at 40 ms one way.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

from paranal.lab import Lab, faults, lowering, raising
from paranal.lab.playbook import play
from paranal.lab.relay import Impairment
from paranal.lab.wish import Wish
from paranal.messages import Refusal
from tests.mesh.support import by_hand, capture, connect, esp_flows, eventually, sas_with, spis

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a lab needs root")

MEMBERS = ("co", "mx", "pe")
PEERS = ("co", "pe")
LOCAL = "192.0.2.2"
CHANNELS = {"operational", "strategic"}
BACK_SECONDS = 30
Nodes = dict[str, Host]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Three countries on one wide area, Mexico behind a translation, nothing applied yet."""
    built = Lab(os.environ.get("PARANAL_LAB", "t-translated"))
    raising.up(built, Wish(members=MEMBERS, translated=("mx",)), os.getpid())
    yield built
    lowering.down(built)


@pytest.fixture(scope="module")
def refused(lab: Lab) -> str:
    """What an apply says to an inventory that does not state the local address."""
    with pytest.raises(Refusal, match="PAR-0221") as refusal:
        play(lab, "site", "--limit", "mx", "--extra-vars", "paranal_wan_local_address=")
    log: Path = refusal.value.params["log"]
    return log.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def nodes(lab: Lab, refused: str) -> Nodes:
    """The nodes, provisioned after the refusal, 40 ms apart, every tunnel up."""
    play(lab, "site")
    faults.impair(lab, Impairment(delay_ms=40))
    found = {code: connect(lab, code) for code in MEMBERS}
    assert eventually(lambda: all(_whole(found, peer) for peer in PEERS), BACK_SECONDS)
    return found


def _whole(nodes: Nodes, peer: str) -> bool:
    """Tell whether both ends hold the same two CHILD_SAs of one IKE_SA, and carry a call."""
    ours, theirs = sas_with(nodes["mx"], peer), sas_with(nodes[peer], "mx")
    ends = [
        {each[spi] for sa in sas for each in sa["child-sas"].values()}
        for sas, spi in ((ours, "spi-in"), (theirs, "spi-out"))
    ]
    return len(ours) == len(theirs) == 1 and ends[0] == ends[1] and len(ends[0]) == len(CHANNELS)


def _carries(nodes: Nodes, asker: str, answerer: str) -> bool:
    """Tell whether a direction in service is good by a real call through the tunnel, just made."""
    said = nodes[asker].run("paranal status --service person --probe --json").stdout
    (direction,) = (
        each
        for pair in json.loads(said)["pairs"]
        for each in pair["directions"]
        if (each["asker"], each["answerer"]) == (asker, answerer)
    )
    return bool(direction["state"] == "good")


@pytest.mark.req("R6")
def test_without_its_local_address_the_apply_is_refused_and_says_what_to_declare(
    lab: Lab, refused: str
) -> None:
    assert "PAR-0323" in refused
    assert LOCAL in refused
    assert "paranal_wan_local_address" in refused
    left = lab.exec("mx", "test", "-e", "/etc/swanctl/conf.d/paranal.conf", check=False)
    assert left.returncode != 0


@pytest.mark.req("R6")
def test_it_asks_one_peer_and_answers_the_other_and_neither_knows_its_local_address(
    lab: Lab, nodes: Nodes
) -> None:
    public = lab.agreement().members["mx"]["wan_address"]
    for peer, asks in (("co", False), ("pe", True)):
        (ours,), (theirs,) = sas_with(nodes["mx"], peer), sas_with(nodes[peer], "mx")
        assert (ours.get("initiator") == "yes") is asks
        assert (ours["local-host"], theirs["remote-host"]) == (LOCAL, public)
        assert (ours["nat-local"], theirs["nat-remote"]) == ("yes", "yes")
        assert LOCAL not in str(theirs)
        assert nodes[peer].run("grep --recursive --quiet %s /etc", LOCAL).rc == 1
        assert _carries(nodes, "mx", peer)
        assert _carries(nodes, peer, "mx")
    assert f"NAT 1:1: {LOCAL} = {public}" in nodes["mx"].check_output("paranal tunnels verify")
    for code in MEMBERS:
        nodes[code].check_output("paranal tunnels verify")


@pytest.mark.req("R6")
def test_the_wire_shows_esp_in_udp_before_and_behind_the_translation(
    lab: Lab, nodes: Nodes
) -> None:
    members = lab.agreement().members
    public, co = (members[code]["wan_address"] for code in ("mx", "co"))
    with capture(lab, f"host {co}") as seen:
        assert _carries(nodes, "mx", "co")
    theirs, ours = spis(nodes["co"], "mx")["operational"], spis(nodes["mx"], "co")["operational"]
    flows = esp_flows(seen.seen, "udp")
    for here in (LOCAL, public):
        assert {(here, co, theirs), (co, here, ours)} <= flows
    assert not any("10.5" in line for line in seen.seen)


@pytest.mark.req("R6")
@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("behind", [True, False], ids=["from behind", "from the peer"])
def test_keys_are_renewed_from_either_end(nodes: Nodes, peer: str, behind: bool) -> None:
    asking = nodes["mx"] if behind else nodes[peer]
    other = peer if behind else "mx"
    with by_hand(nodes["co"], "heal"), by_hand(nodes["mx"], "heal"):
        (before,) = sas_with(asking, other)
        keys = spis(asking, other)
        asking.check_output("swanctl --rekey --child operational --ike %s", before["name"])
        assert eventually(
            lambda: (
                spis(asking, other).keys() == CHANNELS
                and spis(asking, other)["operational"] != keys["operational"]
                and _whole(nodes, peer)
            ),
            BACK_SECONDS,
        )
        assert spis(asking, other)["strategic"] == keys["strategic"]
        asking.check_output("swanctl --rekey --ike %s", before["name"])
        assert eventually(
            lambda: (
                [sa["initiator-spi"] for sa in sas_with(asking, other)]
                not in ([], [before["initiator-spi"]])
                and _whole(nodes, peer)
            ),
            BACK_SECONDS,
        )
    assert _carries(nodes, "mx", peer)


@pytest.mark.req("R6", "B6")
@pytest.mark.parametrize("killed", ["mx", *PEERS])
def test_it_comes_back_after_the_daemon_of_either_end_was_killed(nodes: Nodes, killed: str) -> None:
    peers = PEERS if killed == "mx" else (killed,)
    before = {peer: spis(nodes["mx"], peer) for peer in peers}
    nodes[killed].check_output("systemctl kill --signal=KILL strongswan")
    assert eventually(lambda: bool(nodes[killed].run("swanctl --stats").rc == 0), BACK_SECONDS)
    assert eventually(
        lambda: all(
            _whole(nodes, peer)
            and set(before[peer].values()).isdisjoint(spis(nodes["mx"], peer).values())
            for peer in peers
        ),
        BACK_SECONDS,
    )
    assert all(_carries(nodes, "mx", peer) for peer in peers)


@pytest.mark.req("R6", "B6")
def test_a_line_that_was_cut_is_noticed_by_dpd_and_comes_back(lab: Lab, nodes: Nodes) -> None:
    faults.partition(lab, ["mx"], ["pe"])
    try:
        assert eventually(lambda: sas_with(nodes["pe"], "mx") == [], BACK_SECONDS)
        assert _whole(nodes, "co")
    finally:
        faults.clear(lab)
        faults.impair(lab, Impairment(delay_ms=40))
    assert eventually(lambda: _whole(nodes, "pe"), BACK_SECONDS)


def test_a_running_lab_is_not_translated_otherwise(lab: Lab) -> None:
    with pytest.raises(Refusal, match=r"PAR-0208.*--nat mx"):
        raising.up(lab, Wish(translated=("pe",)), os.getpid())
    facts: dict[str, Any] = raising.up(lab, Wish(translated=("mx",)), os.getpid())
    assert facts["members"]["mx"]["wan_local_address"] == LOCAL


@pytest.mark.req("R6")
def test_a_translated_node_comes_back_after_a_reboot(lab: Lab, nodes: Nodes) -> None:
    raising.reboot(lab, "mx")
    nodes["mx"] = connect(lab, "mx")
    assert eventually(lambda: all(_whole(nodes, peer) for peer in PEERS), BACK_SECONDS)
