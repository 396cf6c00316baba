"""Tunnels that change, heal and are proved, while what did not change is left alone."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

from paranal.lab.lab import Lab
from tests.mesh.flows import ASK_AGAIN, held_query
from tests.mesh.support import Views, by_hand, eventually, played, sas_with, spis

FLOW = (Path(__file__).parent / "on_node" / "flow.py").read_text(encoding="utf-8")
SECONDS = 300
PORT = 7445
"""Of the service ``strategic``: open in nft, and no daemon of ours listens there."""


def _background(node: Host, unit: str, **given: Any) -> None:  # noqa: ANN401 - see flow.py
    node.check_output(
        "systemd-run --quiet --collect --unit=%s python3 -I -c %s %s",
        unit,
        FLOW,
        json.dumps(given),
    )


@pytest.mark.req("R6")
@pytest.mark.usefixtures("settled")
def test_what_swanctl_loads_from_the_file_is_what_charon_was_given(
    nodes: dict[str, Host],
) -> None:
    before = {peer: spis(nodes["pe"], peer) for peer in ("co", "mx")}
    loaded = nodes["pe"].check_output("swanctl --load-conns")
    assert "0 unloaded" in loaded
    assert {peer: spis(nodes["pe"], peer) for peer in ("co", "mx")} == before
    nodes["pe"].check_output("paranal tunnels verify")


@pytest.mark.req("R6", "B6")
@pytest.mark.usefixtures("far_apart", "settled")
def test_a_tunnel_that_was_ended_is_asked_for_again_and_its_sibling_is_left_alone(
    nodes: dict[str, Host],
) -> None:
    co = nodes["co"]
    before = spis(co, "pe")
    (name,) = {sa["name"] for sa in sas_with(co, "pe")}
    with by_hand(co, "heal"):
        co.check_output("swanctl --terminate --ike %s --child strategic --timeout 5", name)
        assert eventually(lambda: "strategic" not in spis(co, "pe"), 5)
        asked = co.check_output("paranal tunnels heal")
        assert f"asked again for {name}/strategic" in asked
    assert eventually(lambda: "strategic" in spis(co, "pe"), 10)
    assert spis(co, "pe")["operational"] == before["operational"]
    assert co.check_output("paranal tunnels heal") == "", "nothing is missing, nothing is asked"


@pytest.mark.req("R12")
def test_a_line_with_nothing_open_is_proved_by_its_initiator_and_ended(
    nodes: dict[str, Host], views: Views
) -> None:
    closed = [peer["code"] for peer in views["cl"]["peers"] if peer["pair"]["line_check"]]
    if not closed:
        pytest.skip("every pair of this agreement is in service")
    results = json.loads(nodes["cl"].check_output("paranal line-check --json"))
    assert {peer: note["ok"] for peer, note in results.items()} == dict.fromkeys(closed, True)
    assert json.loads(nodes["pe"].check_output("paranal line-check --json")) == {}
    assert sas_with(nodes["cl"], "pe") == []


@pytest.fixture
def agreed(lab: Lab) -> Iterator[dict[str, Any]]:
    """What the lab's agreement says, to be changed; afterwards everything is as it was."""
    before = lab.agreement().document
    yield copy.deepcopy(before)
    lab.declare(before)
    played(lab)


@pytest.fixture
def flow(nodes: dict[str, Host], views: Views) -> Iterator[None]:
    """A flow from CO to PE of the service ``strategic``, over and over."""
    co, pe = nodes["co"], nodes["pe"]
    ours, theirs = (views[code]["member"]["addresses"]["strategic"] for code in ("co", "pe"))
    _background(pe, "flow", serve=(theirs, PORT))
    _background(
        co,
        "flow",
        call=(theirs, PORT),
        source=ours,
        seconds=SECONDS,
        file="/run/flow.json",
        stop="/run/flow.stop",
    )
    yield
    for node in (co, pe):
        node.run("systemctl stop flow")
        node.run("rm --force /run/flow.stop /run/flow.json")


@pytest.mark.req("R6", "R12")
@pytest.mark.usefixtures("settled", "far_apart", "flow")
def test_what_is_closed_is_cut_and_what_is_open_goes_on_in_a_new_generation(
    lab: Lab, nodes: dict[str, Host], views: Views, agreed: dict[str, Any]
) -> None:
    """Close the operational channel, and one of the two services of the strategic one.

    A connection held open through what closes is answered with a reset, not with silence.
    """
    co, pe = nodes["co"], nodes["pe"]
    mexico, before = spis(pe, "mx"), {sa["name"] for sa in sas_with(co, "pe")}
    co.check_output("systemctl is-active flow")
    (pair,) = [one for one in agreed["pairs"] if one["members"] == ["co", "pe"]]
    for direction in pair["directions"].values():
        direction["services"] |= {"person": "suspended", "control": "suspended"}
    lab.declare(agreed)

    with (
        held_query(nodes, views) as person,
        held_query(nodes, views, "control") as control,
    ):
        played(lab, "--limit", "co,pe")
        co.check_output(ASK_AGAIN)
        for told in (person, control):
            assert eventually(partial(_asked_again, told), 10)
            assert told()["second"] is None
            assert told()["error"].startswith("ConnectionReset")

    assert set(spis(co, "pe")) == set(spis(pe, "co")) == {"strategic"}
    assert {sa["name"] for sa in sas_with(co, "pe")}.isdisjoint(before)
    assert spis(pe, "mx") == mexico, "a pair that did not change keeps its SPIs"
    co.check_output("touch /run/flow.stop")
    going_on = _ended(co)
    assert going_on["error"] == ""
    assert going_on["trips"] > 30
    assert 80 <= going_on["worst_ms"] < 2000


def _asked_again(told: Callable[[], dict[str, Any]]) -> bool:
    return "second" in told()


def _ended(node: Host) -> dict[str, Any]:
    """Return what the flow's caller wrote when it ended."""
    assert eventually(lambda: bool(node.file("/run/flow.json").exists), 10), "it goes on"
    found: dict[str, Any] = json.loads(node.file("/run/flow.json").content_string)
    return found
