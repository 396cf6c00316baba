"""What must hold for one member, from its view and its tunnel selectors alone.

Nothing here reads a rule or the templates that make one: a claim that followed them would repeat
their mistakes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from paranal.agreement import is_open
from paranal.agreement.connections import Connection
from paranal.audit.proof import values
from paranal.audit.proof.values import FIELDS, IPV4, IPV6, TRACKED, Condition, Values, network

TUNNEL_INTERFACE = values.interface("ipsec0")
"""Where kernel-libipsec hands over what it decrypted, and takes what it is to encrypt."""

_NONE = Values.of(0)
_ORIGINAL = Values.of(TRACKED["new"], TRACKED["established original"])
_REPLY = Values.of(TRACKED["established reply"])
_RELATED = Values.of(TRACKED["related original"], TRACKED["related reply"])


class Claim(NamedTuple):
    """All packets of ``of`` that are in none of ``but`` must end as ``accepted`` says."""

    key: str
    path: str
    of: Sequence[Condition]
    but: Sequence[Condition] = ()
    given: Sequence[Condition] = ({},)
    """What charon lets through; packets outside do not occur."""
    accepted: bool = False


class Selector(NamedTuple):
    """The addresses that one CHILD_SA carries."""

    peer: str
    channel: str
    local: Values
    remote: Values


@dataclass(frozen=True)
class Site:
    """One member's half, as sets of addresses."""

    userspace: bool
    own: Values
    """The service addresses that peers may reach."""
    national: Values
    wan: int
    """Our own gateway's address."""
    ports: Values
    prefixes: Mapping[str, Values]
    """Peer -> its inner prefix."""
    gateways: Mapping[str, Values]
    """Peer -> its gateway, as ``values.gateway``."""
    incoming: Mapping[str, Sequence[Condition]]
    """Peer -> the packets of open directions that it may send us, whatever their tunnel."""
    outgoing: Mapping[str, Sequence[Condition]]
    exact: Sequence[Selector]
    """The selectors of every open channel."""
    selectors: Sequence[Selector]
    """The selectors that the connections have."""


def site(view: Mapping[str, Any], connections: Iterable[Connection]) -> Site:
    """Return a member's half from its view and its connections."""
    member, services = view["member"], view["services"]
    peers = {peer["code"]: peer for peer in view["peers"]}
    return Site(
        userspace=member["data_plane"] == "userspace",
        own=_all(network(member["addresses"][name]) for name in ("operational", "strategic")),
        national=network(member["addresses"]["national"]),
        wan=values.address(member["wan_local_address"]),
        ports=Values.of(*(service["port"] for service in services.values())),
        prefixes={code: network(peer["inner_prefix"]) for code, peer in peers.items()},
        gateways={
            code: Values.of(values.gateway(peer["wan_address"])) for code, peer in peers.items()
        },
        incoming={code: list(_flows(member, peer, services, True)) for code, peer in peers.items()},
        outgoing={
            code: list(_flows(member, peer, services, False)) for code, peer in peers.items()
        },
        exact=[
            Selector(code, channel, *_ends(member, peer, channel))
            for code, peer in peers.items()
            for channel in peer["pair"]["channels"]
        ],
        selectors=[
            Selector(one["peer"], channel, _all(map(network, local)), _all(map(network, remote)))
            for one in connections
            for channel, child in one["config"].get("children", {}).items()
            for local, remote in [(child["local_ts"], child["remote_ts"])]
        ],
    )


def _all(sets: Iterable[Values]) -> Values:
    return Values.union(span for each in sets for span in each.spans)


def _ends(
    member: Mapping[str, Any], peer: Mapping[str, Any], channel: str
) -> tuple[Values, Values]:
    return network(member["addresses"][channel]), network(peer["addresses"][channel])


def _flows(
    member: Mapping[str, Any],
    peer: Mapping[str, Any],
    services: Mapping[str, Mapping[str, Any]],
    incoming: bool,
) -> Iterable[Condition]:
    """Yield what may pass between a peer and us in one direction of travel."""
    for name, service in services.items():
        for status, asked in ((peer["asks"][name], True), (peer["answers"][name], False)):
            # A question travels to the answerer's port, its answer from there.
            question = asked != incoming
            if is_open(status):
                yield {
                    **_between(member, peer, service["channel"], incoming),
                    "protocol": Values.of(values.TCP),
                    "dport" if question else "sport": Values.of(service["port"]),
                    "tracked": _ORIGINAL if question else _REPLY,
                }
    for channel in peer["pair"]["channels"]:
        ends = _between(member, peer, channel, incoming)
        # RFC 1191 and RFC 8201: the one error that path MTU discovery needs.
        needs_fragmentation: Condition = {
            "protocol": Values.of(values.ICMP),
            "icmp_type": Values.of(3),
            "icmp_code": Values.of(4),
        }
        too_big: Condition = {
            "protocol": Values.of(values.ICMPV6),
            "icmp_type": Values.of(2),
        }
        error = needs_fragmentation if ends["source"] & IPV4 == ends["source"] else too_big
        yield {**ends, **error, "tracked": _RELATED}


def _between(
    member: Mapping[str, Any], peer: Mapping[str, Any], channel: str, incoming: bool
) -> dict[str, Values]:
    ours, theirs = _ends(member, peer, channel)
    source, destination = (theirs, ours) if incoming else (ours, theirs)
    return {"source": source, "destination": destination}


