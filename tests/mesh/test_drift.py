"""What somebody altered by hand is found, named, and put right on that node; nothing else is."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from testinfra.host import Host

from paranal.lab import people
from paranal.lab.lab import Lab
from tests.mesh.support import (
    ask_from_border,
    changed_by,
    every_spi,
    on_node,
    played,
    sas_with,
)

ALTERED = {"mx": {"base", "firewall", "ipsec"}}


@pytest.fixture
def put_right(lab: Lab) -> Iterator[None]:
    """Whatever the test did, a further run leaves every node as declared, or as it is."""
    yield
    assert changed_by(played(lab)) == {}


@pytest.mark.req("D3", "D5")
@pytest.mark.usefixtures("put_right", "settled")
def test_an_altered_file_connection_and_rule_are_reported_and_restored(
    lab: Lab, nodes: dict[str, Host]
) -> None:
    mx = nodes["mx"]
    mx.check_output("sed --in-place 's/^port 0/port 123/' /etc/chrony/chrony.conf")
    connection = sas_with(mx, "pe")[0]["name"]
    on_node(mx, "connection", forget=connection)
    mx.check_output("nft delete rule inet paranal input handle %s", _rule(mx, "pe>mx person"))
    untouched = {code: every_spi(nodes[code]) for code in ("cl", "co")}

    assert changed_by(played(lab, "--check")) == ALTERED
    assert changed_by(played(lab)) == ALTERED

    assert "port 0" in mx.file("/etc/chrony/chrony.conf").content_string
    assert [len(sa["child-sas"]) for sa in sas_with(mx, "pe")] == [2]
    assert ask_from_border(lab, "pe", ["mx"], people.DEMO_RECORD_MRZ)["outcome"] == "ALERT"
    for code, before in untouched.items():
        assert every_spi(nodes[code]) == before, code


def _rule(node: Host, comment: str) -> str:
    """Return the handle of the input rule with a comment."""
    listed = json.loads(node.check_output("nft --json list chain inet paranal input"))["nftables"]
    rules = [entry["rule"] for entry in listed if "rule" in entry]
    return str(next(rule["handle"] for rule in rules if rule.get("comment") == comment))
