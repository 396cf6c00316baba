"""Cables that flap, daemons that restart, two ends that act at once: one SA per pair at the end.

What the end must be is judged after every test, by the fixture ``heals`` (ESP-009).
"""

from __future__ import annotations

from functools import partial

import pytest
from testinfra.host import Host

from paranal.lab import faults
from paranal.lab.lab import Lab
from tests.mesh.faults.conftest import Note
from tests.mesh.faults.support import (
    asking,
    at_once,
    charon,
    kept,
    not_ok,
    pairs_without,
    until,
    whole,
)
from tests.mesh.support import Views, on_node, sas_with, spis

ENDS = (("co", "pe"), ("pe", "co"))
HUNG_SECONDS = 90
"""Two questions of half a minute each, and the timer's turn."""
PIECES = 32768
"""Nearly 2 GiB, in pieces of 60 KiB: four times what charon may hold."""


def _name(node: Host, peer: str) -> str:
    return str(sas_with(node, peer)[0]["name"])


def _swanctl(node: Host, *words: str) -> None:
    """Ask charon for something that it may refuse, as when the SA has just gone."""
    node.run("swanctl " + " ".join(["%s"] * len(words)), *words)


@pytest.mark.req("B4", "B6")
@pytest.mark.parametrize(
    ("times", "period"),
    [pytest.param(4, 1.0, marks=pytest.mark.quick), (100, 0.6)],
    ids=["4 times", "100 times"],
)
def test_a_cable_that_flaps_while_both_ends_rekey_leaves_one_sa_per_pair(
    lab: Lab, nodes: dict[str, Host], times: int, period: float
) -> None:
    before = kept(nodes, pairs_without("co"))
    names = {one: _name(nodes[one], other) for one, other in ENDS}

    def rekey(one: str) -> None:
        for _ in range(times):
            _swanctl(nodes[one], "--rekey", "--ike", names[one], "--child", "operational")

    acts = [partial(rekey, one) for one in names]
    at_once(partial(faults.flap, lab, "co", times, period), *acts)
    assert kept(nodes, pairs_without("co")) == before


@pytest.mark.req("B4", "B6")
@pytest.mark.parametrize(
    "how",
    [
        "systemctl restart strongswan.service",
        "kill -9 $(pidof charon-systemd)",
    ],
    ids=["restarted", "killed"],
)
def test_both_ends_restarting_at_once_come_back(
    nodes: dict[str, Host], how: str, note: Note
) -> None:
    before = {one: spis(nodes[one], other) for one, other in ENDS}
    at_once(*(partial(nodes[one].check_output, how) for one, _ in ENDS))
    seconds = until(lambda: whole(nodes), 20)
    assert seconds is not None
    note("whole after s", round(seconds, 1))
    for one, other in ENDS:
        assert set(spis(nodes[one], other).values()).isdisjoint(before[one].values())


@pytest.mark.req("B4", "B6")
def test_a_charon_that_hangs_is_ended_and_comes_back(nodes: dict[str, Host], note: Note) -> None:
    """Stopped by a signal it is as a deadlock has it: there, and silent."""
    pe, since = nodes["pe"], nodes["pe"].check_output("date +@%s")
    journal = "journalctl --unit=paranal-heal.service --since=%s"
    pe.check_output("systemctl kill --kill-whom=main --signal=STOP strongswan.service")
    seconds = until(lambda: "PAR-0735" in pe.check_output(journal, since), HUNG_SECONDS)
    assert seconds is not None
    note("ended after s", round(seconds, 1))


@pytest.mark.req("B4", "B6")
def test_a_charon_that_runs_away_ends_and_comes_back(nodes: dict[str, Host], note: Note) -> None:
    """It may take 512 MiB, its threads' stacks included, and not the whole machine."""
    pe, before = nodes["pe"], charon(nodes["pe"])
    filled = on_node(pe, "fill", pieces=PIECES)
    assert 1 < filled < PIECES / 2, "it began, and ended long before all of it"
    note("ended at MiB", before["rss_kib"] // 1024 + filled * 60 // 1024)
    seconds = until(lambda: whole(nodes), 20)
    assert seconds is not None
    note("whole after s", round(seconds, 1))
    assert charon(pe)["pid"] != before["pid"]


@pytest.mark.req("B4", "B6")
def test_both_ends_starting_the_pair_at_once_converge(
    lab: Lab, nodes: dict[str, Host], views: Views
) -> None:
    names = {one: _name(nodes[one], other) for one, other in ENDS}
    for words in (["--terminate"], ["--initiate", "--child", "operational"]) * 3:
        at_once(
            *(
                partial(_swanctl, nodes[one], *words, "--timeout", "3", "--ike", name)
                for one, name in names.items()
            )
        )
    assert until(lambda: whole(nodes), 20) is not None
    for one, other in ENDS:
        with asking(lab, views, one, [other], 3) as answers:
            pass
        assert not_ok(answers.result()) == []


@pytest.mark.quick
@pytest.mark.req("R6", "B4")
def test_both_ends_rekeying_at_once_lose_no_query(
    lab: Lab, nodes: dict[str, Host], views: Views, note: Note
) -> None:
    names = {one: _name(nodes[one], other) for one, other in ENDS}
    before = spis(nodes["co"], "pe")
    with asking(lab, views, "pe", ["co"], 15) as answers:
        for what in (["--child", "operational"], []) * 3:
            words = ("--rekey", "--ike")
            at_once(*(partial(_swanctl, nodes[o], *words, n, *what) for o, n in names.items()))
    asked = answers.result()
    note("queries", len(asked))
    note("slowest ms", round(max(one["milliseconds"] for one in asked)))
    assert not_ok(asked) == []
    assert len(asked) > 30
    assert spis(nodes["co"], "pe")["operational"] != before["operational"], "it was rekeyed"
