"""``paranal status`` on a running mesh: good where all is well, and the right side where not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from testinfra.host import Host

from paranal.agreement import is_open
from tests.mesh.support import Views, eventually

Status = dict[str, Any]
BROKEN = 1


def status(node: Host, *options: str) -> tuple[int, Status]:
    """Return the exit status and the data of ``paranal status`` for the ``person`` service."""
    done = node.run(f"paranal status --json --service person {' '.join(options)}")
    found: Status = json.loads(done.stdout)
    return int(done.rc), found


def directions(found: Status) -> dict[str, Status]:
    """Return ``pe>co`` -> that direction, over all pairs."""
    return {
        f"{each['asker']}>{each['answerer']}": each
        for pair in found["pairs"]
        for each in pair["directions"]
    }


@pytest.mark.req("D5", "R15")
def test_every_direction_is_as_agreed_and_good_where_it_is_open(
    node: Host, member: str, view: dict[str, Any]
) -> None:
    code, found = status(node, "--probe")
    assert (code, found["warnings"]) == (0, [])
    shown = directions(found)
    for peer in view["peers"]:
        ways = ((member, peer["code"], "asks"), (peer["code"], member, "answers"))
        for asker, answerer, way in ways:
            each, agreed = shown[f"{asker}>{answerer}"], peer[way]["person"]
            assert each["declared"] == agreed
            assert each["enforced"] == ("open" if is_open(agreed) else "closed")
            assert each["state"] == ("good" if is_open(agreed) else agreed), each["reasons"]


@pytest.mark.req("R12")
def test_a_pair_with_nothing_open_shows_its_line_check(
    node: Host, member: str, view: dict[str, Any]
) -> None:
    _, found = status(node)
    for peer in view["peers"]:
        pair = next(pair for pair in found["pairs"] if pair["peer"] == peer["code"])
        agreed = peer["pair"]
        assert pair["line_check_by"] == (agreed["initiator"] if agreed["line_check"] else None)
        if agreed["line_check"] and agreed["initiates"]:
            assert (pair["line_check"]["ok"], pair["line_reasons"]) == (True, [])


@pytest.fixture
def without_proxy(nodes: dict[str, Host]) -> Iterator[Host]:
    """Mexico without its HAProxy, until the test ends."""
    mx = nodes["mx"]
    mx.check_output("systemctl stop haproxy.service")
    yield mx
    mx.check_output("systemctl start haproxy.service")
    assert eventually(lambda: mx.service("haproxy").is_running, 20)


@pytest.mark.req("D5", "R15")
def test_a_fault_is_ours_where_it_is_and_theirs_from_the_other_side(
    nodes: dict[str, Host], views: Views, without_proxy: Host
) -> None:
    code, found = status(without_proxy)
    at_home = directions(found)["pe>mx"]
    assert (code, at_home["state"], at_home["side"]) == (BROKEN, "broken", "ours")
    assert {reason["code"] for reason in at_home["reasons"]} >= {"PAR-0610", "PAR-0612"}

    code, found = status(nodes["pe"], "--probe")
    from_afar = directions(found)["pe>mx"]
    assert (code, from_afar["state"], from_afar["side"]) == (BROKEN, "broken", "theirs")
    assert from_afar["contact"] == views["mx"]["member"]["contact"]
    assert directions(found)["pe>co"]["state"] == "good"


def test_without_root_it_says_to_use_sudo(node: Host) -> None:
    refused = node.run("setpriv --reuid audit --clear-groups paranal status")
    assert refused.rc == 3
    assert "PAR-0690" in refused.stderr
