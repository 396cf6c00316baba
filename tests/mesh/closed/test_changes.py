"""A change loses no query, at 40 ms one way, and at most one packet for each renewed IKE_SA.

Colombia asks Peru without pause, as its posts do, while numbered packets go through the same
tunnel; the pairs with Mexico are the ones that nobody changes.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from testinfra.host import Host

from paranal.lab import people
from paranal.lab.lab import Lab
from tests.mesh.flows import numbered, questions
from tests.mesh.support import (
    Views,
    ask_from_border,
    by_hand,
    eventually,
    on_node,
    played,
    sas_with,
    spis,
    tunnels_up,
)

pytestmark = [pytest.mark.req("R6", "D4"), pytest.mark.usefixtures("far_apart")]
ENDS = ("co", "pe")
FEWEST_QUERIES = 10
SECONDS_BACK = 30


Outcome = dict[str, Any]
Watch = Callable[[], AbstractContextManager[Outcome]]


@pytest.fixture
def watched(lab: Lab, nodes: dict[str, Host], views: Views) -> Watch:
    """Watch one change: fills in ``answered``, ``failed``, ``worst_ms``, ``sent``, ``lost``."""

    @contextmanager
    def watch() -> Iterator[Outcome]:
        outcome: Outcome = {}
        assert eventually(lambda: tunnels_up(nodes["co"], ["pe"]), SECONDS_BACK)
        with questions(lab, views, "co", "pe") as asked, numbered(nodes, views) as counted:
            yield outcome
            outcome |= asked()
            outcome["sent"], outcome["lost"] = counted()
        print(json.dumps(outcome))  # noqa: T201 - the figures of this run

    return watch


def _unharmed(outcome: Outcome, renewed: int = 0) -> None:
    assert outcome["failed"] == []
    assert outcome["answered"] >= FEWEST_QUERIES, outcome
    assert len(outcome["lost"]) <= renewed, outcome


def _mexico(nodes: dict[str, Host]) -> list[dict[str, str]]:
    return [spis(nodes[code], "mx") for code in ENDS]


@pytest.mark.usefixtures("settled")
def test_a_firewall_rule_that_is_added_and_one_that_goes(
    lab: Lab, nodes: dict[str, Host], watched: Watch
) -> None:
    before = [spis(nodes["co"], peer) for peer in ("mx", "pe")]
    log = {"name": "log", "direction": "out", "interface": "mgmt", "port": 514, "protocol": "udp"}
    more = {"firewall_national_services": [{**log, "address": "2001:db8::1"}]}
    only = ("--limit", "co,pe", "--tags", "firewall")
    with watched() as outcome:
        played(lab, *only, "--extra-vars", json.dumps(more))
        assert '"log"' in nodes["pe"].check_output("nft list chain inet paranal output")
        played(lab, *only)
        assert '"log"' not in nodes["pe"].check_output("nft list chain inet paranal output")
    _unharmed(outcome)
    assert [spis(nodes["co"], peer) for peer in ("mx", "pe")] == before


@pytest.mark.usefixtures("settled")
def test_settings_of_charon_that_are_read_again(nodes: dict[str, Host], watched: Watch) -> None:
    before = [spis(nodes["co"], peer) for peer in ("mx", "pe")]
    with watched() as outcome:
        for code in ENDS:
            assert "settings read" in nodes[code].check_output("paranal tunnels settings")
    assert outcome["failed"] == []
    assert outcome["lost"] == [], outcome
    assert [spis(nodes["co"], peer) for peer in ("mx", "pe")] == before


def test_new_leaves(lab: Lab, nodes: dict[str, Host], watched: Watch) -> None:
    serial = "openssl x509 -noout -serial -in /etc/swanctl/x509/ike.pem"
    before, tunnel = nodes["co"].check_output(serial), spis(nodes["co"], "pe")
    with watched() as outcome:
        played(lab, "--limit", "co", "--extra-vars", '{"pki_renew_at_fraction": 1.0}')
    _unharmed(outcome, renewed=1)
    assert nodes["co"].check_output(serial) != before
    assert set(spis(nodes["co"], "pe").values()).isdisjoint(tunnel.values())


@pytest.fixture
def applied_again(lab: Lab) -> Iterator[None]:
    """Whatever a test left behind, the next run puts both ends right."""
    yield
    played(lab, "--limit", ",".join(ENDS))


@pytest.mark.usefixtures("settled", "applied_again")
@pytest.mark.parametrize("change", ["lifetime", "CA"])
def test_a_new_generation_of_one_pair(nodes: dict[str, Host], watched: Watch, change: str) -> None:
    mexico, names = _mexico(nodes), {sa["name"] for sa in sas_with(nodes["co"], "pe")}
    with (
        by_hand(nodes["co"], "heal"),
        by_hand(nodes["pe"], "heal"),
        watched() as outcome,
        ThreadPoolExecutor(len(ENDS)) as pool,
    ):
        peers = zip(ENDS, reversed(ENDS), strict=True)
        ran = [
            pool.submit(on_node, nodes[code], "regenerate", peer=peer, change=change)
            for code, peer in peers
        ]
        assert {state for done in ran for state in done.result().values()} <= {"up", "loaded"}
    _unharmed(outcome, renewed=1)
    assert {sa["name"] for sa in sas_with(nodes["co"], "pe")}.isdisjoint(names)
    assert _mexico(nodes) == mexico


@pytest.fixture
def agreed(lab: Lab) -> Iterator[dict[str, Any]]:
    """What the lab's agreement says, to be changed; afterwards everything is as it was."""
    before = lab.agreement().document
    yield copy.deepcopy(before)
    lab.declare(before)
    played(lab)


@pytest.mark.usefixtures("settled")
def test_a_member_that_leaves_and_one_that_joins(
    lab: Lab, nodes: dict[str, Host], watched: Watch, agreed: dict[str, Any]
) -> None:
    document, tunnel = copy.deepcopy(agreed), spis(nodes["co"], "pe")
    del document["members"]["mx"]
    document["pairs"] = [pair for pair in document["pairs"] if "mx" not in pair["members"]]
    with watched() as outcome:
        lab.declare(document)
        played(lab, "--limit", "co,pe")
        for code in ENDS:
            assert sas_with(nodes[code], "mx") == []
            assert '"mx>' not in nodes[code].check_output("nft list table inet paranal")
        lab.declare(agreed)
        played(lab, "--limit", "co,mx,pe")
    _unharmed(outcome)
    assert spis(nodes["co"], "pe") == tunnel, "a pair that did not change keeps its SPIs"
    assert eventually(lambda: tunnels_up(nodes["mx"], ENDS), SECONDS_BACK)
    assert ask_from_border(lab, "pe", ["mx"], people.DEMO_RECORD_MRZ)["outcome"] == "ALERT"


def test_to_break_before_making_loses_packets(nodes: dict[str, Host], watched: Watch) -> None:
    """The control: what all of the above would look like, were it done the simple way."""
    (name,) = {sa["name"] for sa in sas_with(nodes["co"], "pe")}
    with by_hand(nodes["co"], "heal"), watched() as outcome:
        nodes["co"].check_output("swanctl --terminate --ike %s --timeout 5", name)
        # A question meets the trap, which asks for the tunnel.
        assert eventually(lambda: "operational" in spis(nodes["co"], "pe"), SECONDS_BACK)
    assert len(outcome["lost"]) > 1, outcome
    assert eventually(lambda: tunnels_up(nodes["co"], ["pe"]), SECONDS_BACK)
