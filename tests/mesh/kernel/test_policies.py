"""What the kernel's policies hold alone, with firewall and routes out of the way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from ipaddress import ip_network

import pytest
from testinfra.host import Host

from paranal.agreement.address import host_prefix
from paranal.lab import names
from tests.mesh.breaking import (
    DROP_POLICIES,
    FLUSH,
    FLUSH_POLICIES,
    HEAL,
    START,
    STOP,
    broken,
    receiving,
    without_routes,
)
from tests.mesh.kernel.xfrm import errors, risen
from tests.mesh.support import (
    Capture,
    Views,
    by_hand,
    counted,
    eventually,
    on_node,
    sas_with,
    tunnels_up,
)

pytestmark = pytest.mark.req("B3", "B4")
HEALED_SECONDS = 90
POLICIES_GONE = f"{STOP}; {FLUSH_POLICIES}"
POLICIES_BACK = f"{DROP_POLICIES}; {START}"


@pytest.fixture(autouse=True)
def unattended(nodes: dict[str, Host]) -> Iterator[None]:
    """No timer puts right what a test breaks in CO and PE; afterwards their tunnels are whole."""
    with ExitStack() as stack:
        for code in ("co", "pe"):
            stack.enter_context(by_hand(nodes[code], "heal", "firewall-heal"))
        yield
    assert eventually(lambda: tunnels_up(nodes["pe"], ["co", "mx"]), HEALED_SECONDS)


def _operational(views: Views, code: str) -> str:
    address: str = views[code]["member"]["addresses"]["operational"]
    return address


def _only(node: Host, before: dict[str, int], counter: str) -> bool:
    return risen(node, before) == {counter: 1}


@pytest.mark.usefixtures("settled")
def test_what_arrives_in_clear_is_dropped_and_counted(
    nodes: dict[str, Host], views: Views, watch: Capture
) -> None:
    pe, link, ours = nodes["pe"], names.wan_link("pe"), _operational(views, "pe")
    theirs = _operational(views, "co")
    nobody = str(ip_network(views["co"]["member"]["inner_prefix"])[-2])
    with broken(pe, FLUSH, HEAL), without_routes(pe), receiving(pe, ours) as delivered:
        for source, counter in ((theirs, "XfrmInTmplMismatch"), (nobody, "XfrmInPolBlock")):
            before = errors(pe)
            assert watch.plant(link, source, ours)
            assert eventually(partial(_only, pe, before, counter), 10), risen(pe, before)
        assert delivered() == 0
        # The control: with no policy either, the packet is delivered.
        with broken(pe, POLICIES_GONE, POLICIES_BACK):
            assert watch.plant(link, theirs, ours)
            assert eventually(lambda: delivered() == 1, 10)


@contextmanager
def _speaking_for(co: Host, views: Views, source: str) -> Iterator[None]:
    """Let a hostile CO send from an address that is not its own, by its own tunnel with PE."""
    (sa,) = sas_with(co, "pe")
    reqid = next(it["reqid"] for it in sa["child-sas"].values() if it["name"] == "operational")
    own, peer = views["co"]["member"]["wan_local_address"], views["pe"]["member"]["wan_address"]
    lies = host_prefix(source)
    flow = f"dir out src {lies} dst {host_prefix(_operational(views, 'pe'))}"
    template = f"tmpl src {own} dst {peer} proto esp reqid {reqid} mode tunnel"
    put = f"ip address replace {lies} dev lo; ip xfrm policy update {flow} priority 1 {template}"
    taken = f"ip xfrm policy delete {flow}; ip address delete {lies} dev lo"
    with broken(co, put, taken), broken(co, FLUSH, HEAL):
        yield


@pytest.mark.usefixtures("settled")
def test_a_forged_source_inside_a_valid_tunnel_is_dropped_by_firewall_and_policy(
    nodes: dict[str, Host], views: Views
) -> None:
    """CO speaks for MX through its own tunnel with PE."""
    co, pe = nodes["co"], nodes["pe"]
    lie, own, target = (_operational(views, code) for code in ("mx", "co", "pe"))
    with receiving(pe, target) as delivered, _speaking_for(co, views, lie):
        before, errors_before = counted(pe, "dropped_input"), errors(pe)
        on_node(co, "datagram", source=lie, target=target)
        assert eventually(lambda: counted(pe, "dropped_input") > before, 10)
        assert risen(pe, errors_before) == {}, "it came out of a tunnel, and nft was first"
        with broken(pe, FLUSH, HEAL):
            on_node(co, "datagram", source=lie, target=target)
            assert eventually(partial(_only, pe, errors_before, "XfrmInTmplMismatch"), 10)
            assert delivered() == 0
            # The control: as itself, the same way, it is delivered.
            on_node(co, "datagram", source=own, target=target)
            assert eventually(lambda: delivered() == 1, 10)
