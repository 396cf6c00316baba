"""A border asks, the owner of the records answers, and the asker's country consolidates."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from paranal.agreement import Agreement, is_open
from paranal.agreement.derive import direction_status
from paranal.lab import people
from paranal.lab.lab import Lab
from tests.mesh.conftest import MEMBERS
from tests.mesh.support import ask_from_border

DIRECTIONS = [f"{asker}>{answerer}" for asker, answerer in permutations(MEMBERS, 2)]
WANTED, RECORD, CLEAN = people.DEMO_WANTED_MRZ, people.DEMO_RECORD_MRZ, people.DEMO_CLEAN_MRZ
KNOWN = {"co": (WANTED, "RQ", 1), "mx": (RECORD, "ANT", 2)}
"""Who stands in whose records, with the answer and its code (paranal.lab.people)."""


def _promised(agreement: Agreement, direction: str) -> bool:
    asker, answerer = direction.split(">")
    return is_open(direction_status(agreement, asker, answerer, "person"))


@pytest.mark.req("R1", "R9", "R12")
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_direction_answers_when_it_is_live_and_only_then(
    lab: Lab, agreement: Agreement, direction: str
) -> None:
    asker, answerer = direction.split(">")
    answer = ask_from_border(lab, asker, [answerer], CLEAN)
    line = answer["answers"][answerer]
    if _promised(agreement, direction):
        assert (line["answer"], line["code"], answer["outcome"]) == ("OK", 0, "OK")
    else:
        assert (line["answer"], line["code"]) == ("NOT_AUTHORISED", None)
        assert (answer["outcome"], line["refusal"]["code"]) == ("INCOMPLETE", "PAR-0530")


@pytest.mark.req("R2", "R3", "R4")
@pytest.mark.parametrize("direction", [one for one in DIRECTIONS if one[3:] in KNOWN])
def test_a_person_on_record_is_a_hit_with_its_code(
    lab: Lab, agreement: Agreement, direction: str
) -> None:
    asker, answerer = direction.split(">")
    if not _promised(agreement, direction):
        pytest.skip(f"{direction} is not in service in this agreement")
    mrz, category, code = KNOWN[answerer]
    answer = ask_from_border(lab, asker, [answerer], mrz)
    line = answer["answers"][answerer]
    assert (line["answer"], line["code"], answer["outcome"]) == (category, code, "ALERT")
    assert answer["contacts"][answerer] == agreement.members[answerer]["contact"]


@pytest.mark.req("R10")
def test_two_countries_give_one_consolidated_answer(lab: Lab) -> None:
    answer = ask_from_border(lab, "pe", ["co", "mx"], RECORD)
    assert {code: line["code"] for code, line in answer["answers"].items()} == {"co": 0, "mx": 2}
    assert (answer["outcome"], answer["complete"]) == ("ALERT", True)


@pytest.mark.req("R10", "R12")
def test_asking_everybody_asks_the_directions_in_service_and_names_the_others(
    lab: Lab, agreement: Agreement
) -> None:
    answer = ask_from_border(lab, "pe", None, CLEAN)
    live = {one[3:] for one in DIRECTIONS if one.startswith("pe>") and _promised(agreement, one)}
    assert set(answer["answers"]) == live
    assert set(answer["not_in_service"]) == set(MEMBERS) - live - {"pe"}
    assert (answer["outcome"], answer["complete"]) == ("OK", True)


@pytest.mark.req("R4")
def test_a_homonym_born_on_another_day_is_not_the_person(lab: Lab) -> None:
    answer = ask_from_border(lab, "pe", ["co", "mx"], CLEAN)
    codes: dict[str, Any] = {code: line["code"] for code, line in answer["answers"].items()}
    assert codes == {"co": 0, "mx": 0}


@pytest.mark.req("R4")
def test_a_zone_that_was_misread_is_refused_before_it_leaves_the_post(lab: Lab) -> None:
    first, second = WANTED
    answer = ask_from_border(lab, "pe", ["co"], (first, second.replace("COL8407", "COL8507")))
    assert answer["refusal"]["runbook"] == "RB-009-consulta-rechazada"
    assert "outcome" not in answer
