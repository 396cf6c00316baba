"""Send packets at a firewall in a network namespace, and say what the kernel did with each.

Runs as ``unshare --net python wire.py``; one JSON object in and out. In: ``{"rules": [nft text],
"addresses": {interface: [address]}, "prefixes": {interface: [prefix]}, "flows": [{"source",
"destination", "protocol", "sport", "dport"}], "packets": [{"way": "in"|"out", "interface",
"bytes": hex}]}``. Out: one object a packet, ``{"before": {hook: interface}, "after": [hook],
"states": [name], "direction": name or null, "way_back": bool, "failed": errno name or null}``.

Each packet bears its number as mark, so that what the kernel sends by itself is not mistaken for
it. An observer's own chains stand right before and right after the rules at each hook: what was
seen before and not after was dropped between. Sets hold what they saw; each is read once.
"""

from __future__ import annotations

import copy
import errno
import ipaddress
import json
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute, NFCTSocket
from pyroute2.netlink.nfnetlink.nfctsocket import NFCTAttrTuple

INTERFACES = ("wan", "inner", "mgmt", "ipsec0", "eth9")
PRIORITIES = {"prerouting": -300, "input": 0, "forward": 0, "output": 0}
IPS_SEEN_REPLY, IPS_ASSURED, IPS_CONFIRMED = 2, 4, 8
STATES = {1: "invalid", 2: "established", 4: "related", 8: "new", 64: "untracked"}
FLOW_SECONDS = 600
MARK = 0x50000000
"""Of our packets, plus their number; what the kernel sends by itself may bear other marks."""
SETTINGS = {
    "net/ipv4/ip_forward": 1,
    "net/ipv6/conf/all/forwarding": 1,
    "net/ipv6/conf/all/accept_dad": 0,
    "net/ipv4/conf/all/rp_filter": 0,
    "net/ipv4/conf/default/rp_filter": 0,
    "net/ipv4/conf/all/accept_local": 1,
    "net/ipv4/conf/all/route_localnet": 1,
    # A packet's numbers are made up: neither its checksum nor its sequence is what is tested.
    "net/netfilter/nf_conntrack_checksum": 0,
    "net/netfilter/nf_conntrack_tcp_be_liberal": 1,
}


def main() -> None:
    """Set the stage, send everything, print what was seen."""
    given = json.load(sys.stdin)
    with IPRoute() as kernel:
        near = stage(kernel, given)
    for flow in given["flows"]:
        track(flow)
    for text in (observer(), *map(unmarked, given["rules"])):
        nft("--file", "/dev/stdin", given=text)
    failed = send(given["packets"], near)
    json.dump(read(failed), sys.stdout)


def setting(path: str, value: int) -> None:
    """Write one kernel setting of this namespace."""
    Path("/proc/sys", path).write_text(str(value), encoding="ascii")


def stage(kernel: IPRoute, given: dict[str, Any]) -> dict[str, bytes]:
    """Make the interfaces, each with a far end that nobody listens at; return their addresses."""
    (loopback,) = kernel.get_links(1)
    if loopback["state"] == "up":
        sys.exit("wire.py wants a network namespace of its own, in which nothing is up yet")
    for path, value in SETTINGS.items():
        setting(path, value)
    kernel.link("set", index=1, state="up")
    for name in INTERFACES:
        kernel.link("add", ifname=name, kind="veth", peer={"ifname": f"{name}-far"})
        setting(f"net/ipv6/conf/{name}-far/disable_ipv6", 1)
        setting(f"net/ipv6/conf/{name}/accept_dad", 0)
        for each in (name, f"{name}-far"):
            (index,) = kernel.link_lookup(ifname=each)
            kernel.link("set", index=index, state="up", arp=False)
    for name, addresses in given["addresses"].items():
        (index,) = kernel.link_lookup(ifname=name)
        for address in addresses:
            length = 128 if ":" in address else 32
            kernel.addr("add", index=index, address=address, prefixlen=length)
    for name, prefixes in given["prefixes"].items():
        (index,) = kernel.link_lookup(ifname=name)
        for prefix in prefixes:
            kernel.route("replace", dst=prefix, oif=index)
    for metric, name in enumerate(INTERFACES, 10):
        (index,) = kernel.link_lookup(ifname=name)
        for family in (socket.AF_INET, socket.AF_INET6):
            kernel.route("add", dst="default", family=family, oif=index, priority=metric)
    hardware = {
        link.get_attr("IFLA_IFNAME"): link.get_attr("IFLA_ADDRESS") for link in kernel.get_links()
    }
    return {name: bytes.fromhex(text.replace(":", "")) for name, text in hardware.items()}


def track(flow: dict[str, Any]) -> None:
    """Have connection tracking know a flow that was answered."""
    version = ipaddress.ip_address(flow["source"]).version
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    original = NFCTAttrTuple(
        family=family,
        saddr=flow["source"],
        daddr=flow["destination"],
        proto=flow["protocol"],
        sport=flow["sport"],
        dport=flow["dport"],
    )
    with NFCTSocket(nfgen_family=family) as tracking:
        tracking.entry(
            "add",
            timeout=FLOW_SECONDS,
            status=IPS_SEEN_REPLY | IPS_ASSURED | IPS_CONFIRMED,
            tuple_orig=original,
            tuple_reply=original.reverse(),
        )


