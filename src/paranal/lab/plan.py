"""Which links, addresses and routes a lab has, as plain data: no effect happens here.

Every address but the lab's own derives from the agreement: a member's WAN link is the /28 (IPv6:
/64) around its ``wan_address`` with the first host as the provider's router, its inner network the
/24 (IPv6: /64) around its ``national`` address, with the border post at the tenth (design.md, Lab).
A member behind a 1:1 translation has a ``wan_local_address`` beside it, and its link is the /28
around that one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, ip_interface
from typing import Any

from paranal.lab import names

HOST = "host"
"""The machine's own network namespace, as the part of a management link's near end."""
WAN_PREFIX = {4: 28, 6: 64}
INNER_PREFIX = {4: 24, 6: 64}
TRANSLATED = IPv4Network("192.0.2.0/24")
"""Where the gateways behind a 1:1 translation are (RFC 5737), a /28 each; IPv6 has none."""
ROUTER_HOST_NUMBER = 1
POST_HOST_NUMBER = 10

Interface = IPv4Interface | IPv6Interface


@dataclass(frozen=True)
class End:
    """One end of a link: where it is plugged in, its name there, and its address with prefix."""

    part: str
    interface: str
    address: str


@dataclass(frozen=True)
class Link:
    """A veth pair."""

    near: End
    far: End

    def touches(self, part: str) -> bool:
        """Tell whether one end is plugged into ``part``."""
        return part in (self.near.part, self.far.part)


@dataclass(frozen=True)
class Translation:
    """A 1:1 translation by the provider: ``public`` outside is ``local`` on the member's link."""

    member: str
    link: str
    public: str
    local: str


@dataclass(frozen=True)
class Plan:
    """The whole wiring of a lab; ``routes`` maps a part to its default gateway."""

    links: tuple[Link, ...]
    routes: Mapping[str, str]
    translations: tuple[Translation, ...] = ()

    def touching(self, part: str) -> Plan:
        """Return the links plugged into one part, and the routes of both their ends."""
        links = tuple(link for link in self.links if link.touches(part))
        ends = {end.part for link in links for end in (link.near, link.far)}
        routes = {key: value for key, value in self.routes.items() if key in ends}
        return Plan(links, routes, tuple(t for t in self.translations if t.member in ends))


def wiring(lab: str, members: Mapping[str, Mapping[str, Any]]) -> Plan:
    """Return the plan of lab ``lab`` for ``members``: code -> the agreement's entry of a member."""
    links: list[Link] = []
    routes: dict[str, str] = {}
    for code, member in sorted(members.items()):
        links += _links(lab, code, member)
        routes[code] = str(_host(_wan(member), ROUTER_HOST_NUMBER).ip)
        routes[names.border(code)] = str(_gateway(member).ip)
    return Plan(tuple(links), routes, tuple(_translations(members)))


def placed(
    members: Mapping[str, Mapping[str, Any]], facts: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Return the agreement's entry of each member in the lab, with what the lab adds to it."""
    added = {code: fact.get("wan_local_address") for code, fact in facts.items()}
    return {
        code: {**members[code], **({"wan_local_address": local} if local else {})}
        for code, local in added.items()
    }


def local_addresses(members: Iterable[str]) -> dict[str, str]:
    """Return the address behind the translation of each member that is to have one."""
    links = TRANSLATED.subnets(new_prefix=WAN_PREFIX[4])
    return {code: str(link[2]) for code, link in zip(sorted(members), links, strict=False)}


def translation_rules(translations: Sequence[Translation]) -> str:
    """Return the provider's nft rules: inside ``wan`` only the agreement's addresses are seen.

    Stateless, each way where a packet enters the member's link (before the rules of faults) or
    leaves it, so that what the lab parts and counts in between goes by the agreement's addresses.
    """
    arriving = "".join(
        f'    iifname "{each.link}" ip saddr {each.local} ip saddr set {each.public}\n'
        for each in translations
    )
    leaving = "".join(
        f'    oifname "{each.link}" ip daddr {each.public} ip daddr set {each.local}\n'
        for each in translations
    )
    return (
        "table ip translation\ndelete table ip translation\ntable ip translation {\n"
        "  chain arriving {\n    type filter hook prerouting priority raw - 10;\n"
        f"{arriving}  }}\n"
        "  chain leaving {\n    type filter hook postrouting priority raw;\n"
        f"{leaving}  }}\n}}\n"
    )


def telephone_code(member: Mapping[str, Any]) -> str:
    """Return the inner prefix's second part, the country's telephone code in the lab.

    An octet of ``10.51.0.0/16``, a group of ``3fff:51::/48``.
    """
    return re.split(r"[.:]", str(member["inner_prefix"]))[1]


def management_address(member: Mapping[str, Any]) -> str:
    """Return a node's link-local management address: ``fe80::51``."""
    return f"fe80::{telephone_code(member)}"


def _links(lab: str, code: str, member: Mapping[str, Any]) -> Iterable[Link]:
    gateway = _gateway(member)
    post = _host(gateway, POST_HOST_NUMBER)
    yield Link(
        End(names.WAN, names.wan_link(code), str(_host(_wan(member), ROUTER_HOST_NUMBER))),
        End(code, "wan", str(_wan(member))),
    )
    yield Link(
        End(code, "inner", str(gateway)),
        End(names.border(code), "inner", str(post)),
    )
    yield Link(
        End(HOST, names.host_link(lab, code), "fe80::1/64"),
        End(code, "mgmt", f"{management_address(member)}/64"),
    )


def _translations(members: Mapping[str, Mapping[str, Any]]) -> Iterable[Translation]:
    for code, member in sorted(members.items()):
        if local := member.get("wan_local_address"):
            yield Translation(code, names.wan_link(code), member["wan_address"], local)


def _wan(member: Mapping[str, Any]) -> Interface:
    return _interface(member.get("wan_local_address", member["wan_address"]), WAN_PREFIX)


def _gateway(member: Mapping[str, Any]) -> Interface:
    return _interface(member["addresses"]["national"], INNER_PREFIX)


def _interface(address: str, lengths: Mapping[int, int]) -> Interface:
    return ip_interface(f"{address}/{lengths[ip_interface(address).version]}")


def _host(beside: Interface, number: int) -> Interface:
    """Return the host of that number in the network of ``beside``."""
    network = beside.network
    return ip_interface(f"{network[number]}/{network.prefixlen}")
