"""Filters of the role firewall: what an inventory may not ask of a country's own rules."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_address
from typing import Any

from paranal.messages import Refusal

# Where services of the country itself may be; never on the WAN.
INTERFACES = ("inner", "mgmt")

IP_OCTETS = {4: 20, 6: 40}
TCP_OCTETS = 20
# UDP, ESP's header, AES-GCM's nonce, most padding, ESP's trailer, AES-GCM's tag (RFC 4303, 4106).
ESP_OCTETS = 8 + 8 + 8 + 3 + 2 + 16
STEP = 20


def firewall_tunnel_mss(member: Mapping[str, Any], path_octets: int) -> int:
    """Return the largest TCP segment (octets) of which a tunnel's packet passes such a path whole.

    Rounded down to a multiple of 20. The families of ``member``'s addresses decide: 1160 for a path
    of 1280 with IPv4 outside and inside, 20 less for IPv6 on either side. IPv6 asks every link for
    1280 octets, and the tunnel's own interface keeps more than that: what is larger than the path
    is cut short here, where TCP begins, or sent in fragments outside.
    """
    outside, inside = (
        IP_OCTETS[ip_address(address).version]
        for address in (member["wan_address"], member["addresses"]["operational"])
    )
    return (path_octets - outside - ESP_OCTETS - inside - TCP_OCTETS) // STEP * STEP


def firewall_all_of(words: Iterable[str]) -> str:
    """Return a regular expression for an output that has all of these words, in any order."""
    return r"(?s)\A" + "".join(rf"(?=.*\b{re.escape(word)}\b)" for word in words)


def firewall_problems(
    view: Mapping[str, Any],
    missing: Iterable[str],
    management_sources: Sequence[str],
    national_services: Iterable[Mapping[str, Any]],
) -> list[str]:
    """Return, in the catalogue's words, why these rules are never what a country wants.

    ``missing`` are the packages that neither the node has nor role base installs in this run.
    """
    problems = _problems(view["member"]["code"], missing, management_sources, national_services)
    return [str(problem) for problem in problems]


def _problems(
    code: str,
    missing: Iterable[str],
    management_sources: Sequence[str],
    national_services: Iterable[Mapping[str, Any]],
) -> Iterator[Refusal]:
    if packages := ", ".join(missing):
        yield Refusal("PAR-0715", member=code, role="firewall", packages=packages)
    if not management_sources:
        yield Refusal("PAR-0719", member=code)
    for service in national_services:
        name, interface = service.get("name", "?"), service.get("interface", "-")
        address = str(service.get("address", "-")).strip()
        if interface not in INTERFACES:
            known = ", ".join(INTERFACES)
            yield Refusal("PAR-0720", member=code, service=name, interface=interface, known=known)
        # Without an address it would be open to everybody all the same.
        if address == "-" or address.endswith("/0"):
            yield Refusal("PAR-0721", member=code, service=name, address=address)


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "firewall_all_of": firewall_all_of,
            "firewall_problems": firewall_problems,
            "firewall_tunnel_mss": firewall_tunnel_mss,
        }
