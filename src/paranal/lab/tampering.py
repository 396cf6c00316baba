"""What happens to single packets on the wide area: one nft table in ``wan``, read back as it is.

A rule's comment is the fault's name; the kernel is the only record. nft sees a packet when it comes
off a member's link, so once, before the relay. A packet that an attack sends from ``wan`` itself
passes by: it comes off no link.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from ipaddress import ip_address

from paranal.lab.relay import LINK_PREFIX

TABLE = "inet faults"
_CHAIN = f"{TABLE} arriving"
_HOOK = "{ type filter hook prerouting priority raw; policy accept; }"
_REQUEST = "udp dport 500 @ih,144,16 0x2208"
"""An IKE_SA_INIT request: exchange type 34, from the initiator (RFC 7296, 3.1)."""

DOWNGRADES = {
    # Octets of the request: 28 header, 4 SA payload, 8 proposal, then ENCR (12), PRF (8), KE (8).
    "version": (128, 0x2120, 0x2110),  # IKE 2.0 -> 1.0
    "transcript": (224, 0x2200, 0x2201),  # a reserved bit, which every receiver must ignore
    "cipher": (400, 0x0100, 0x0080),  # AES-256 -> AES-128
    "prf": (464, 0x0006, 0x0005),  # HMAC-SHA-384 -> HMAC-SHA-256
    "dh": (528, 0x0014, 0x0013),  # P-384 -> P-256
    "ml-kem": (592, 0x0025, 0x0000),  # ML-KEM-1024 -> none, in the profile `hybrid`
}
"""What a man in the middle edits -> (bit, what stands there, what he writes), 16 bits each.

The offsets hold for a request without a cookie and with our own order of transforms; the counters
of ``edited`` tell whether a rule found its place.
"""
_SA, _NOTIFY = 0x21, 0x29
"""The first payload of a request, and of one that brings the cookie that it was asked for."""
_FIRST = 128
"""Where the header names it: an octet, before the one of the version."""
_COOKIE = 8 * 32
"""Bits of a COOKIE notification (RFC 7296, 2.6): 8 octets and charon's 24."""


def lost(source: str, target: str) -> str:
    """Return the rule that loses what one address sends another."""
    family = _family(source)
    return f"{family} saddr {source} {family} daddr {target} counter drop"


def narrow(address: str, octets: int) -> list[str]:
    """Return the rules that lose what is longer than ``octets`` from or to an address, silently."""
    family = _family(address)
    return [
        f"{family} {end} {address} meta length > {octets} counter drop"
        for end in ("saddr", "daddr")
    ]


def edited(downgrade: str) -> list[str]:
    """Return the rules of a man in the middle who edits each IKE_SA_INIT request.

    One is for the request that a cookie makes longer: charon asks for it while a flood goes on, and
    ten seconds after.
    """
    bit, before, after = DOWNGRADES[downgrade]
    longer = _edit(_NOTIFY, bit + _COOKIE, before, after)
    if bit == _FIRST:
        other = (_NOTIFY - _SA) << 8
        longer = _edit(_NOTIFY, bit, before + other, after + other)
    return [_edit(_SA, bit, before, after), longer]


def script(rules: Iterable[tuple[str, str]]) -> str:
    """Return what adds (name, rule) pairs to the table, for ``nft -f``."""
    lines = [f"add table {TABLE}", f"add chain {_CHAIN} {_HOOK}"]
    lines += [
        f'add rule {_CHAIN} iifname "{LINK_PREFIX}*" {rule} comment "{name}"'
        for name, rule in rules
    ]
    return "\n".join(lines) + "\n"


CLEAR = f"add table {TABLE}\ndelete table {TABLE}\n"


def present(listing: str) -> dict[str, int]:
    """Return name -> packets caught so far, from ``nft --json list ruleset``."""
    found: dict[str, int] = {}
    for entry in json.loads(listing)["nftables"]:
        rule: Mapping[str, object] = entry.get("rule", {})
        if f"{rule.get('family')} {rule.get('table')}" == TABLE:
            name, expressions = str(rule["comment"]), entry["rule"]["expr"]
            caught = sum(one["counter"]["packets"] for one in expressions if "counter" in one)
            found[name] = found.get(name, 0) + int(caught)
    return found


def _edit(first: int, bit: int, before: int, after: int) -> str:
    place = f"@ih,{bit},16"
    begins = f"{_REQUEST} @ih,{_FIRST},8 {first:#04x}"
    return f"{begins} {place} {before:#06x} counter {place} set {after:#06x}"


def _family(address: str) -> str:
    return "ip6" if ip_address(address).version == 6 else "ip"
