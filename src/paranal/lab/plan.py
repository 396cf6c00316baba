"""Which links, addresses and routes a lab has, as plain data: no effect happens here.

Every address but the lab's own derives from the agreement: a member's WAN link is the /28 around
its ``wan_address`` with the first host as the provider's router, its inner network the /24 around
its ``national`` address, with the border post at ``.10`` (design.md, Lab).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Interface
from typing import Any

from paranal.lab import names

HOST = "host"
"""The machine's own network namespace, as the part of a management link's near end."""
WAN_PREFIX = 28
INNER_PREFIX = 24
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
class Plan:
    """The whole wiring of a lab; ``routes`` maps a part to its default gateway."""

    links: tuple[Link, ...]
    routes: Mapping[str, str]

    def touching(self, part: str) -> Plan:
        """Return the links plugged into one part, and the routes of both their ends."""
        links = tuple(link for link in self.links if link.touches(part))
        ends = {end.part for link in links for end in (link.near, link.far)}
        return Plan(links, {key: value for key, value in self.routes.items() if key in ends})


def wiring(lab: str, members: Mapping[str, Mapping[str, Any]]) -> Plan:
    """Return the plan of lab ``lab`` for ``members``: code -> the agreement's entry of a member."""
    links: list[Link] = []
    routes: dict[str, str] = {}
    for code, member in sorted(members.items()):
        links += _links(lab, code, member)
        routes[code] = str(_first_host(_wan(member)).ip)
        routes[names.border(code)] = str(_gateway(member).ip)
    return Plan(tuple(links), routes)


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


def _wan(member: Mapping[str, Any]) -> IPv4Interface:
    return IPv4Interface(f"{member['wan_address']}/{WAN_PREFIX}")


def _gateway(member: Mapping[str, Any]) -> IPv4Interface:
    return IPv4Interface(f"{member['addresses']['national']}/{INNER_PREFIX}")


def _first_host(interface: IPv4Interface) -> IPv4Interface:
    return IPv4Interface((int(interface.network.network_address) + 1, interface.network.prefixlen))
