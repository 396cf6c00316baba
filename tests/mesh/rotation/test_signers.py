"""A signing leaf is rotated like the others, and its service is seen to sign with the new one."""

from __future__ import annotations

import json

import pytest
from testinfra.host import Host

from paranal.lab.lab import Lab
from paranal.lab.playbook import play
from paranal.messages import Refusal
from tests.mesh.envelopes import ACCOUNTS, ASKER, opened, signed
from tests.mesh.support import played

pytestmark = pytest.mark.req("B5")
NAMES = ["answerer-signer", "asker-signer"]
SAID = "una consulta"


def leaves(node: Host) -> dict[str, dict[str, object]]:
    """Return how each signing leaf of a node stands, by its own command."""
    status = json.loads(node.check_output("paranal pki status --json"))["leaves"]
    return {name: status[name] for name in NAMES}


def rotate(lab: Lab) -> None:
    asked = json.dumps({"pki_rotate": ",".join(NAMES), "pki_rotate_before": "now"})
    play(lab, "rotate_certificates", "--limit", "pe", "--extra-vars", asked)


def test_signing_leaves_rotate_and_what_the_old_one_signed_still_opens(
    lab: Lab, nodes: dict[str, Host]
) -> None:
    pe, old = nodes["pe"], leaves(nodes["pe"])
    before = {file: (signed(pe, SAID, file), "pe") for file in ACCOUNTS}
    rotate(lab)
    new = leaves(pe)
    assert {each["stage"] for each in new.values()} == {"retired"}
    assert all(new[name]["serial"] != old[name]["serial"] for name in NAMES)
    after = {file: (signed(pe, SAID, file), "pe") for file in ACCOUNTS}
    assert all(opened(nodes["co"], each) == dict.fromkeys(each, SAID) for each in (before, after))


def test_a_leaf_that_its_service_cannot_sign_with_is_not_proven(
    lab: Lab, nodes: dict[str, Host]
) -> None:
    """The account may not enter the folder: the pair is in place, and nobody signs with it."""
    pe = nodes["pe"]
    pe.check_output("chmod 0700 %s", ASKER.rpartition("/")[0])
    try:
        with pytest.raises(Refusal, match="PAR-0221"):
            rotate(lab)
        assert leaves(pe)["asker-signer"]["stage"] == "loaded"
        said = (lab.home.log / "rotate_certificates.log").read_text(encoding="utf-8")
        assert "PAR-0440" in said
        assert "PAR-0468" in said
    finally:
        pe.check_output("chmod 0755 %s", ASKER.rpartition("/")[0])
    played(lab, "--limit", "pe")
    assert {each["stage"] for each in leaves(pe).values()} == {"retired"}
