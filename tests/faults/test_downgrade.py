"""A man in the middle who edits IKE_SA_INIT: no SA comes about, and those there are stay."""

from __future__ import annotations

import pytest
from testinfra.host import Host

from paranal.lab import faults
from paranal.lab.lab import Lab
from paranal.lab.tampering import DOWNGRADES
from tests.faults.support import between, every_sa, healed, kept, pairs_without, until
from tests.mesh.support import sas_with

REASONS = {
    "cipher": "NO_PROPOSAL_CHOSEN",
    "dh": "NO_PROPOSAL_CHOSEN",
    "prf": "NO_PROPOSAL_CHOSEN",
    "transcript": "AUTHENTICATION_FAILED|authentication of .* failed|AUTH_FAILED",
    "version": "INVALID_MAJOR_VERSION|INVALID_SYNTAX|no IKE config found|ignored",
}
WATCHED_SECONDS = 12.0
"""Longer than a turn of the heal timer and than a sequence of retransmissions."""


@pytest.mark.req("B3", "B4")
@pytest.mark.parametrize(
    "what",
    [
        pytest.param(what, marks=[pytest.mark.quick] if what == "dh" else [])
        for what in sorted(DOWNGRADES)
    ],
)
def test_an_edited_request_makes_no_sa_and_ends_none(
    lab: Lab, nodes: dict[str, Host], what: str
) -> None:
    if what == "ml-kem":
        pytest.skip("no pair of this agreement has the profile hybrid: nothing to strip")
    tunnels = kept(nodes, [pair for pair in pairs_without() if pair != ("co", "pe")])
    faults.downgrade(lab, what)
    (name,) = {sa["name"] for sa in sas_with(nodes["co"], "pe")}
    nodes["co"].run("swanctl --terminate --ike %s --force --timeout 3", name)

    def established() -> bool:
        sas = every_sa(nodes)
        ends = between(sas, "co", "pe") + between(sas, "pe", "co")
        return any(sa["state"] == "ESTABLISHED" for sa in ends)

    assert until(lambda: not established(), 10) is not None
    assert until(established, WATCHED_SECONDS) is None, "an SA came about that was tampered with"
    assert faults.present(lab)["caught"][f"downgrade {what}"] > 0, "he edited what he is there for"
    assert kept(nodes, [pair for pair in pairs_without() if pair != ("co", "pe")]) == tunnels
    journals = [
        nodes[one].run("journalctl -u strongswan --since=-40s -o cat | grep -E %s", REASONS[what])
        for one in ("co", "pe")
    ]
    assert any(journal.rc == 0 for journal in journals), "the reason is named"
    # A refusal is final for charon: the timer asks again.
    healed(lab, nodes, WATCHED_SECONDS)
