"""Three countries serve while the fourth is a week late; then it comes, and no other runs again."""

from __future__ import annotations

import json

import pytest
from testinfra.host import Host

from paranal.lab import countries, people
from paranal.lab.controllers import Controller
from paranal.lab.lab import Lab
from tests.mesh.sovereign.conftest import EARLY, LATE
from tests.mesh.sovereign.support import ask, history
from tests.mesh.support import eventually, sas_with, tunnels_up

pytestmark = [pytest.mark.req("B1", "D5"), pytest.mark.quick]
WAIT_SECONDS = 60


def others(member: str, among: list[str]) -> list[str]:
    return [code for code in among if code != member]


def test_three_countries_serve_among_themselves(
    lab: Lab, nodes: dict[str, Host], three: list[str]
) -> None:
    for code in three:
        assert eventually(lambda c=code: tunnels_up(nodes[c], others(c, three)), WAIT_SECONDS)  # type: ignore[misc] # bound now
        assert not sas_with(nodes[code], LATE)
    for code in three:
        answer = ask(lab, code, others(code, three), people.DEMO_CLEAN_MRZ, f"officer-{code}")
        assert {each["answer"] for each in answer["answers"].values()} == {"OK"}, answer


def test_the_late_country_is_asked_and_does_not_answer(
    lab: Lab, nodes: dict[str, Host], three: list[str]
) -> None:
    asker = three[0]
    answer = ask(lab, asker, others(asker, [*three, LATE]), people.DEMO_CLEAN_MRZ, "officer-late")
    assert answer["outcome"] == "INCOMPLETE"
    # While charon asks for the tunnel, packets wait for it: a silent peer can take the deadline.
    assert answer["answers"][LATE]["answer"] in ("UNAVAILABLE", "TIMEOUT")
    assert not nodes[LATE].file("/etc/paranal/view.json").exists


def test_it_serves_once_it_has_run_and_no_other_runs_again(
    lab: Lab, nodes: dict[str, Host], whole: dict[str, str]
) -> None:
    assert eventually(lambda: tunnels_up(nodes[LATE], EARLY), WAIT_SECONDS)
    for code in EARLY:
        answer = ask(lab, code, [LATE], people.DEMO_CLEAN_MRZ, f"officer-{code}")
        assert answer["answers"][LATE]["answer"] == "OK", answer
        answer = ask(lab, LATE, [code], people.DEMO_CLEAN_MRZ, f"officer-{LATE}")
        assert answer["answers"][code]["answer"] == "OK", answer
        assert history(nodes[code]) == whole[code]


def test_a_record_is_found_from_every_country(lab: Lab, whole: dict[str, str]) -> None:
    for code in others("co", sorted([*EARLY, LATE])):
        answer = ask(lab, code, ["co"], people.DEMO_WANTED_MRZ, f"officer-{code}")
        assert answer["answers"]["co"]["answer"] == "RQ", answer


def test_each_run_was_one_country_with_one_agreement(
    lab: Lab, own: dict[str, Controller], nodes: dict[str, Host], whole: dict[str, str], member: str
) -> None:
    runs = [json.loads(line) for line in history(nodes[member]).splitlines()]
    assert {run["agreement_digest"] for run in runs} == {lab.agreement().digest}
    assert all(own[member].user in json.dumps(run) for run in runs)


def test_a_second_run_of_one_country_changes_nothing(
    lab: Lab, own: dict[str, Controller], whole: dict[str, str], member: str
) -> None:
    assert countries.apply(lab, own[member]).changed == {member: 0}
