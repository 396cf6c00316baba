"""Renewal of what is due, with leaves that live for minutes: the run that the timer starts."""

from __future__ import annotations

import json
import shlex
import subprocess
from datetime import UTC, datetime
from typing import Any

import pytest
from testinfra.host import Host

from paranal.lab.bench_rotate import asking
from paranal.lab.home import ROOT
from paranal.lab.lab import Lab
from paranal.lab.playbook import environment, play
from paranal.pki import timer
from tests.mesh.support import eventually, tunnels_up

pytestmark = [pytest.mark.req("B5"), pytest.mark.usefixtures("far_apart")]
LIFE_MINUTES = 3
LIFE_SECONDS = LIFE_MINUTES * 60
PEERS = ["cl", "co", "mx"]
RATE = 12.0


def _leaves(node: Host) -> dict[str, Any]:
    leaves: dict[str, Any] = json.loads(node.check_output("paranal pki status --json"))["leaves"]
    return leaves


def _serials(node: Host) -> dict[str, str]:
    return {name: each["serial"] for name, each in _leaves(node).items()}


def _left(node: Host) -> float:
    """Return the seconds that the first of the node's leaves to end still has."""
    now = datetime.now(UTC)
    ends = [datetime.fromisoformat(each["not_after"]) for each in _leaves(node).values()]
    return (min(ends) - now).total_seconds()


def _renewed(lab: Lab, minutes: int) -> None:
    """Run what the timer's unit runs, for Peru; the inventory wishes the life of a leaf."""
    unit = timer.rendered(ROOT / "inventories" / "lab", "")["paranal-renew.service"]
    (line,) = (one for one in unit.splitlines() if one.startswith("ExecStart="))
    words = shlex.split(line.removeprefix("ExecStart="))
    more = ["--limit", "pe", "-e", f"pki_leaf_minutes={minutes}"]
    done = subprocess.run(  # noqa: S603 - a list of words
        [*words, *more], cwd=ROOT, env=environment(lab), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_a_leaf_of_minutes_is_renewed_at_a_third_of_its_life_and_not_before(
    lab: Lab, nodes: dict[str, Host]
) -> None:
    pe, short = nodes["pe"], f"pki_leaf_minutes={LIFE_MINUTES}"
    options = ("--limit", "pe", "--extra-vars", short, "--extra-vars", "pki_rotate_before=now")
    with asking(lab, RATE) as ended:
        play(lab, "rotate_certificates", *options)
        first = _serials(pe)
        assert 0 < _left(pe) < LIFE_SECONDS
        assert "PAR-0444" not in pe.check_output("paranal pki status")
        _renewed(lab, LIFE_MINUTES)
        early = _left(pe) > LIFE_SECONDS / 3
        assert early, "this machine is too slow to tell"
        assert _serials(pe) == first, "nothing was due"
        assert eventually(lambda: _left(pe) < LIFE_SECONDS / 3 - 5, LIFE_SECONDS)
        assert pe.check_output("paranal pki status").count("PAR-0444") == len(first)
        _renewed(lab, LIFE_MINUTES)
        second = _serials(pe)
        assert all(second[name] != first[name] for name in first)
        assert _left(pe) > 0
        # Back to what the inventory says, before these end as well.
        play(lab, "rotate_certificates", "--limit", "pe", "--extra-vars", "pki_rotate_before=now")
        asked = ended()
    assert [each for each in asked if ":" in each[2]] == []
    assert len(asked) > LIFE_SECONDS / 2 * RATE
    assert _left(pe) > 80 * 24 * 3600
    assert eventually(lambda: tunnels_up(pe, PEERS), 60)
