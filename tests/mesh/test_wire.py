"""What an observer on the wide area sees: ESP in UDP, and never an address of the inside."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from testinfra.host import Host

from paranal.agreement import Agreement
from paranal.lab import names, people
from paranal.lab.lab import Lab
from tests.mesh.support import (
    ESP_FILTER,
    Capture,
    ask_from_border,
    capture,
    esp_flows,
    eventually,
    list_sas,
    spis,
)

HEALED_SECONDS = 60


@pytest.mark.req("R6", "D4")
@pytest.mark.usefixtures("settled")
def test_a_query_crosses_the_wide_area_as_esp_of_the_two_tunnels(
    lab: Lab, agreement: Agreement, nodes: dict[str, Host]
) -> None:
    with capture(lab, ESP_FILTER) as seen:
        answer = ask_from_border(lab, "pe", ["co"], people.DEMO_WANTED_MRZ)
    assert answer["outcome"] == "ALERT"
    members = [agreement.members[code] for code in ("pe", "co")]
    pe, co = (member["wan_address"] for member in members)
    kernels = all(member["data_plane"] == "kernel" for member in members)
    flows = esp_flows(seen.seen, "esp" if kernels else "udp")
    assert esp_flows(seen.seen, "udp" if kernels else "esp") == set()
    # The observer sees the very SAs that the two ends hold, each with the SPI its receiver chose.
    assert (pe, co, spis(nodes["co"], "pe")["operational"]) in flows
    assert (co, pe, spis(nodes["pe"], "co")["operational"]) in flows
    assert (pe, co, spis(nodes["co"], "pe")["strategic"]) not in flows


@pytest.mark.req("R6")
def test_nothing_but_key_exchange_and_esp_crosses_the_wide_area(lab: Lab) -> None:
    with capture(lab, "not (udp port 500 or udp port 4500 or esp or arp or icmp6)") as seen:
        assert ask_from_border(lab, "pe", ["co", "mx"], people.DEMO_CLEAN_MRZ)["outcome"] == "OK"
    assert seen.seen == []


@pytest.fixture
def without_charon(nodes: dict[str, Host]) -> Iterator[None]:
    """Peru's charon is stopped; afterwards its tunnels are back, as they heal by themselves."""
    pe = nodes["pe"]
    pe.check_output("systemctl stop strongswan.service")
    yield
    pe.check_output("systemctl start strongswan.service")
    assert eventually(lambda: _up(pe), HEALED_SECONDS), pe.check_output("paranal tunnels show")


def _up(node: Host) -> bool:
    return {"co", "mx"} <= {
        sa["remote-id"].split(".")[1] for sa in list_sas(node) if len(sa["child-sas"]) == 2
    }


@pytest.mark.req("R6", "B3", "B6")
@pytest.mark.usefixtures("far_apart", "without_charon")
def test_with_the_tunnel_down_a_query_is_unavailable_at_once_and_nothing_leaves_in_clear(
    lab: Lab, agreement: Agreement, watch: Capture
) -> None:
    inner = (f"net {member['inner_prefix']}" for member in agreement.members.values())
    with capture(lab, " or ".join(("tcp", *inner))) as seen:
        answer = ask_from_border(lab, "pe", ["co", "mx"], people.DEMO_WANTED_MRZ)
        lines: dict[str, Any] = answer["answers"]
        assert {line["answer"] for line in lines.values()} == {"UNAVAILABLE"}
        assert max(line["elapsed_ms"] for line in lines.values()) < 1000
        assert answer["outcome"] == "INCOMPLETE"
        assert seen.seen == []
        # The control: the same capture, at the same moment, sees one packet in clear.
        co, pe = (agreement.members[code]["addresses"]["operational"] for code in ("co", "pe"))
        assert watch.plant(names.wan_link("pe"), co, pe)
        assert eventually(lambda: len(seen.seen) > 0, 5), "the capture is blind"


@pytest.mark.req("R6", "B3")
def test_a_packet_in_clear_that_arrives_is_dropped_and_counted(
    nodes: dict[str, Host], agreement: Agreement, watch: Capture
) -> None:
    command = "nft list counter inet paranal clear_in"
    before = nodes["pe"].check_output(command)
    co, pe = (agreement.members[code]["addresses"]["operational"] for code in ("co", "pe"))
    assert watch.plant(names.wan_link("pe"), co, pe)
    assert eventually(lambda: nodes["pe"].check_output(command) != before, 5)
