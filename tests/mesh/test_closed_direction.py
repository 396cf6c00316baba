"""Chile's direction to Peru is closed four times over; each lock holds with the others opened.

Chile's own gateway is taken to be hostile: there everything is open. On Peru's gateway the test
opens firewall, key exchange and TLS by hand, all but one at a time, and in the end all of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from ipaddress import ip_address
from typing import Any

import pytest
from testinfra.host import Host

from paranal.agreement import load, member_view
from paranal.agreement.connections import Connection, anchor_digest, connections
from paranal.lab.home import ROOT
from paranal.lab.lab import Lab
from tests.mesh.conftest import CLOSED
from tests.mesh.support import (
    Views,
    by_hand,
    call_alliance,
    changed_by,
    counted,
    on_node,
    played,
    sas_with,
)

pytestmark = [
    pytest.mark.req("R12", "B3"),
    pytest.mark.skipif(not CLOSED, reason="every pair of this agreement is in service"),
]
Open = Callable[[str], AbstractContextManager[Any]]
CRT_LIST = "/etc/haproxy/paranal/crt-list"
CHILE_TRUST = ("/etc/haproxy/paranal/cl-ca.pem", "/etc/haproxy/paranal/cl.crl")


def _as_if_live(lab: Lab, member: str, peer: str) -> Connection:
    """Return the connection that a member would hold, were Chile in service."""
    view = member_view(load(ROOT / "agreement" / "all-live.yml"), member)
    roots = {
        other["code"]: anchor_digest(
            (lab.home.agreement.parent / "ca" / f"{other['code']}-root.pem").read_bytes()
        )
        for other in view["peers"]
    }
    return next(one for one in connections(view, roots) if one["peer"] == peer)


def _open_firewall(node: Host, here: str, there: str) -> None:
    """Accept whatever comes from, or goes to, one address through the tunnel."""
    ip = {4: "ip", 6: "ip6"}[ip_address(here).version]
    for chain, rule in (
        ("output", f"oifname ipsec0 {ip} saddr {here} {ip} daddr {there} accept"),
        ("input", f"iifname ipsec0 {ip} saddr {there} {ip} daddr {here} accept"),
    ):
        node.check_output(f"nft insert rule inet paranal {chain} {rule}")


@contextmanager
def _firewall(node: Host, here: str, there: str) -> Iterator[None]:
    _open_firewall(node, here, there)
    try:
        yield
    finally:
        node.check_output("systemctl reload paranal-firewall.service")


@contextmanager
def _key_exchange(node: Host, line: str, connection: Connection) -> Iterator[None]:
    """Let Peru hold the connection in the place of the line check."""
    on_node(node, "connection", forget=line)
    on_node(node, "connection", name=connection["name"], config=connection["config"], start=[])
    try:
        yield
    finally:
        on_node(node, "connection", forget=connection["name"])
        node.check_output("swanctl --load-conns")


@contextmanager
def _trust(lab: Lab, node: Host) -> Iterator[None]:
    """Give Chile a door of its own in Peru's HAProxy."""
    published, names = lab.home.agreement.parent, ("root", "issuing")
    authorities = "".join((published / f"ca/cl-{name}.pem").read_text() for name in names)
    lists = "".join((published / f"crl/cl-{name}.crl").read_text() for name in names)
    before = node.file(CRT_LIST).content_string
    entry = next(line for line in before.splitlines() if "co.q.pe" in line)
    added = before + re.sub(r"\bco(?=-ca\.pem|\.crl|\.q\.)", "cl", entry) + "\n"
    files = dict(zip(CHILE_TRUST, (authorities, lists), strict=True))
    on_node(node, "write", files={**files, CRT_LIST: added})
    node.check_output("systemctl reload haproxy.service")
    try:
        yield
    finally:
        on_node(node, "write", files={CRT_LIST: before})
        node.check_output(f"rm --force {' '.join(CHILE_TRUST)}")
        node.check_output("systemctl reload haproxy.service")