def unmarked(rules: str) -> str:
    """Return the rules without what marks a packet: here a mark is its number.

    No rule of theirs asks for a mark; the kernel's policies do, and none is on this stage.
    """
    return re.sub(r"meta mark set \S+ ", "", rules)


def observer() -> str:
    """Return the rules that look right before and right after the ones on trial."""
    lines = ["table inet observer {"]
    ours = f"meta mark & 0xff000000 == {MARK:#x}"
    lines.append("set states { type mark . ct_state; size 65535; flags dynamic; }")
    lines.append("set directions { type mark . ct_dir; size 65535; flags dynamic; }")
    lines.append("set no_way_back { type mark; size 65535; flags dynamic; }")
    for hook, priority in PRIORITIES.items():
        interface = "oifname" if hook == "output" else "iifname"
        lines.append(f"set before_{hook} {{ type mark . ifname; size 65535; flags dynamic; }}")
        lines.append(f"set after_{hook} {{ type mark . ifname; size 65535; flags dynamic; }}")
        for when, place in (("before", priority - 1), ("after", priority + 1)):
            lines.append(f"chain {when}_{hook} {{")
            lines.append(f"type filter hook {hook} priority {place}; policy accept;")
            seen = f"meta mark . meta {interface}"
            lines.append(f"{ours} update @{when}_{hook} {{ {seen} }}")
            if when == "before" and hook == "prerouting":
                lines.append(
                    f"{ours} fib saddr . iif oif missing update @no_way_back {{ meta mark }}"
                )
            elif when == "before":
                lines.append(f"{ours} update @states {{ meta mark . ct state }}")
                lines.append(f"{ours} update @directions {{ meta mark . ct direction }}")
            lines.append("}")
    return "\n".join([*lines, "}\n"])


def nft(*words: str, given: str | None = None) -> str:
    """Run nft, which has to succeed; return what it printed."""
    done = subprocess.run(  # noqa: S603 - the test's own rules
        ["/usr/sbin/nft", *words], input=given, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


def send(packets: list[dict[str, Any]], near: dict[str, bytes]) -> list[str | None]:
    """Send every packet its way; return the error of each that the kernel did not take."""
    failed: list[str | None] = []
    sockets = {
        (way, name, family): opened(way, name, family)
        for way in ("in", "out")
        for name in (*INTERFACES, "lo")
        for family in (4, 6)
    }
    for mark, packet in enumerate(packets, MARK):
        data = bytes.fromhex(packet["bytes"])
        family = data[0] >> 4
        channel = sockets[packet["way"], packet["interface"], family]
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        try:
            if packet["way"] == "in":
                # To the interface's own hardware address: the far end speaks to its neighbour.
                channel.send(near[packet["interface"]] + bytes(6) + frame_type(family) + data)
            elif family == 4:
                channel.sendto(data, (socket.inet_ntoa(data[16:20]), 0))
            else:
                index = socket.if_nametoindex(packet["interface"])
                channel.sendto(data, (socket.inet_ntop(socket.AF_INET6, data[24:40]), 0, 0, index))
        except OSError as error:
            failed.append(errno.errorcode.get(error.errno or 0, str(error)))
        else:
            failed.append(None)
    return failed


def opened(way: str, name: str, family: int) -> socket.socket:
    """Return a socket that sends whole packets: from the far end of a link, or from this node."""
    if way == "in":
        channel = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        channel.bind((name if name == "lo" else f"{name}-far", 0))
        return channel
    domain = socket.AF_INET if family == 4 else socket.AF_INET6
    channel = socket.socket(domain, socket.SOCK_RAW, socket.IPPROTO_RAW)
    channel.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name.encode())
    channel.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    return channel


def frame_type(family: int) -> bytes:
    """Return the Ethernet type of a family."""
    return b"\x08\x00" if family == 4 else b"\x86\xdd"


def read(failed: list[str | None]) -> list[dict[str, Any]]:
    """Return what the observer saw of each packet."""
    unseen: dict[str, Any] = {"states": [], "direction": None, "way_back": True}
    seen: list[dict[str, Any]] = [
        {**copy.deepcopy(unseen), "before": {}, "after": [], "failed": each} for each in failed
    ]
    listing = json.loads(nft("--json", "--numeric", "list", "table", "inet", "observer"))
    for item in listing["nftables"]:
        if "set" not in item:
            continue
        name = item["set"]["name"]
        for element in item["set"].get("elem", ()):
            mark, *values = [element] if isinstance(element, int) else element["concat"]
            one = seen[mark - MARK]
            when, _, hook = name.partition("_")
            if when == "before":
                one["before"][hook] = values[0]
            elif when == "after":
                one["after"].append(hook)
            elif name == "no_way_back":
                one["way_back"] = False
            elif name == "states":
                one["states"].append(STATES[values[0]])
            else:
                one["direction"] = ("original", "reply")[values[0]]
    return seen


if __name__ == "__main__":
    main()
