"""How a node is broken or opened by hand, and what is delivered to it meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from testinfra.host import Host

from tests.mesh.flows import background
from tests.mesh.support import eventually

STOP, START = "systemctl stop strongswan.service", "systemctl start strongswan.service"
FLUSH_POLICIES = "ip xfrm policy flush"
DROP_POLICIES = "systemctl restart paranal-drop-policies.service"
FLUSH, HEAL = "nft flush ruleset", "systemctl start paranal-firewall-heal.service"


@contextmanager
def broken(node: Host, fault: str, mend: str) -> Iterator[None]:
    """Break something on a node for the length of a block."""
    node.check_output(fault)
    try:
        yield
    finally:
        if mend:
            node.check_output(mend)


@contextmanager
def without_routes(node: Host) -> Iterator[None]:
    """Take the routing's lock and the check of the reverse path away for the length of a block."""
    for family in ("-4", "-6"):
        node.check_output(f"ip {family} route flush proto 233")
        node.check_output(f"ip {family} rule flush protocol 233")
    node.check_output("sysctl --quiet --write net.ipv4.conf.all.rp_filter=0")
    node.check_output("sysctl --quiet --write net.ipv4.conf.wan.rp_filter=0")
    try:
        yield
    finally:
        node.check_output("sysctl --quiet --load=/etc/sysctl.d/90-paranal.conf")
        node.check_output("systemctl reload paranal-nowhere.service")


@contextmanager
def receiving(node: Host, address: str) -> Iterator[Callable[[], int]]:
    """Tell how many datagrams to port 9 one of a node's addresses has received."""
    with background(node, "receive", "/run/receive.json", address=address, port=9) as count:
        assert eventually(lambda: count() == 0, 5)
        yield count
