"""Which links, addresses and routes a lab has, as plain data: no effect happens here.

Every address but the lab's own derives from the agreement: a member's WAN link is the /28 around
its ``wan_address`` with the first host as the provider's router, its inner network the /24 around
its ``national`` address, with the border post at ``.10`` (design.md, Lab). A member behind a 1:1
translation has a ``wan_local_address`` beside it, and its link is the /28 around that one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network
from typing import Any

from paranal.lab import names

HOST = "host"
"""The machine's own network namespace, as the part of a management link's near end."""
WAN_PREFIX = 28
INNER_PREFIX = 24
TRANSLATED = IPv4Network("192.0.2.0/24")
"""Where the gateways behind a 1:1 translation are (RFC 5737), a /28 each."""
POST_HOST_NUMBER = 10


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
        routes[code] = str(_first_host(_wan(member)).ip)
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
    links = TRANSLATED.subnets(new_prefix=WAN_PREFIX)
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
    """Return the second octet of the inner prefix, the country's telephone code in the lab."""
    return str(member["inner_prefix"]).split(".")[1]


def management_address(member: Mapping[str, Any]) -> str:
    """Return a node's link-local management address: ``fe80::51``."""
    return f"fe80::{telephone_code(member)}"


def _links(lab: str, code: str, member: Mapping[str, Any]) -> Iterable[Link]:
    gateway = _gateway(member)
    post = IPv4Interface((int(gateway.network.network_address) + POST_HOST_NUMBER, INNER_PREFIX))
    yield Link(
        End(names.WAN, names.wan_link(code), str(_first_host(_wan(member)))),
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


def _wan(member: Mapping[str, Any]) -> IPv4Interface:
    own = member.get("wan_local_address", member["wan_address"])
    return IPv4Interface(f"{own}/{WAN_PREFIX}")


def _gateway(member: Mapping[str, Any]) -> IPv4Interface:
    return IPv4Interface(f"{member['addresses']['national']}/{INNER_PREFIX}")


def _first_host(interface: IPv4Interface) -> IPv4Interface:
    return IPv4Interface((int(interface.network.network_address) + 1, interface.network.prefixlen))
