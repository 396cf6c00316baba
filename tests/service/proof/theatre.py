"""One member's declared rules on trial: by the proof, and by the real kernel."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from paranal.agreement import load, member_view
from paranal.agreement.connections import Connection, connections
from paranal.audit.proof.claims import claims, site
from paranal.audit.proof.declared import listing, rules
from paranal.audit.proof.prove import Counterexample, Property, prove, space_of
from paranal.audit.proof.ruleset import Ruleset, read
from paranal.audit.proof.space import Packet
from paranal.audit.proof.values import TCP, TRACKED, UDP, address_text, network
from paranal.audit.proof.walk import Walk
from tests.service.proof.packets import CLIENT_PORT, Flow, Sender, as_observed, reverse, sent

ROOT = Path(__file__).parents[3]
WIRE = Path(__file__).with_name("wire.py")
SECONDS = 120
INTERFACES = ("wan", "inner", "mgmt", "ipsec0", "eth9", "lo")
Sent = tuple[str, Packet, Flow | None]
"""A way, a packet, and the flow that it is about if it is an error."""


class Compared(NamedTuple):
    """One packet at one base chain: what the kernel did, and what the model allows."""

    hook: str
    packet: Packet
    passed: bool
    model: frozenset[bool]
    by: tuple[str, ...]


@dataclass(frozen=True)
class Node:
    """Peru, with the rules that the role would load, or with a changed text."""

    view: dict[str, Any]
    text: str

    @cached_property
    def listing(self) -> dict[str, Any]:
        return listing(self.text, "test")

    @cached_property
    def connections(self) -> list[Connection]:
        return connections(self.view, {peer["code"]: "" for peer in self.view["peers"]})

    @cached_property
    def ruleset(self) -> Ruleset:
        return read(self.listing)

    def changed(self, old: str, new: str) -> Node:
        """Return the node with one text of its rules replaced; it has to be there once."""
        assert self.text.count(old) == 1, (old, self.text.count(old))
        return Node(self.view, self.text.replace(old, new))

    def broken(self) -> list[Property]:
        """Return the properties that do not hold."""
        return [each for each in prove(self.view, self.connections, self.listing) if each.broken]

    def flows(self) -> list[Flow]:
        """Return known flows: each way of every service, open or not, and the country's own."""
        member = self.view["member"]
        national = member["addresses"]["national"]
        found = [
            Flow(national, clock(self.view), UDP, CLIENT_PORT, 123),
            Flow(clock(self.view), national, TCP, CLIENT_PORT, 7440),
        ]
        for peer in self.view["peers"]:
            found.append(Flow(member["wan_address"], peer["wan_address"], UDP, 4500, 4500))
            for service in self.view["services"].values():
                ours, theirs = (each["addresses"][service["channel"]] for each in (member, peer))
                found.append(Flow(ours, theirs, TCP, CLIENT_PORT, service["port"]))
                found.append(Flow(theirs, ours, TCP, CLIENT_PORT, service["port"]))
        return found

    def addresses(self) -> dict[str, list[str]]:
        """Return the node's own addresses by interface."""
        member = self.view["member"]
        return {
            "wan": [member["wan_address"]],
            "mgmt": ["fe80::51"],
            "lo": list(member["addresses"].values()),
        }

    def draw(self, seed: int, number: int) -> list[Sent]:
        """Return that many packets to send at it, the same ones for a seed."""
        local = [address for each in self.addresses().values() for address in each]
        sender = Sender(seed, self.ruleset, self.flows(), local)
        return [sender.draw(INTERFACES) for _ in range(number)]

    def send(self, packets: Sequence[Sent], flows: Sequence[Flow]) -> list[dict[str, Any]]:
        """Send packets for real; return what ``wire.py`` saw of each."""
        member = self.view["member"]
        given = {
            "rules": [self.text],
            "addresses": self.addresses(),
            "prefixes": {
                "ipsec0": [peer["inner_prefix"] for peer in self.view["peers"]],
                "inner": [member["inner_prefix"]],
            },
            "flows": [flow._asdict() for flow in flows],
            "packets": [sent(*each) for each in packets],
        }
        done = subprocess.run(  # noqa: S603 - our own file, in a namespace of its own
            ["unshare", "--net", sys.executable, str(WIRE)],  # noqa: S607
            input=json.dumps(given),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found

    def compare(
        self, packets: Sequence[Sent], seen: Sequence[dict[str, Any]]
    ) -> Iterator[Compared]:
        """Yield both verdicts for every base chain that a packet came to."""
        here = site(self.view, self.connections)
        space = space_of(self.ruleset, here, claims(here))
        walk = Walk(self.ruleset, space)
        for (_, packet, _), one in zip(packets, seen, strict=True):
            for hook in one["before"]:
                (chain,) = self.ruleset.base(hook)
                found = as_observed(packet, hook, one)
                ends = list(walk.chain(chain, space.point(found)))
                model = frozenset(end.accepted for end in ends)
                by = tuple(sorted({each for end in ends for each in end.by}))
                yield Compared(hook, found, hook in one["after"], model, by)

    def passes(self, found: Counterexample) -> bool:
        """Send a counterexample for real, on a known flow where it needs one; tell if it passed."""
        state = next(name for name, number in TRACKED.items() if number == found.packet["tracked"])
        flows, about = [], None
        if state.startswith("established"):
            flow = flow_of(found.packet)
            flows = [flow if state.endswith("original") else reverse(flow)]
        if state.startswith("related"):
            about = related(found.packet)
            flows = [about if state.endswith("reply") else reverse(about)]
        way = "out" if found.path == "out" else "in"
        (seen,) = self.send([(way, found.packet, about)], flows)
        hook = {"in": "input", "forward": "forward", "out": "output"}[found.path]
        if hook in seen["before"]:
            assert as_observed(found.packet, hook, seen)["tracked"] == found.packet["tracked"], seen
        return hook in seen["after"]


def clock(view: dict[str, Any]) -> str:
    """Return the address of the country's time source, on its inner side."""
    ((first, _),) = network(view["member"]["inner_prefix"]).spans
    return address_text(first + 10)


def node(plane: str, agreement: str = "pacific-alliance", code: str = "pe") -> Node:
    """Return a member's node on a data plane, in a country with a service of its own."""
    view = member_view(load(ROOT / "agreement" / f"{agreement}.yml"), code)
    for member in (view["member"], *view["peers"]):
        member["data_plane"] = plane
    time = {"name": "time", "direction": "out", "interface": "inner", "address": clock(view)}
    services = [{**time, "protocol": "udp", "port": 123}]
    return Node(view, rules(view, {"firewall_national_services": services}))


def flow_of(packet: Packet) -> Flow:
    """Return the flow whose first packet this could be."""
    source, destination = (address_text(packet[each]) for each in ("source", "destination"))
    return Flow(source, destination, packet["protocol"], packet["sport"], packet["dport"])


def related(packet: Packet) -> Flow:
    """Return a flow that an error to this packet's destination can be about."""
    source, destination = (address_text(packet[each]) for each in ("destination", "source"))
    return Flow(source, destination, TCP, CLIENT_PORT, 7443)
