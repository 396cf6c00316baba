"""Two operators at once, a run that dies in a module, a node out of reach: the mesh serves on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from testinfra.host import Host

from paranal.lab import connections
from paranal.lab.bench_rotate import asking
from paranal.lab.lab import Lab
from tests.mesh.applying.support import MODULES, running
from tests.mesh.faults.support import not_ok
from tests.mesh.profiles.traffic import questions
from tests.mesh.support import (
    Views,
    changed_by,
    eventually,
    in_part,
    played,
    sas_with,
    tunnels_up,
)

pytestmark = pytest.mark.req("D3", "D5")
LOCK = "cat /var/lib/paranal/node/lock"
WORK = json.dumps({"pki_renew_at_fraction": 1.0})
"""Has every leaf issued anew, whatever is left of it: work for certificates, charon and HAProxy."""
BY_HAND = "# by hand"
HAPROXY = "/etc/haproxy/haproxy.cfg"
SPOILT = (
    *(
        f"echo '{BY_HAND}' >> {path}"
        for path in (
            "/etc/chrony/chrony.conf",
            "/etc/systemd/system/paranal-firewall-heal.timer",
            "/etc/systemd/system/paranal-heal.timer",
            "/etc/systemd/system/paranal-crl.timer",
            HAPROXY,
        )
    ),
    "nft add rule inet paranal input counter",
)
"""Work for the other modules: what somebody altered is put right."""
POINTS = [
    *(("", number, 0.01) for number in range(1, 11)),
    *(("", number, 0.15) for number in (8, 9)),
    *((HAPROXY, number, 0.01) for number in (1,)),
]
"""Which of the modules that change the node dies, and seconds after it took the node.

They are counted in turn, from the first of the run, or from the one after a file was put right.
"""
LONGEST_SECONDS = 120.0
RATE = 12.0
"""Questions a second from all posts together: each direction once."""


@pytest.fixture(scope="module")
def died() -> list[str]:
    """The module that each killed run was in."""
    return []


@pytest.fixture
def served(lab: Lab, views: Views) -> Iterator[Callable[[], list[Any]]]:
    """Every post asks all others, and one of Peru's keeps its connections.

    What is yielded ends that and returns what was lost.
    """
    with questions(lab, views) as kept, asking(lab, RATE) as each_anew:

        def lost() -> list[Any]:
            answers, others = kept(), each_anew()
            assert min(len(answers), len(others)) > 10
            return not_ok(answers) + [each for each in others if ":" in each[2]]

        yield lost


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


def test_what_ends_a_connection_under_a_question_is_counted(
    nodes: dict[str, Host], served: Callable[[], list[Any]]
) -> None:
    """The control of every zero below."""
    nodes["pe"].check_output("systemctl restart haproxy.service")
    assert served() != []


def test_a_reload_loses_no_question_of_a_kept_connection(
    nodes: dict[str, Host], served: Callable[[], list[Any]]
) -> None:
    for _ in range(3):
        for code in ("pe", "co"):
            nodes[code].check_output("systemctl reload haproxy.service")
    assert served() == []


@pytest.mark.parametrize(("after", "number", "seconds"), POINTS)
def test_a_run_that_dies_in_a_module_loses_nothing_and_the_next_one_completes(
    lab: Lab,
    nodes: dict[str, Host],
    served: Callable[[], list[Any]],
    after: str,
    number: int,
    seconds: float,
    died: list[str],
) -> None:
    pe = nodes["pe"]
    for command in SPOILT:
        pe.check_output(command)
    died.append(_killed(lab, after, number, seconds))
    # What stands is whole: each leaf has its key, and each file is one that its reader takes.
    pe.check_output("haproxy -c -q -f %s", HAPROXY)
    pe.check_output("nft --check --file /etc/paranal/firewall.nft")
    played(lab, "--limit", "pe")
    assert changed_by(played(lab, "--limit", "pe")) == {}
    assert served() == []
    assert pe.run("grep --recursive --quiet %s /etc", BY_HAND).rc == 1
    assert eventually(lambda: tunnels_up(pe, ["cl", "co", "mx"]), 60)


def test_each_of_our_modules_died_at_least_once(died: list[str]) -> None:
    assert len(died) == len(POINTS), "of the test above, all points belong to one run"
    assert set(died) == MODULES - {"node_state"}, died  # which changes nothing but its own state


def _killed(lab: Lab, after: str, number: int, seconds: float) -> str:
    """Let a run die as a machine without power does, its module on the node too; return which."""
    given = {"after": after, "mark": BY_HAND, "number": number, "seconds": seconds}
    with (
        ThreadPoolExecutor(1) as pool,
        running(lab, "killed", "-vv", "--limit", "pe", "--extra-vars", WORK) as run,
    ):
        module = pool.submit(in_part, lab, "pe", "dying", within=LONGEST_SECONDS, **given).result()
        assert not run.over(), run.said()
        run.kill()
    assert module is not None, "no module of that number was at work then"
    lab.exec("pe", "kill", "-KILL", str(module))
    return run.module()


def test_a_node_out_of_reach_is_named_and_the_others_complete(
    lab: Lab, nodes: dict[str, Host], served: Callable[[], list[Any]]
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
    assert served() == []
    assert [sa["uniqueid"] for sa in sas_with(nodes["co"], "pe")] == before
    assert changed_by(played(lab)) == {}
