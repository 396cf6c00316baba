"""Members that no longer reach each other: the others go on, and nobody says OK for the silent."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pytest
from testinfra.host import Host

from paranal.lab import faults, people
from paranal.lab.lab import Lab
from tests.mesh.faults.conftest import Note
from tests.mesh.faults.support import (
    GIVEN_UP_SECONDS,
    between,
    every_sa,
    half_open,
    healed,
    kept,
    pairs_without,
    until,
)
from tests.mesh.support import ask_from_border

SILENT = {"UNAVAILABLE", "TIMEOUT"}
ANSWER_SECONDS = 5.0
"""The query server's own deadline is 4 s."""


def _asked(
    lab: Lab, asker: str, to: list[str], mrz: Sequence[str] = people.DEMO_RECORD_MRZ
) -> dict[str, str]:
    """Ask about a person on record in Mexico; return each country's answer, in time and honest."""
    answer = ask_from_border(lab, asker, to, mrz)
    assert answer["elapsed_ms"] < ANSWER_SECONDS * 1000
    given = {code: line["answer"] for code, line in answer["answers"].items()}
    if SILENT & set(given.values()):
        assert answer["complete"] is False
        assert answer["outcome"] in ("INCOMPLETE", "ALERT")
    return given


def _nobody_holds_the_pair(nodes: dict[str, Host], one: str, other: str) -> bool:
    sas = every_sa(nodes)
    ends = between(sas, one, other) + between(sas, other, one)
    return not any(sa["state"] == "ESTABLISHED" for sa in ends)


@pytest.mark.quick
@pytest.mark.req("B4", "B6")
def test_an_isolated_country_is_missed_by_name_and_rejoins(
    lab: Lab, nodes: dict[str, Host], note: Note
) -> None:
    assert _asked(lab, "pe", ["co", "mx"]) == {"co": "OK", "mx": "ANT"}
    before = kept(nodes, pairs_without("mx"))
    faults.isolate(lab, "mx")
    for _ in range(3):  # while its tunnels still stand, while they are given up, and afterwards
        given = _asked(lab, "pe", ["co", "mx"])
        assert given["co"] == "OK"
        assert given["mx"] in SILENT, "never OK for a person on record"
    assert until(lambda: _nobody_holds_the_pair(nodes, "mx", "pe"), GIVEN_UP_SECONDS) is not None
    assert _asked(lab, "pe", ["mx"])["mx"] in SILENT
    assert _asked(lab, "mx", ["pe"])["pe"] in SILENT
    assert kept(nodes, pairs_without("mx")) == before, "the other pairs do not notice"
    note("rejoined after s", round(healed(lab, nodes), 1))
    assert _asked(lab, "pe", ["mx"]) == {"mx": "ANT"}


@pytest.mark.quick
@pytest.mark.req("B4", "B6")
def test_each_half_of_a_split_goes_on_within_itself(
    lab: Lab, nodes: dict[str, Host], note: Note
) -> None:
    before = kept(nodes, [("cl", "co"), ("mx", "pe")])
    faults.partition(lab, ["cl", "co"], ["mx", "pe"])
    for asker, near, far in (("pe", "mx", "co"), ("co", "cl", "mx")):
        given = _asked(lab, asker, [near, far])
        assert given[near] == ("ANT" if near == "mx" else "OK")
        assert given[far] in SILENT
    for one, other in (("cl", "mx"), ("co", "pe")):
        parted = partial(_nobody_holds_the_pair, nodes, one, other)
        assert until(parted, GIVEN_UP_SECONDS) is not None
    assert kept(nodes, [("cl", "co"), ("mx", "pe")]) == before
    note("rejoined after s", round(healed(lab, nodes), 1))


@pytest.mark.req("B4", "B6")
@pytest.mark.parametrize(
    ("lost", "heard"),
    [("pe", "co"), ("co", "pe")],
    ids=["the responder's packets", "the initiator's packets"],
)
def test_one_way_loss_ends_the_pair_at_both_ends_and_leaves_nothing_half_open(
    lab: Lab, nodes: dict[str, Host], lost: str, heard: str
) -> None:
    before = kept(nodes, pairs_without("pe"))
    faults.lose(lab, [(lost, heard)])
    assert until(lambda: _nobody_holds_the_pair(nodes, "co", "pe"), GIVEN_UP_SECONDS) is not None
    caught = faults.present(lab)["caught"]
    assert caught[f"lost {lost} {heard}"] > 0
    for asker, other in (("pe", "co"), ("co", "pe")):
        assert _asked(lab, asker, [other], people.DEMO_WANTED_MRZ)[other] in SILENT
    # One is being asked for, and of one asked for before the far end has not let go yet.
    assert half_open(nodes, "pe") <= 3
    assert kept(nodes, pairs_without("pe")) == before
    healed(lab, nodes)
    assert until(lambda: half_open(nodes, "pe") == 0, GIVEN_UP_SECONDS) is not None
    assert _asked(lab, "pe", ["co"], people.DEMO_WANTED_MRZ) == {"co": "RQ"}
