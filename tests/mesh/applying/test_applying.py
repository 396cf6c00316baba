"""Two operators at once, and a node out of reach: the mesh serves on, and each is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from testinfra.host import Host

from paranal.lab import connections
from paranal.lab.lab import Lab
from tests.mesh.applying.support import running
from tests.mesh.faults.support import not_ok
from tests.mesh.profiles.traffic import questions
from tests.mesh.support import Views, changed_by, played, sas_with

pytestmark = pytest.mark.req("D3", "D5")
LOCK = "cat /var/lib/paranal/node/lock"
WORK = json.dumps({"pki_renew_at_fraction": 1.0})
"""Has every leaf issued anew, whatever is left of it: work for certificates, charon and HAProxy."""


@pytest.fixture
def served(lab: Lab, views: Views) -> Iterator[Callable[[], None]]:
    """Peru asks Colombia all the time; what is yielded ends that, and nothing was unanswered."""
    with questions(lab, views) as asked:

        def whole() -> None:
            answers = asked()
            assert len(answers) > 10
            assert not_ok(answers) == []

        yield whole


def test_the_second_of_two_operators_is_told_who_holds_the_node(
    lab: Lab, nodes: dict[str, Host]
) -> None:
    with running(lab, "ana", "--limit", "pe", "--extra-vars", WORK, user="ana") as first:
        assert first.at("base : configure | Apply the base")
        with running(lab, "luis", "--limit", "pe", user="luis") as second:
            assert second.ended() != 0
            said = " ".join(second.said().split())
        assert "PAR-0301" in said
        assert "ana" in said
        assert json.loads(nodes["pe"].check_output(LOCK))["operator"] == "ana"
        assert first.ended() == 0, first.said()
    (entry,) = (
        nodes["pe"].check_output("tail --lines=1 /var/lib/paranal/node/history.jsonl").splitlines()
    )
    assert json.loads(entry)["operator"] == "ana"
    assert changed_by(played(lab, "--limit", "pe")) == {}


def test_a_node_out_of_reach_is_named_and_the_others_complete(
    lab: Lab, nodes: dict[str, Host], served: Callable[[], None]
) -> None:
    before = [sa["uniqueid"] for sa in sas_with(nodes["co"], "pe")]
    connections.end(lab.name)  # one that is kept would reach it all the same
    lab.exec("mx", "systemctl", "stop", "ssh.service")
    try:
        with running(lab, "unreachable") as run:
            assert run.ended() != 0
            recap: dict[str, Any] = {
                line.split()[0]: line
                for line in run.said().partition("PLAY RECAP")[2].splitlines()
                if " : " in line
            }
    finally:
        lab.exec("mx", "systemctl", "start", "ssh.service")
    assert "unreachable=1" in recap["mx"]
    for code in ("co", "pe"):
        assert "failed=0" in recap[code]
        assert "unreachable=0" in recap[code]
    served()
    assert [sa["uniqueid"] for sa in sas_with(nodes["co"], "pe")] == before
    assert changed_by(played(lab)) == {}
