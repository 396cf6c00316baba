"""The packets of a precheck, as bytes: pure functions.

Each looks like what its carrier will bear later, so that a box between that reads on lets it pass
as it will let pass the real ones: on UDP port 500 an IKEv2 message of a private exchange (240) with
one vendor payload, on UDP port 4500 and as IP protocol 50 an ESP packet of a fixed SPI. Behind that
framing stands the body, in network byte order, and then zeros up to the size that is tried::

    octets
    8   magic PARANAL1
    1   carrier: 1 UDP 500, 2 UDP 4500, 3 ESP
    1   bits of the carriers by which the sender has heard its peer (1, 2, 4)
    1   1: the sender has all that it wants to know
    1   zero
    8   session of the sender, random for each run
    8   session of its peer that it heard last; zero: none
    8   its clock when it sent this (nanoseconds since 1970, signed)
    8   its peer's clock when the peer sent the last packet that was heard; zero: none
    8   its own clock when that packet came
    2   octets of the largest IP packet that it has heard from its peer
    2   path MTU that it has found towards its peer; zero: not yet
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import ip_address


class Carrier(IntEnum):
    """What a gateway's packets travel in."""

    IKE = 1
    NAT = 2
    ESP = 3

    @property
    def bit(self) -> int:
        """Its bit among those of the carriers heard."""
        return 1 << (self - 1)


PORTS = {Carrier.IKE: 500, Carrier.NAT: 4500}
"""UDP ports; ESP has none."""
MAGIC = b"PARANAL1"
NOBODY = bytes(8)
SPI = int.from_bytes(b"PARA", "big")
"""Of the ESP framing: not zero, which on port 4500 would announce IKE (RFC 3948)."""
LARGEST = 2048
"""Octets; nothing longer is read."""
_BODY = struct.Struct("!8sBBBB8s8sqqqHH")
_IKE = struct.Struct("!8s8sBBBBIIBBH")
_ESP = struct.Struct("!II")
_VENDOR, _IKEV2, _PRIVATE_EXCHANGE, _INITIATOR = 43, 0x20, 240, 0x08
_IKE_HEADER = 28


@dataclass(frozen=True)
class Message:
    """The body of one packet; clocks in nanoseconds, zero where nothing was heard yet."""

    carrier: Carrier
    session: bytes
    sent_at: int
    heard: int = 0
    settled: bool = False
    peer_session: bytes = NOBODY
    peer_sent_at: int = 0
    received_at: int = 0
    largest: int = 0
    found: int = 0


def headers(carrier: Carrier, local: str) -> int:
    """Return the octets of IP, and of UDP where there is one, before a packet's payload."""
    ip = 40 if ip_address(local).version == 6 else 20
    return ip if carrier is Carrier.ESP else ip + 8


def encode(message: Message, sequence: int, octets: int = 0) -> bytes:
    """Return a packet's payload, filled with zeros up to ``octets`` where it is shorter."""
    times = (message.sent_at, message.peer_sent_at, message.received_at)
    body = _BODY.pack(
        MAGIC,
        message.carrier,
        message.heard,
        message.settled,
        0,
        message.session,
        message.peer_session,
        *times,
        message.largest,
        message.found,
    )
    body += bytes(max(0, octets - _framing(message.carrier) - len(body)))
    if message.carrier is not Carrier.IKE:
        return _ESP.pack(SPI, sequence) + body
    vendor = 4 + len(body)
    words = (_VENDOR, _IKEV2, _PRIVATE_EXCHANGE, _INITIATOR, sequence, _IKE_HEADER + vendor)
    return _IKE.pack(message.session, NOBODY, *words, 0, 0, vendor) + body


def decode(payload: bytes, carrier: Carrier) -> Message | None:
    """Return what came by a carrier; None for anything that is no such packet, whole and exact."""
    start = _framing(carrier)
    if not start + _BODY.size <= len(payload) <= LARGEST or not _framed(payload, carrier):
        return None
    magic, number, heard, settled, zero, session, peer, *rest = _BODY.unpack_from(payload, start)
    sane = magic == MAGIC and number == carrier and session != NOBODY and heard < 8
    if not sane or settled > 1 or zero or any(payload[start + _BODY.size :]):
        return None
    return Message(carrier, session, rest[0], heard, bool(settled), peer, *rest[1:])


def _framing(carrier: Carrier) -> int:
    return _IKE.size if carrier is Carrier.IKE else _ESP.size


def _framed(payload: bytes, carrier: Carrier) -> bool:
    if carrier is not Carrier.IKE:
        return bool(_ESP.unpack_from(payload)[0] == SPI)
    _, _, following, version, exchange, _, _, length, _, _, vendor = _IKE.unpack_from(payload)
    kind = (following, version, exchange) == (_VENDOR, _IKEV2, _PRIVATE_EXCHANGE)
    return bool(kind and length == len(payload) and vendor == length - _IKE_HEADER)
