"""Lay a plan's links between network namespaces, with pyroute2, and take them up and down.

A namespace is reached through ``/proc/PID/ns/net`` of the container that owns it, so nothing is
left on the host when a container goes: a veth pair dies with either of its ends. pyroute2 is
imported where it is used: it takes a third of a second, which most of the lab's words can spare.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_interface
from pathlib import Path
from typing import Any

from paranal.lab import machine
from paranal.lab.names import WAN
from paranal.lab.plan import HOST, Link, Plan

IFA_F_NODAD = 0x02


@contextmanager
def namespace(pid: int | None) -> Iterator[Any]:
    """Open rtnetlink in the network namespace of process ``pid``, or in the host's for None."""
    from pyroute2 import IPRoute

    with IPRoute(netns=None if pid is None else f"/proc/{pid}/ns/net") as route:
        yield route


def lay(plan: Plan, pids: Mapping[str, int], machines: Collection[str] = ()) -> None:
    """Create the plan's links, addresses and routes; ``pids`` maps a part to its owner process.

    The ends of a part in ``machines`` are joined to its taps: addresses and routes are the guest's.
    Leftovers under the same names are removed first: a link of a namespace that has just lost its
    last process stays at its other end until the kernel comes round to it. Raises ``NetlinkError``
    and ``OSError``.
    """
    ends = [end for link in plan.links for end in (link.near, link.far)]
    parts = sorted({end.part for end in ends})
    for part in parts:
        remove_links(pids.get(part), [end.interface for end in ends if end.part == part])
    with namespace(None) as host:
        for link in plan.links:
            far = {"ifname": link.far.interface, **_placed(link.far.part, pids)}
            near = _placed(link.near.part, pids)
            host.link("add", ifname=link.near.interface, kind="veth", peer=far, **near)
    for name in _host_names(plan.links):
        # A host that switches IPv6 off by default still gets it on this one link of ours.
        Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("0", encoding="ascii")
    for part in parts:
        with namespace(pids.get(part)) as route:
            for end in ends:
                if end.part == part and part in machines:
                    _plug(route, end.interface)
                elif end.part == part:
                    _configure(route, end.interface, end.address)
            if part in plan.routes and part not in machines:
                _route_by(route, plan.routes[part])
            for each in plan.translations if part == WAN else ():
                index = route.link_lookup(ifname=each.link)[0]
                route.route("add", dst=f"{each.public}/32", gateway=each.local, oif=index)


def remove_links(pid: int | None, interfaces: Iterable[str]) -> None:
    """Delete those of ``interfaces`` that exist in the namespace of ``pid``, None: the host's."""
    with namespace(pid) as route:
        for interface in interfaces:
            for index in route.link_lookup(ifname=interface):
                with _tolerating(errno.ENODEV):  # its namespace may be going down by itself
                    route.link("del", index=index)


def set_link(pid: int, interface: str, state: str) -> None:
    """Set a link ``up`` or ``down`` in the namespace of ``pid``."""
    with namespace(pid) as route:
        route.link("set", index=route.link_lookup(ifname=interface)[0], state=state)


def links_down(pid: int, interfaces: Iterable[str]) -> list[str]:
    """Return those of ``interfaces`` that are administratively down in the namespace of ``pid``."""
    with namespace(pid) as route:
        up = {link.get("ifname") for link in route.get_links() if link["flags"] & 1}
    return [interface for interface in interfaces if interface not in up]


def _configure(route: Any, interface: str, address: str) -> None:  # noqa: ANN401 - pyroute2 is untyped
    index = route.link_lookup(ifname=interface)[0]
    parsed = ip_interface(address)
    # Our own links have two ends and our own addresses: waiting for duplicates would cost seconds.
    flags = {"flags": IFA_F_NODAD} if parsed.version == 6 else {}
    route.link("set", index=index, state="up")
    route.addr(
        "add", index=index, address=str(parsed.ip), prefixlen=parsed.network.prefixlen, **flags
    )


def _plug(route: Any, interface: str) -> None:  # noqa: ANN401 - pyroute2 is untyped
    """Join a link's end with a tap for QEMU, which any process of root's may open."""
    bridge, tap = machine.bridge(interface), machine.tap(interface)
    # At once, without the half minute in which a bridge listens for others before it forwards; and
    # a wire passes every multicast.
    at_once = {"br_forward_delay": 0, "br_stp_state": 0, "br_mcast_snooping": 0}
    route.link("add", ifname=bridge, kind="bridge", **at_once)
    route.link("add", ifname=tap, kind="tuntap", mode="tap")
    joined, *ports = (route.link_lookup(ifname=name)[0] for name in (bridge, tap, interface))
    for port in ports:
        route.link("set", index=port, master=joined, state="up")
    route.link("set", index=joined, state="up")


def _route_by(route: Any, gateway: str) -> None:  # noqa: ANN401 - pyroute2 is untyped
    family = socket.AF_INET6 if ip_interface(gateway).version == 6 else socket.AF_INET
    route.route("add", family=family, dst="default", gateway=gateway)


def _placed(part: str, pids: Mapping[str, int]) -> dict[str, int]:
    return {} if part == HOST else {"net_ns_pid": pids[part]}


def _host_names(links: Iterable[Link]) -> list[str]:
    return [end.interface for link in links for end in (link.near, link.far) if end.part == HOST]


@contextmanager
def _tolerating(code: int) -> Iterator[None]:
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        yield
    except NetlinkError as error:
        if error.code != code:
            raise
