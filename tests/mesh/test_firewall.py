"""The firewall stays when its unit stops, refuses at once, and never shuts the operator out."""

from __future__ import annotations

import json

import pytest
from testinfra.host import Host

from paranal.lab.lab import Lab
from paranal.messages import Refusal
from tests.mesh.support import (
    PERSON,
    Views,
    counted,
    eventually,
    on_node,
    played,
    tunnels_up,
)

CONFIRM_SECONDS = 10
FILE = "/etc/paranal/firewall.nft"


def _rules(node: Host) -> str:
    return str(node.check_output("nft --stateless list table inet paranal"))


@pytest.mark.req("R6", "B3")
def test_stopping_its_unit_does_not_open_the_node(nodes: dict[str, Host]) -> None:
    pe = nodes["pe"]
    before = _rules(pe)
    # charon requires the firewall's unit; `--job-mode` stops that one alone.
    pe.check_output("systemctl --job-mode=ignore-dependencies stop paranal-firewall.service")
    try:
        assert _rules(pe) == before
    finally:
        pe.check_output("systemctl start paranal-firewall.service")
    assert _rules(pe) == before


@pytest.mark.req("R6", "B6")
def test_what_is_not_open_is_refused_in_milliseconds(nodes: dict[str, Host], views: Views) -> None:
    pe, co = (views[code]["member"] for code in ("pe", "co"))
    assert eventually(lambda: tunnels_up(nodes["pe"], ["co"]), 60)
    before = counted(nodes["pe"], "refused_output")
    seen = on_node(
        nodes["pe"],
        "call",
        address=co["addresses"]["operational"],
        port=22,
        source=pe["addresses"]["operational"],
        server_name="x",
        body=PERSON,
    )
    assert not seen["reached"]
    assert "ConnectionRefused" in seen["error"]
    assert seen["milliseconds"] < 1000
    assert counted(nodes["pe"], "refused_output") > before


@pytest.mark.req("D5")
def test_rules_that_shut_the_operator_out_undo_themselves_and_the_run_says_so(
    lab: Lab, nodes: dict[str, Host]
) -> None:
    """The way back is the rules confirmed last, also where a hand broke the file of the boot."""
    pe = nodes["pe"]
    before, whole = _rules(pe), pe.file(FILE).content_string
    wrong = {
        "firewall_management_sources": ["2001:db8::/32"],
        "firewall_confirm_seconds": CONFIRM_SECONDS,
    }
    on_node(pe, "write", files={FILE: whole[: len(whole) // 2]})
    try:
        with pytest.raises(Refusal, match=r"PAR-0221"):
            played(lab, "--limit", "pe", "--tags", "firewall", "--extra-vars", json.dumps(wrong))
        assert "PAR-0714" in (lab.home.log / "site.log").read_text(encoding="utf-8")
        assert _rules(pe) == before
    finally:
        on_node(pe, "write", files={FILE: whole})
