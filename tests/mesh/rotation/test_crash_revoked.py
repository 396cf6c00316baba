"""Fault F07: a gateway dies after its old leaf was revoked, with one peer not yet reauthenticated.

Mexico has not read the list while Peru's power is cut, and still holds its IKE_SA on the old leaf.
Then it reads it. Where Peru comes back with the new leaf the pair comes back; the control is Peru
with the old one, which Mexico refuses. The other three countries ask each other all the time.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest
from testinfra.host import Host

from paranal.lab import people
from paranal.lab.bench_rotate import asking
from paranal.lab.lab import Lab
from paranal.lab.playbook import play
from tests.mesh.rotation.support import RATE, SERIAL, STAGES, WITHIN_SECONDS, cut_power_when
from tests.mesh.support import (
    Views,
    ask_from_border,
    changed_by,
    eventually,
    played,
    sas_with,
    tunnels_up,
)

pytestmark = [pytest.mark.req("B5"), pytest.mark.usefixtures("settled", "far_apart")]
READERS, LATE = ["cl", "co"], "mx"
INTAKE = "paranal-crl.path paranal-crl.timer"
ENDED = "systemctl is-active --quiet paranal-crl.service"


def initiators(node: Host) -> set[str]:
    """Return what tells a node's IKE_SAs with Peru apart from those made anew."""
    return {sa["initiator-spi"] for sa in sas_with(node, "pe") if sa["state"] == "ESTABLISHED"}


@contextmanager
def unread(node: Host) -> Iterator[None]:
    """Keep a node from reading lists that arrive; afterwards it reads them."""
    node.check_output(f"systemctl stop {INTAKE}")
    assert eventually(lambda: node.run(ENDED).rc != 0, WITHIN_SECONDS)
    try:
        yield
    finally:
        node.check_output(f"systemctl start {INTAKE}")


def revoked_and_killed(lab: Lab, nodes: dict[str, Host], views: Views, stage: str) -> None:
    """Revoke Peru's IKE leaf and cut Peru's power at a stage of its replacement."""
    mx, stale = nodes[LATE], initiators(nodes[LATE])
    name = views["pe"]["member"]["identities"]["ike"]
    asked = json.dumps({"pki_revoke": [name], "pki_revoke_before": "now", "revoke_replace": False})
    with unread(mx):
        play(lab, "revoke_certificate", "--limit", "pe", "--extra-vars", asked)
        for code in READERS:
            assert eventually(lambda c=code: not initiators(nodes[c]), WITHIN_SECONDS)  # type: ignore[misc] # bound now
        assert initiators(mx) == stale, "it has not read the list"
        nodes["pe"] = cut_power_when(lab, "pe", STAGES[stage], "site")
    assert eventually(lambda: not initiators(mx) & stale, WITHIN_SECONDS)


def refuses(node: Host, since: float) -> bool:
    said = node.run("journalctl -u strongswan -o cat --since=@%s", f"{since:.0f}").stdout
    return "certificate was revoked" in said


def completed(lab: Lab, nodes: dict[str, Host]) -> None:
    """Run it again: it completes, the next changes nothing, and every pair is up."""
    played(lab, "--limit", "pe")
    assert changed_by(played(lab, "--limit", "pe")) == {}
    assert eventually(lambda: tunnels_up(nodes["pe"], [*READERS, LATE]), WITHIN_SECONDS)
    answer = ask_from_border(lab, LATE, ["pe"], people.DEMO_CLEAN_MRZ)
    assert answer["outcome"] == "OK", answer


def sent(nodes: dict[str, Host]) -> bool:
    """Tell whether Mexico's charon was sent the leaf that stands on Peru's node."""
    serial = nodes["pe"].check_output(SERIAL).partition("=")[2].lower()
    shown: str = nodes[LATE].check_output("swanctl --list-certs --type x509")
    return serial in shown.replace(":", "")


def test_the_peer_that_was_late_comes_back_on_the_new_leaf(
    lab: Lab, nodes: dict[str, Host], views: Views
) -> None:
    old = nodes["pe"].check_output(SERIAL)
    with asking(lab, RATE, [*READERS, LATE]) as ended:
        revoked_and_killed(lab, nodes, views, "F05-reauthenticating")
        assert nodes["pe"].check_output(SERIAL) != old
        assert eventually(partial(tunnels_up, nodes[LATE], ["pe"]), WITHIN_SECONDS)
        assert sent(nodes)
        completed(lab, nodes)
        asked = ended()
    assert [each for each in asked if ":" in each[2]] == []
    assert len(asked) > RATE


def test_a_gateway_that_comes_back_with_the_old_leaf_is_refused_by_it(
    lab: Lab, nodes: dict[str, Host], views: Views
) -> None:
    """The control: it dies before the new leaf is in place; the next run ends that."""
    old = nodes["pe"].check_output(SERIAL)
    with asking(lab, RATE, [*READERS, LATE]) as ended:
        begun = time.time()
        revoked_and_killed(lab, nodes, views, "F02-requested")
        assert nodes["pe"].check_output(SERIAL) == old
        nodes[LATE].run("paranal tunnels heal")  # what its timer does
        assert eventually(lambda: refuses(nodes[LATE], begun), WITHIN_SECONDS)
        assert not initiators(nodes[LATE])
        answer = ask_from_border(lab, LATE, ["pe"], people.DEMO_CLEAN_MRZ)
        assert answer["outcome"] == "INCOMPLETE", answer
        completed(lab, nodes)
        asked = ended()
    assert [each for each in asked if ":" in each[2]] == []