def claims(here: Site) -> list[Claim]:
    """Return every claim about the rules of a member."""
    return [
        *_clear(here, incoming=True),
        *_foreign(here, incoming=True),
        *_closed(here, incoming=True),
        _forward(here),
        *_clear(here, incoming=False),
        *_foreign(here, incoming=False),
        *_closed(here, incoming=False),
        *_open(here),
    ]


def _ways(incoming: bool) -> tuple[str, str, str]:
    """Return the path, the interface and the tunnel that a direction of travel looks at."""
    return ("in", "iif", "decrypted") if incoming else ("out", "oif", "encrypted")


def _outside(here: Site, incoming: bool) -> Condition:
    """Return what is on a wire in the clear; the loopback is none."""
    _, interface, tunnel = _ways(incoming)
    inside = Values.of(values.interface("lo"))
    inside |= Values.of(TUNNEL_INTERFACE) if here.userspace else Values(())
    return {interface: values.NAMES - inside, tunnel: _NONE}


def _tunnelled(here: Site, incoming: bool, gateways: Values | None = None) -> Condition:
    """Return what is in a tunnel, of any gateway or of these."""
    _, interface, tunnel = _ways(incoming)
    if here.userspace:
        where, known = Values.of(TUNNEL_INTERFACE), _all(here.gateways.values())
    else:
        where, known = values.NAMES - Values.of(values.interface("lo")), values.GATEWAYS
    return {interface: where, tunnel: known if gateways is None else gateways}


def _forward(here: Site) -> Claim:
    """(a) and (b), through this node: nothing passes, whatever it is."""
    arrives, leaves = (
        (_outside(here, incoming), _tunnelled(here, incoming)) for incoming in (True, False)
    )
    return Claim("forward", "forward", [{**one, **other} for one in arrives for other in leaves])


def _clear(here: Site, *, incoming: bool) -> Iterable[Claim]:
    """(a) and (b): nothing of the alliance in the clear, whatever else it claims to be."""
    path, _, _ = _ways(incoming)
    wire = _outside(here, incoming)
    far, near = ("source", "destination") if incoming else ("destination", "source")
    of: list[Condition] = [
        {**wire, near: here.own},
        {**wire, far: _all(here.prefixes.values())},
    ]
    if incoming:
        # An answer to what this node asked for itself reaches no listener, whatever its port.
        asks = {
            "destination": FIELDS["destination"] - here.national,
            "protocol": Values.of(values.TCP),
            "dport": here.ports,
            "tracked": FIELDS["tracked"] - _REPLY,
        }
        of.append({**wire, **asks})
    yield Claim(f"clear-{path}", path, of)


def _foreign(here: Site, *, incoming: bool) -> Iterable[Claim]:
    """(a) and (b): no member's address in the tunnel of another.

    On the userspace plane nft sees one interface for all tunnels, so that it is charon's own check
    of every packet against its selectors that is taken as given (docs/proof.md).
    """
    path, _, tunnel = _ways(incoming)
    far, near = ("source", "destination") if incoming else ("destination", "source")
    of: list[Condition] = []
    for code, own in here.gateways.items():
        others = _all(prefix for peer, prefix in here.prefixes.items() if peer != code)
        of.append({**_tunnelled(here, incoming, own), far: others})
    if not here.userspace:
        undeclared = values.GATEWAYS - _all(here.gateways.values())
        of.append(_tunnelled(here, incoming, undeclared))
        yield Claim(f"foreign-{path}", path, of)
        return
    given = [
        {tunnel: here.gateways[each.peer], near: each.local, far: each.remote}
        for each in here.selectors
    ]
    yield Claim(f"foreign-{path}", path, of, given=given)


def _closed(here: Site, *, incoming: bool) -> Iterable[Claim]:
    """(a) and (b): in a tunnel only what an open direction needs, by nft alone."""
    path, _, tunnel = _ways(incoming)
    but: list[Condition] = []
    for code, own in here.gateways.items():
        seen = {} if here.userspace else {tunnel: own}
        but += [{**flow, **seen} for flow in _open_flows(here, incoming)[code]]
    yield Claim(f"closed-{path}", path, [_tunnelled(here, incoming)], but)


def _open_flows(here: Site, incoming: bool) -> Mapping[str, Sequence[Condition]]:
    return here.incoming if incoming else here.outgoing


def _open(here: Site) -> Iterable[Claim]:
    """The control: rules that let nothing pass at all would keep every other claim."""
    for incoming in (True, False):
        path, _, _ = _ways(incoming)
        of = [
            {**flow, **_tunnelled(here, incoming, own), "return_path": Values.of(1)}
            for code, own in here.gateways.items()
            for flow in _open_flows(here, incoming)[code]
        ]
        yield Claim(f"open-{path}", path, of, accepted=True)


def ordinary(here: Site, path: str) -> dict[str, list[int]]:
    """Return the addresses that a person expects in an example of this path."""
    if path == "forward":
        return {}
    near = [*(first for first, _ in here.own.spans), here.wan]
    far = [first for each in here.exact for first, _ in each.remote.spans]
    source, destination = (near, far) if path == "out" else (far, near)
    return {"source": source, "destination": destination}


def on_path(path: str) -> list[Condition]:
    """Return what is true of every packet on a path: one family, and the interfaces it has."""
    way: dict[str, Condition] = {
        "in": {"iif": values.NAMES, "oif": _NONE, "encrypted": _NONE},
        "forward": {"iif": values.NAMES, "oif": values.NAMES},
        "out": {"iif": _NONE, "oif": values.NAMES, "decrypted": _NONE},
    }
    return [{**way[path], "source": family, "destination": family} for family in (IPV4, IPV6)]
