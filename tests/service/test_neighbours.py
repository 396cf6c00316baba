"""What IPv6 needs beside the rules of IPv4, on a real kernel: neighbours, no router's word, no way
back without a route. A gateway with the rendered rules, and its provider's router, in namespaces.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from operator import sub
from pathlib import Path

import pytest

from tests.service.namespaces import namespaces

RULES = Path(__file__).parents[1] / "unit" / "templates" / "golden" / "pe-ipv6-userspace.nft"
GATEWAY, NATIONAL, PEER = "2001:db8:51::2", "3fff:51::1", "2001:db8:52::2"
ROUTER, POST = "2001:db8:51::1", "3fff:51::a"
STRANGE = "2001:db8:bad:"
ICMP = """
import json, socket, sys
given = json.loads(sys.argv[1])
with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as line:
    index = socket.if_nametoindex(given["link"])
    for option in (socket.IPV6_UNICAST_HOPS, socket.IPV6_MULTICAST_HOPS):
        line.setsockopt(socket.IPPROTO_IPV6, option, given["hops"])
    line.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
    line.sendto(bytes.fromhex(given["message"]), (given["target"], 0, 0, index))
"""
KNOCK = """
import contextlib, socket, sys
with socket.socket(socket.AF_INET6) as line:
    line.bind((sys.argv[1], 0))
    line.settimeout(0.5)  # before a second try
    with contextlib.suppress(ConnectionRefusedError, TimeoutError):
        line.connect((sys.argv[2], 7440))