@pytest.fixture(scope="module")
def hostile_chile(lab: Lab, nodes: dict[str, Host], views: Views) -> Iterator[Connection]:
    """Chile's gateway opens its firewall; on neither side a timer heals or checks."""
    cl, pe = (views[code]["member"]["addresses"]["operational"] for code in ("cl", "pe"))
    with (
        by_hand(nodes["cl"], "heal", "line-check"),
        by_hand(nodes["pe"], "heal", "line-check"),
        _firewall(nodes["cl"], cl, pe),
    ):
        yield _as_if_live(lab, "cl", "pe")


@pytest.fixture
def opened(lab: Lab, nodes: dict[str, Host], views: Views) -> Open:
    """Open one layer of Peru's for the length of a block, and close it as it was."""
    pe, cl = (views[code]["member"]["addresses"]["operational"] for code in ("pe", "cl"))
    layers: dict[str, Callable[[], AbstractContextManager[None]]] = {
        "nft": lambda: _firewall(nodes["pe"], pe, cl),
        "ike": lambda: _key_exchange(nodes["pe"], "pe-cl-line", _as_if_live(lab, "pe", "cl")),
        "tls": lambda: _trust(lab, nodes["pe"]),
    }
    return lambda layer: layers[layer]()


@contextmanager
def _connected(nodes: dict[str, Host], connection: Connection) -> Iterator[dict[str, str | None]]:
    """Have Chile initiate, and end it again; yields charon's answer for the child."""
    given = {"name": connection["name"], "config": connection["config"]}
    try:
        yield on_node(nodes["cl"], "connection", **given, start=["operational"])
    finally:
        on_node(nodes["cl"], "connection", forget=connection["name"])


def test_nft_alone_holds(
    nodes: dict[str, Host], views: Views, hostile_chile: Connection, opened: Open
) -> None:
    before = counted(nodes["pe"], "dropped_input")
    with opened("ike"), opened("tls"), _connected(nodes, hostile_chile) as child:
        assert child == {"operational": None}
        assert not call_alliance(nodes, views, "cl", seconds=2)["reached"]
        assert counted(nodes["pe"], "dropped_input") > before


def test_key_exchange_alone_holds(
    nodes: dict[str, Host], views: Views, hostile_chile: Connection, opened: Open
) -> None:
    with opened("nft"), opened("tls"), _connected(nodes, hostile_chile) as child:
        assert child["operational"] is not None
        assert [sa["child-sas"] for sa in sas_with(nodes["pe"], "cl")] in ([], [{}])
        assert not call_alliance(nodes, views, "cl", seconds=2)["reached"]


def test_tls_alone_holds(
    nodes: dict[str, Host], views: Views, hostile_chile: Connection, opened: Open
) -> None:
    with opened("nft"), opened("ike"), _connected(nodes, hostile_chile):
        refused = call_alliance(nodes, views, "cl")
    assert (refused["reached"], refused["status"]) == (True, None)
    assert "unrecognized name" in refused["error"].lower()


def test_the_application_alone_holds(
    nodes: dict[str, Host], views: Views, hostile_chile: Connection, opened: Open
) -> None:
    with opened("nft"), opened("ike"), opened("tls"), _connected(nodes, hostile_chile):
        refused = call_alliance(nodes, views, "cl")
    assert refused["status"] == 403
    assert refused["answer"]["answer"] == "NOT_AUTHORISED"
    assert refused["answer"]["refusal"]["code"] == "PAR-0530"


def test_the_next_run_closes_what_was_opened_by_hand(
    lab: Lab, nodes: dict[str, Host], views: Views, hostile_chile: Connection, opened: Open
) -> None:
    with (
        opened("nft"),
        opened("ike"),
        opened("tls"),
        _connected(nodes, hostile_chile),
    ):
        assert call_alliance(nodes, views, "cl")["reached"]
        assert changed_by(played(lab)) == {
            "cl": {"firewall", "ipsec"},
            "pe": {"firewall", "ipsec", "query_server"},
        }
        assert not call_alliance(nodes, views, "cl", seconds=2)["reached"]
        assert sas_with(nodes["pe"], "cl") == []
    assert changed_by(played(lab)) == {}
