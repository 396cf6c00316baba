"""Before two countries are provisioned, they try the line between them (RB-014, step 7)."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from paranal import package
from paranal.lab import countries, equip
from paranal.lab.controllers import Controller
from paranal.lab.lab import Lab
from tests.mesh.sovereign.conftest import LATE, ORDER

pytestmark = [pytest.mark.req("B1"), pytest.mark.quick]
ENDS = (ORDER[-2], LATE)
AGREEMENT = "/var/tmp/agreement.yml"  # noqa: S108 - on a node that only the lab enters


def precheck(lab: Lab, own: dict[str, Controller], member: str, peer: str) -> tuple[int, Any]:
    """Try the line to a peer on the node, with the agreement that the country brought there."""
    equip.install(lab, member, package.build())
    lab.exec(member, "systemctl", "stop", "strongswan")  # Debian starts it, and it has the ports
    text = countries.agreement(own[member]).read_bytes()
    lab.exec(member, "dd", f"of={AGREEMENT}", "status=none", given=text)
    words = ["paranal", "precheck", "--agreement", AGREEMENT, "--member", member, "--peer", peer]
    done = lab.exec(member, *words, "--json", check=False)
    lab.exec(member, "rm", AGREEMENT)
    lab.exec(member, "systemctl", "start", "strongswan")
    return done.returncode, json.loads(done.stdout)


def test_the_line_between_two_who_have_no_key_yet_serves(
    lab: Lab, own: dict[str, Controller]
) -> None:
    for code in ENDS:
        held = lab.exec(code, "ls", "/etc/paranal/view.json", check=False)
        assert held.returncode, f"{code} is provisioned already"
    with ThreadPoolExecutor(2) as pool:
        tried = list(pool.map(lambda two: precheck(lab, own, *two), [ENDS, ENDS[::-1]]))
    assert [status for status, _ in tried] == [0, 0], tried


def test_a_line_whose_other_end_is_silent_does_not_pass(
    lab: Lab, own: dict[str, Controller]
) -> None:
    status, told = precheck(lab, own, *ENDS)
    assert status in (1, 2), told
    assert told["verdict"] in ("fail", "unknown"), told
