"""A rotation cut short at every stage: the mesh serves, and the next run finishes what was begun.

Faults F01 to F06. Peru's rotation is killed when a stage is seen on its node, by the death of the
controller or of the gateway, while every country's post asks all others 40 ms apart.
"""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from typing import Any

import pytest
from testinfra.host import Host

from paranal.lab.bench_rotate import asking
from paranal.lab.lab import Lab
from paranal.lab.playbook import play
from tests.mesh.rotation.support import (
    RATE,
    SERIAL,
    STAGES,
    STATE,
    WITHIN_SECONDS,
    cut_power_when,
    kill_when,
    wait_for,
)
from tests.mesh.runs import begin
from tests.mesh.support import eventually, sas_with, tunnels_up

pytestmark = [pytest.mark.req("D3"), pytest.mark.usefixtures("far_apart")]
PEERS = ["cl", "co", "mx"]


def _begin(lab: Lab, moment: str) -> subprocess.Popen[bytes]:
    options = ["--limit", "pe", "--extra-vars", f"pki_rotate_before={moment}"]
    return begin(lab, "rotate_certificates", options)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _serials(lab: Lab) -> list[str]:
    register = lab.home.agreement.parents[1] / "ca" / "pe" / "issuing" / "issued.jsonl"
    return [json.loads(line)["serial"] for line in register.read_text().splitlines()]


def _status(node: Host) -> dict[str, Any]:
    status: dict[str, Any] = json.loads(node.check_output("paranal pki status --json"))
    return status


def _finish(lab: Lab, moment: str) -> dict[str, int]:
    options = ("--limit", "pe", "--extra-vars", f"pki_rotate_before={moment}")
    return play(lab, "rotate_certificates", *options).changed


def _finished(lab: Lab, nodes: dict[str, Host], moment: str) -> None:
    """Run it again: it completes, a third run changes nothing, and nothing is left over."""
    _finish(lab, moment)
    assert set(_finish(lab, moment).values()) == {0}
    status = _status(nodes["pe"])
    assert {each["stage"] for each in status["leaves"].values()} == {"retired"}
    assert (status["orphans"], status["run"]) == ([], "")
    assert nodes["pe"].check_output("ls /etc/swanctl/private") == "ike.key"
    assert nodes["pe"].check_output(f"ls {STATE}/requests") == ""
    serials = _serials(lab)
    assert len(serials) == len(set(serials))
    assert _known_to_the_peers(nodes)


def _known_to_the_peers(nodes: dict[str, Host]) -> bool:
    """Tell whether every peer's charon was sent the leaf that stands on Peru's node."""
    serial = nodes["pe"].check_output(SERIAL).partition("=")[2].lower()
    return all(
        serial in nodes[peer].check_output("swanctl --list-certs --type x509").replace(":", "")
        for peer in PEERS
    )


@pytest.mark.parametrize("stage", STAGES)
def test_a_controller_killed_at_a_stage_loses_no_query_and_the_next_run_finishes(
    lab: Lab, nodes: dict[str, Host], stage: str
) -> None:
    before, moment = nodes["pe"].check_output(SERIAL), _now()
    with asking(lab, RATE) as ended:
        kill_when(_begin(lab, moment), lambda: wait_for(lab, "pe", STAGES[stage]))
        _finished(lab, nodes, moment)
        asked = ended()
    assert [each for each in asked if ":" in each[2]] == []
    assert nodes["pe"].check_output(SERIAL) != before


def test_a_controller_killed_between_signing_and_installing_loses_no_query(
    lab: Lab, nodes: dict[str, Host]
) -> None:
    """F03: what was signed and never came is not signed again, and is never used."""
    before, moment = _serials(lab), _now()
    with asking(lab, RATE) as ended:
        kill_when(
            _begin(lab, moment),
            lambda: eventually(lambda: len(_serials(lab)) > len(before), WITHIN_SECONDS),
        )
        _finished(lab, nodes, moment)
        asked = ended()
    assert [each for each in asked if ":" in each[2]] == []


@pytest.mark.parametrize("stage", ["F04-installed", "F05-reauthenticating"])
def test_a_gateway_killed_at_a_stage_comes_back_with_a_pair_that_all_accept(
    lab: Lab, nodes: dict[str, Host], stage: str
) -> None:
    before, moment = nodes["pe"].check_output(SERIAL), _now()
    before_moment = f"pki_rotate_before={moment}"
    pe = cut_power_when(
        lab, "pe", STAGES[stage], "rotate_certificates", "--extra-vars", before_moment
    )
    nodes = {**nodes, "pe": pe}
    assert eventually(lambda: tunnels_up(nodes["pe"], PEERS), WITHIN_SECONDS)
    _finished(lab, nodes, moment)
    assert nodes["pe"].check_output(SERIAL) != before
    assert eventually(lambda: tunnels_up(nodes["pe"], PEERS), WITHIN_SECONDS)


def test_a_rotation_proves_itself_at_the_peers_and_restarts_nothing(
    lab: Lab, nodes: dict[str, Host]
) -> None:
    since = "systemctl show --value --property=ActiveEnterTimestamp strongswan haproxy"
    started = nodes["pe"].check_output(since)
    before = {peer: {sa["uniqueid"] for sa in sas_with(nodes["pe"], peer)} for peer in PEERS}
    _finished(lab, nodes, _now())
    assert nodes["pe"].check_output(since) == started
    for peer in PEERS:
        assert {sa["uniqueid"] for sa in sas_with(nodes["pe"], peer)}.isdisjoint(before[peer])
