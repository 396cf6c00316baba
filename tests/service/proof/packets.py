"""Packets for the real kernel: whole headers as bytes, and random ones that lie on boundaries."""

from __future__ import annotations

import random
import struct
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from paranal.audit.proof import values
from paranal.audit.proof.ruleset import Rule, Ruleset
from paranal.audit.proof.space import Packet
from paranal.audit.proof.values import FIELDS, IPV4, IPV6, Values, address_text, interface_name
from paranal.lab import packets

CLIENT_PORT = 40000
ACK = 16
NEIGHBOUR = values.address("fe80::1")


class Flow(NamedTuple):
    """One connection as its first packet has it; addresses as texts."""

    source: str
    destination: str
    protocol: int
    sport: int
    dport: int


def reverse(flow: Flow) -> Flow:
    """Return the flow that was begun at the other end."""
    return Flow(flow.destination, flow.source, flow.protocol, flow.dport, flow.sport)


def header(source: int, destination: int, protocol: int, hops: int, payload: bytes) -> bytes:
    """Return a packet of either family; addresses as places on the line."""
    return packets.ip(address_text(source), address_text(destination), protocol, payload, hops)


def transport(packet: Packet, about: Flow | None) -> bytes:
    """Return what follows the address header; ``about`` is the flow that an ICMP error is about."""
    protocol = packet["protocol"]
    if protocol in (values.TCP, values.UDP) and values.NO_PORT in (
        packet["sport"],
        packet["dport"],
    ):
        return b""
    ports = struct.pack("!HH", packet["sport"] & 0xFFFF, packet["dport"] & 0xFFFF)
    if protocol == values.TCP:
        flags = packet["tcp_flags"] & 0xFF
        return ports + struct.pack("!IIBBHHH", 1, 1, 5 << 4, flags, 1024, 0, 0)
    if protocol == values.UDP:
        return ports + struct.pack("!HH", 8, 0)
    if protocol in (values.ICMP, values.ICMPV6):
        if values.NO_OCTET in (packet["icmp_type"], packet["icmp_code"]):
            return b""
        start = struct.pack("!BBHI", packet["icmp_type"], packet["icmp_code"], 0, 1280)
        return start + (quoted(about) if about else bytes(28))
    return bytes(16)


def quoted(flow: Flow) -> bytes:
    """Return the head of a flow's packet, as an ICMP error carries it."""
    ports = struct.pack("!HHI", flow.sport, flow.dport, 0) + bytes(12)
    ends = values.address(flow.source), values.address(flow.destination)
    return header(*ends, flow.protocol, 64, ports)


def whole(packet: Packet, about: Flow | None = None) -> bytes:
    """Return a packet of the model as bytes."""
    payload = transport(packet, about)
    hops = packet["hops"]
    return header(packet["source"], packet["destination"], packet["protocol"], hops, payload)


