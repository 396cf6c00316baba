"""A bad line: loss, distance, disorder, and a path shorter than anybody was told."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from testinfra.host import Host

from paranal.lab import faults, packets, people
from paranal.lab.faults import LEAST_MTU
from paranal.lab.lab import Lab
from paranal.lab.relay import Impairment
from tests.mesh import support
from tests.mesh.faults.conftest import Note
from tests.mesh.faults.support import DISTANCE, ask_for, asking, not_ok, until, whole
from tests.mesh.support import Views, ask_from_border, on_node, sas_with

FLOW = (Path(support.__file__).parent / "on_node" / "flow.py").read_text(encoding="utf-8")
STRATEGIC_PORT = 7445
"""Open in nft, and no daemon of ours listens there."""
SIZES = [*range(1100, 1500, 20), 4096, 20_000, 65_536]

LINES = {
    # name: the line, the least share of questions answered within the deadline
    "5 % lost": (Impairment(delay_ms=40, loss=0.05), 0.95),
    "30 % lost": (Impairment(delay_ms=40, loss=0.30), 0.50),
    "150 ms": (Impairment(delay_ms=150, jitter_ms=30), 1.0),
    "disorder": (Impairment(delay_ms=40, reorder=0.25, duplicate=0.10), 1.0),
    "all at once": (Impairment(150, 30, loss=0.10, reorder=0.10, duplicate=0.05), 0.60),
}


@pytest.mark.req("B4", "B6")
@pytest.mark.parametrize("line", LINES)
def test_on_a_bad_line_tunnels_stay_and_queries_are_answered_at_the_stated_rate(
    lab: Lab, nodes: dict[str, Host], views: Views, line: str, note: Note
) -> None:
    impairment, least = LINES[line]
    held = {sa["uniqueid"] for sa in sas_with(nodes["pe"], "co")}
    faults.impair(lab, impairment)
    answers = ask_for(lab, views, "pe", ["co"], 25)
    outcomes = Counter(str(one["outcome"]) for one in answers)
    share = outcomes["OK"] / len(answers)
    note("answered", f"{outcomes['OK']} of {len(answers)}, slowest {_slowest(answers):.0f} ms")
    assert set(outcomes) <= {"OK", "INCOMPLETE"}
    assert share >= least, outcomes
    wanted = [ask_from_border(lab, "pe", ["co"], people.DEMO_WANTED_MRZ) for _ in range(4)]
    assert {one["outcome"] for one in wanted} <= {"ALERT", "INCOMPLETE"}, "never OK for the wanted"
    if not impairment.loss:
        assert {sa["uniqueid"] for sa in sas_with(nodes["pe"], "co")} == held, "the tunnel stays"


@pytest.mark.req("B4", "B6")
def test_tunnels_come_up_over_a_line_that_loses_every_third_packet(
    lab: Lab, nodes: dict[str, Host], note: Note
) -> None:
    faults.impair(lab, replace(DISTANCE, loss=0.30))
    (name,) = {sa["name"] for sa in sas_with(nodes["co"], "pe")}
    nodes["co"].run("swanctl --terminate --ike %s --force --timeout 3", name)
    seconds = until(lambda: whole(nodes), 90)
    note("whole after s", seconds and round(seconds, 1))
    assert seconds is not None


def _slowest(answers: list[dict[str, float]]) -> float:
    return max(one["milliseconds"] for one in answers)


@pytest.fixture
def echo(nodes: dict[str, Host], views: Views) -> Iterator[dict[str, object]]:
    """Peru sends back what Colombia sends it on the strategic channel."""
    given = {"serve": [views["pe"]["member"]["addresses"]["strategic"], STRATEGIC_PORT]}
    start = "systemd-run --quiet --collect --unit=flow-echo python3 -I -c %s %s"
    nodes["pe"].check_output(start, FLOW, json.dumps(given))
    yield {"target": given["serve"], "source": views["co"]["member"]["addresses"]["strategic"]}
    nodes["pe"].run("systemctl stop flow-echo")


@pytest.mark.req("B3", "B4")
@pytest.mark.parametrize("silent", [pytest.param(True, marks=pytest.mark.quick), False])
def test_over_a_path_of_1280_tunnels_come_up_and_answers_of_any_size_pass(
    lab: Lab,
    nodes: dict[str, Host],
    views: Views,
    echo: dict[str, object],
    silent: bool,
    note: Note,
) -> None:
    faults.narrow(lab, "pe", LEAST_MTU, silent=silent)
    (name,) = {sa["name"] for sa in sas_with(nodes["co"], "pe")}
    nodes["co"].run("swanctl --terminate --ike %s --force --timeout 3", name)
    assert until(lambda: whole(nodes), 20) is not None, "key exchange passes"
    passed = on_node(nodes["co"], "sweep", sizes=SIZES, seconds=10, **echo)
    assert passed == SIZES
    with asking(lab, views, "pe", ["co", "cl", "mx"], 5) as answers:
        pass
    assert not_ok(answers.result()) == []
    if silent:
        lost = f"mtu pe {LEAST_MTU}"
        before = faults.present(lab)["caught"][lost]
        note("longer ones of ours lost", before)
        # The control: a longer packet on the same path, which no firewall saw, is lost.
        co, pe = (views[code]["member"]["wan_address"] for code in ("co", "pe"))
        longer = packets.udp(co, pe, (9, 9), bytes(1400))
        on_node(nodes["co"], "send", link="wan", packet=longer.hex())
        assert faults.present(lab)["caught"][lost] == before + 1