"""
SETTLED_SECONDS = 5
In = Callable[..., str]


@pytest.fixture
def within() -> Iterator[In]:
    """Run words in ``gateway`` or ``router``, which share the links ``wan`` and ``inner``."""
    with namespaces("neighbours", "gateway", "router") as made:
        # As a kernel is that was never told otherwise: what the rules alone keep out is seen.
        made.run("gateway", "sysctl", "-qw", "net.ipv6.conf.default.accept_ra=2")
        made.run("router", "ip", "link", "set", "lo", "up")
        for link, (near, far) in {"wan": (GATEWAY, ROUTER), "inner": (NATIONAL, POST)}.items():
            pair = ("type", "veth", "peer", "name", link, "netns", made.names["router"])
            made.run("gateway", "ip", "link", "add", link, *pair)
            for part, address in (("gateway", near), ("router", far)):
                # That nobody answers is known after three tries, else of a second each.
                made.run(part, "sysctl", "-qw", f"net.ipv6.neigh.{link}.retrans_time_ms=100")
                made.run(part, "ip", "link", "set", link, "up")
                made.run(part, "ip", "address", "add", f"{address}/64", "dev", link)
        made.run("gateway", "ip", "-6", "route", "add", "default", "via", ROUTER)
        made.run("gateway", "nft", "--file", str(RULES))
        yield made.run


def _icmp(within: In, message: bytes, target: str, hops: int = 255) -> None:
    given = {"link": "wan", "message": message.hex(), "target": target, "hops": hops}
    within("router", sys.executable, "-c", ICMP, json.dumps(given))


def _watch(within: In, match: str) -> None:
    """Count what matches among the packets that the rules drop: a router reports groups as well."""
    rule = ("inet", "paranal", "drop_logged", *match.split(), "counter", "comment", '"dropped"')
    within("gateway", "nft", "insert", "rule", *rule)


def _counted(within: In, chain: str, comment: str) -> int:
    """Return how many packets the one rule with a comment has counted."""
    listed = within("gateway", "nft", "--json", "list", "chain", "inet", "paranal", chain)
    rules = [entry["rule"] for entry in json.loads(listed)["nftables"] if "rule" in entry]
    (rule,) = [rule for rule in rules if rule.get("comment") == comment]
    return sum(int(each["counter"]["packets"]) for each in rule["expr"] if "counter" in each)


def _dropped(within: In) -> int:
    return _counted(within, "drop_logged", "dropped")


def _neighbour(within: In, part: str, address: str) -> str:
    """Return the link-layer address that a part finds for a neighbour, asked anew; or nothing."""
    within(part, "ip", "neighbour", "flush", "all")
    say = "import socket,sys;socket.socket(10, 2).sendto(b'x', (sys.argv[1], 9))"
    if part == "gateway":  # it says nothing but key exchange, and that to a peer
        say = (
            "import socket,sys;s=socket.socket(10, 2);"
            f"s.bind(('{GATEWAY}', 500));s.sendto(b'x', ('{PEER}', 500))"
        )
    within(part, sys.executable, "-c", say, address)
    deadline = time.monotonic() + SETTLED_SECONDS
    while time.monotonic() < deadline:
        (found,) = json.loads(within(part, "ip", "-json", "neighbour", "show", address)) or [{}]
        if "lladdr" in found or "FAILED" in found.get("state", []):
            return str(found.get("lladdr", ""))
        time.sleep(0.05)
    return ""


@pytest.mark.req("R6")
@pytest.mark.parametrize(("part", "address"), [("gateway", ROUTER), ("router", GATEWAY)])
def test_gateway_and_router_find_each_other(within: In, part: str, address: str) -> None:
    assert _neighbour(within, part, address)
    # The control: without its rules the gateway drops what a neighbour says, and nobody is found.
    for chain in ("input", "output"):
        listed = json.loads(
            within("gateway", "nft", "--json", "list", "chain", "inet", "paranal", chain)
        )
        for rule in (entry["rule"] for entry in listed["nftables"] if "rule" in entry):
            if "nd-neighbor" in json.dumps(rule):
                handle = str(rule["handle"])
                within(
                    "gateway", "nft", "delete", "rule", "inet", "paranal", chain, "handle", handle
                )
    assert not _neighbour(within, part, address)


@pytest.mark.req("R6", "B3")
def test_a_router_s_advertisement_changes_nothing(within: In) -> None:
    option = bytes([3, 4, 64, 0xC0]) + (3600).to_bytes(4, "big") * 2 + bytes(4)
    prefix = bytes.fromhex("20010db80bad") + bytes(10)
    message = bytes([134, 0, 0, 0, 64, 0]) + (1800).to_bytes(2, "big") + bytes(8) + option + prefix
    addresses = ("ip", "-6", "-oneline", "address", "show", "dev", "wan", "scope", "global")
    before = within("gateway", *addresses)
    _watch(within, "icmpv6 type nd-router-advert")
    _icmp(within, message, "ff02::1")
    assert _dropped(within) == 1
    assert within("gateway", *addresses) == before
    # The control: the rules gone, the same kernel takes the same message.
    within("gateway", "nft", "delete", "table", "inet", "paranal")
    _icmp(within, message, "ff02::1")
    deadline = time.monotonic() + SETTLED_SECONDS
    while STRANGE not in within("gateway", *addresses):
        assert time.monotonic() < deadline, "the message is no advertisement"


@pytest.mark.req("R6", "B3")
def test_a_neighbour_s_word_that_came_through_a_router_is_dropped(within: In) -> None:
    solicited = bytes([135, 0, 0, 0]) + bytes(4) + bytes.fromhex("20010db8005100000000000000000002")
    _watch(within, "icmpv6 type nd-neighbor-solicit")
    for hops, dropped in ((255, 0), (254, 1)):
        _icmp(within, solicited, GATEWAY, hops)
        assert _dropped(within) == dropped, hops


@pytest.mark.req("R6", "B3")
def test_a_source_to_which_another_way_leads_is_dropped_though_a_rule_admits_it(
    within: In,
) -> None:
    """Two posts of the country's own prefix, of which one has no route on the inner side."""
    elsewhere = "3fff:51:0:9::1"
    within("router", "ip", "address", "add", f"{elsewhere}/128", "dev", "lo")
    _watch(within, "tcp dport 7440")
    for source, admitted, dropped in ((POST, 1, 0), (elsewhere, 0, 1)):
        before = _counted(within, "input", "posts"), _dropped(within)
        within("router", sys.executable, "-c", KNOCK, source, NATIONAL)
        after = _counted(within, "input", "posts"), _dropped(within)
        assert tuple(map(sub, after, before)) == (admitted, dropped), source
