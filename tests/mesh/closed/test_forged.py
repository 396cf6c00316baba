"""What a peer or a stranger forges: a segment of an open flow, a source inside a valid tunnel."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from testinfra.host import Host

from paranal.agreement.address import host_prefix
from paranal.lab import names, packets
from paranal.lab.lab import Lab
from tests.mesh.breaking import FLUSH, HEAL, broken, receiving, without_routes
from tests.mesh.conftest import PLANE
from tests.mesh.flows import ASK_AGAIN, held_query
from tests.mesh.support import (
    TUNNEL,
    Capture,
    Views,
    counted,
    eventually,
    in_part,
    on_node,
    sas_with,
    tunnels_up,
)

pytestmark = pytest.mark.req("R6", "B3")
BACK_SECONDS = 60
Forge = Callable[[dict[str, Any], int, str], None]
RESET, DATA = 0x14, 0x18
"""TCP's flags: RST and ACK, PSH and ACK."""


@pytest.fixture
def forge(lab: Lab, nodes: dict[str, Host], views: Views, watch: Capture) -> Forge:
    """Send, in clear to Peru's gateway, the very next segment of a held flow from Colombia."""
    theirs, ours = (views[code]["member"]["addresses"]["operational"] for code in ("co", "pe"))
    link = names.wan_link("pe")
    station = nodes["pe"].file("/sys/class/net/wan/address").content_string.strip().replace(":", "")

    def send(flow: dict[str, int], flags: int, payload: str) -> None:
        ports, numbers = (flow["port"], 7443), (flow["seq"], flow["ack"])
        packet = packets.tcp(theirs, ours, ports, numbers, flags, payload.encode())
        with watch.expecting(link, theirs, ours) as seen:
            in_part(lab, names.WAN, "send", link=link, packet=packet.hex(), station=station)
            assert eventually(lambda: any(f".{flow['port']} > " in line for line in seen()), 5)

    return send


@pytest.mark.usefixtures("unattended")
def test_a_forged_segment_of_an_open_query_is_dropped_and_counted(
    nodes: dict[str, Host], views: Views, forge: Forge
) -> None:
    co, pe = nodes["co"], nodes["pe"]
    assert eventually(lambda: tunnels_up(co, ["pe"]), BACK_SECONDS)
    with held_query(nodes, views) as told:
        before = counted(pe, "clear_in")
        forge(told(), DATA, "forged")
        forge(told(), RESET, "")
        assert eventually(lambda: counted(pe, "clear_in") >= before + 2, 5)
        co.check_output(ASK_AGAIN)
        assert eventually(lambda: "second" in told(), 10)
        assert told()["second"] == 200, told()
    # The control: with nothing in its way the same segment ends the same flow.
    with (
        held_query(nodes, views) as told,
        broken(pe, FLUSH, HEAL),
        without_routes(pe),
    ):
        forge(told(), RESET, "")
        co.check_output(ASK_AGAIN)
        assert eventually(lambda: "second" in told(), 10)
        assert told()["second"] is None
        assert "Reset" in told()["error"], told()


STRANGER = "for-this-once"


@contextmanager
def _forged_source(co: Host, source: str, connection: dict[str, Any]) -> Iterator[None]:
    """Let a hostile Colombia send from an address that is not its own, by its own tunnel."""
    lie, family = host_prefix(source), "ip6" if ":" in source else "ip"
    co.check_output(f"ip address replace {lie} dev lo")
    co.check_output(
        f"nft insert rule inet paranal output {family} saddr {source} udp dport 9 accept"
    )
    on_node(co, "connection", name=STRANGER, config=connection, start=[])
    try:
        yield
    finally:
        on_node(co, "connection", forget=STRANGER)
        co.check_output("systemctl reload paranal-firewall.service")
        co.check_output(f"ip address delete {lie} dev lo")


@pytest.mark.skipif(PLANE == "kernel", reason="charon's own inbound check is the userspace plane's")
@pytest.mark.usefixtures("unattended")
def test_a_forged_inner_source_inside_a_valid_tunnel_is_dropped(
    nodes: dict[str, Host], views: Views
) -> None:
    """Colombia speaks for Mexico through its own tunnel with Peru.

    A tunnel for that source is refused. So Colombia traps it onto the tunnel that it has (the same
    `reqid`), and Peru's charon, whose firewall is opened here by hand, holds alone.
    """
    co, pe, mx = nodes["co"], nodes["pe"], views["mx"]["member"]["addresses"]["operational"]
    assert eventually(lambda: tunnels_up(co, ["pe"]), BACK_SECONDS)
    own, target = (views[code]["member"]["addresses"]["operational"] for code in ("co", "pe"))
    (sa,) = sas_with(co, "pe")
    record = json.loads(co.file("/var/lib/paranal/node/connections.json").content_string)
    config = record["held"][sa["name"]]["connection"]["config"]
    reqid = next(
        child["reqid"] for child in sa["child-sas"].values() if child["name"] == "operational"
    )
    child = {**config["children"]["operational"], "local_ts": [host_prefix(mx)]}
    asked = {**config, "children": {"asked": {**child, "start_action": "none"}}}
    trapped = {**config, "children": {"led": {**child, "reqid": reqid, "start_action": "trap"}}}

    refused = on_node(co, "connection", name=STRANGER, config=asked, start=["asked"])
    assert refused["asked"] is not None
    on_node(co, "connection", forget=STRANGER)

    device = TUNNEL[PLANE]
    pe.check_output(f"nft insert rule inet paranal input iifname {device} udp dport 9 accept")
    co.check_output(f"nft insert rule inet paranal output oifname {device} udp dport 9 accept")
    try:
        with receiving(pe, target) as delivered, _forged_source(co, mx, trapped):
            before = _received(pe)
            on_node(co, "datagram", source=mx, target=target)
            assert eventually(lambda: _received(pe) > before, 5), "it never arrived in the tunnel"
            said = "journalctl --unit=strongswan --since=-10s --grep=%s"
            assert mx in pe.check_output(said, "discarding inbound IP packet .* due to policy")
            # The control: as itself, the same way, it is delivered.
            assert delivered() == 0
            on_node(co, "datagram", source=own, target=target)
            assert eventually(lambda: delivered() == 1, 5)
    finally:
        for node in (co, pe):
            node.check_output("systemctl reload paranal-firewall.service")


def _received(node: Host) -> int:
    """Return how many packets a node has decrypted in its operational tunnel with Colombia."""
    return sum(
        int(child["packets-in"])
        for sa in sas_with(node, "co")
        for child in sa["child-sas"].values()
        if child["name"] == "operational"
    )