class Sender:
    """Draws packets: most of them near a rule, so that every rule is hit and just missed."""

    def __init__(
        self, seed: int, ruleset: Ruleset, flows: Sequence[Flow], local: Sequence[str]
    ) -> None:
        """Remember what is worth aiming at; ``local`` are the node's own addresses."""
        self.random = random.Random(seed)  # noqa: S311 - not a secret: the same packets every time
        self.rules = [
            rule
            for chain in ruleset.chains.values()
            for rule in chain.rules
            if rule.verdict and all(each.spans for each in rule.condition.values())
        ]
        self.flows = [*flows, *map(reverse, flows)]
        self.meant = {
            str(rule): [flow for flow in self.flows if _meets(flow, rule)] for rule in self.rules
        }
        self.local = [values.address(each) for each in local]
        self.pools = {name: self._pool(name) for name in FIELDS}
        self.allowed: dict[tuple[str, Values], list[int]] = {}

    def _pool(self, field: str) -> list[int]:
        """Return the edges of every set that a rule names, and what lies just outside them."""
        edges = {
            edge
            for rule in self.rules
            for first, last in rule.condition.get(field, Values(())).spans
            for edge in (first - 1, first, last, last + 1)
            if edge in FIELDS[field]
        }
        return sorted(edges)

    def draw(self, interfaces: Sequence[str]) -> tuple[str, Packet, Flow | None]:
        """Return a way, a packet, and the flow that it is about if it is an error."""
        rule = self.random.choice(self.rules) if self.random.random() < 0.8 else None
        way = self._way(rule)
        family = self._family(rule)
        packet = {name: self._value(name, rule, family) for name in FIELDS}
        interface = "oif" if way == "out" else "iif"
        known = [values.interface(name) for name in interfaces]
        if packet[interface] not in known:
            packet[interface] = self.random.choice(known)
        for name in self.random.sample(sorted(FIELDS), self.random.choice((0, 0, 1, 1, 2))):
            if name not in ("iif", "oif", "source", "destination"):
                packet[name] = self._value(name, None, family)
        # Anything may come in; what is for nobody here does not get as far as input.
        if way == "in" and not (rule and "destination" in rule.condition):
            here = [each for each in self.local if each in family]
            packet["destination"] = self.random.choice([packet["destination"], *here])
        if way == "in" and family == IPV6 and not (rule and "source" in rule.condition):
            packet["source"] = self.random.choice([packet["source"], NEIGHBOUR])
        # Connection tracking calls most combinations of flags invalid.
        if self.random.random() < 0.5:
            packet["tcp_flags"] = ACK
        about = None
        if self.random.random() < 0.5:
            about = self._along(packet, rule)
        return way, packet, about

    def _way(self, rule: Rule | None) -> str:
        if rule and {"oif", "encrypted"} & rule.condition.keys():
            return "out"
        if rule and {"iif", "decrypted"} & rule.condition.keys():
            return "in"
        return self.random.choice(("in", "out"))

    def _family(self, rule: Rule | None) -> Values:
        for name in ("source", "destination"):
            if rule and name in rule.condition:
                allowed = [each for each in (IPV4, IPV6) if (rule.condition[name] & each).spans]
                return self.random.choice(allowed)
        return self.random.choice((IPV4, IPV4, IPV6))

    def _value(self, field: str, rule: Rule | None, family: Values) -> int:
        allowed = FIELDS[field]
        if field in ("source", "destination"):
            allowed = allowed & family
        if rule and field in rule.condition and (rule.condition[field] & allowed).spans:
            allowed = allowed & rule.condition[field]
        if (field, allowed) not in self.allowed:
            self.allowed[field, allowed] = [one for one in self.pools[field] if one in allowed]
        pool = self.allowed[field, allowed]
        if field in ("sport", "dport") and CLIENT_PORT in allowed and self.random.random() < 0.5:
            return CLIENT_PORT
        if pool and self.random.random() < 0.7:
            return self.random.choice(pool)
        first, last = self.random.choice(allowed.spans)
        return self.random.randint(first, last)

    def _along(self, packet: dict[str, int], rule: Rule | None) -> Flow | None:
        """Put the packet on a flow that is known, either way; an error is about one."""
        flow = self.random.choice((rule and self.meant[str(rule)]) or self.flows)
        ends = [values.address(flow.source), values.address(flow.destination)]
        if (ends[0] in IPV4) != (packet["source"] in IPV4):
            return None
        if packet["protocol"] in (values.ICMP, values.ICMPV6):
            packet["destination"] = ends[0]
            if self.random.random() < 0.7:
                packet["source"] = ends[1]
            return flow
        if packet["protocol"] == flow.protocol and self.random.random() < 0.7:
            packet["source"], packet["destination"] = ends
            packet["sport"], packet["dport"] = flow.sport, flow.dport
        return None


def _meets(flow: Flow, rule: Rule) -> bool:
    """Tell whether a flow's packet, or an error about it, has a rule's addresses and ports."""
    wanted = rule.condition
    seen = {
        "source": values.address(flow.source),
        "destination": values.address(flow.destination),
        "protocol": flow.protocol,
        "sport": flow.sport,
        "dport": flow.dport,
    }
    if "icmp_type" in wanted:
        seen = {"source": seen["destination"], "destination": seen["source"]}
    return all(seen[name] in wanted[name] for name in seen.keys() & wanted.keys())


def sent(way: str, packet: Packet, about: Flow | None) -> dict[str, Any]:
    """Return a packet as ``wire.py`` takes it."""
    interface = interface_name(packet["oif" if way == "out" else "iif"])
    return {"way": way, "interface": interface, "bytes": whole(packet, about).hex()}


def as_observed(packet: Packet, hook: str, seen: Mapping[str, Any]) -> dict[str, int]:
    """Return the packet with what only the kernel could say of it at a hook."""
    interface = values.interface(seen["before"][hook])
    found = {**packet, "decrypted": 0, "encrypted": 0, "return_path": int(seen["way_back"])}
    found["iif"], found["oif"] = (0, interface) if hook == "output" else (interface, 0)
    state = seen["states"][0] if seen["states"] else "untracked"
    if state in ("established", "related"):
        state = f"{state} {seen['direction']}"
    found["tracked"] = values.TRACKED[state]
    payload = packet["protocol"] in (values.TCP, values.UDP)
    if payload and values.NO_PORT in (packet["sport"], packet["dport"]):
        found |= {"sport": values.NO_PORT, "dport": values.NO_PORT, "tcp_flags": values.NO_OCTET}
    if values.NO_OCTET in (packet["icmp_type"], packet["icmp_code"]):
        found |= {"icmp_type": values.NO_OCTET, "icmp_code": values.NO_OCTET}
    return found
