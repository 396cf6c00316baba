"""Packets that no honest gateway sends, as bytes: pure functions of their arguments and a seed.

Standard library only: the lab copies this file into its ``wan`` container. Every builder serves
IPv4 and IPv6 alike; which one is told by the addresses.
"""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address

IKE_PORT, NAT_PORT = 500, 4500
NON_ESP = bytes(4)
"""Marks IKE among ESP on port 4500 (RFC 3948)."""
MTU = 1500
_IKE = struct.Struct("!8s8sBBBBII")
_IKEV2, _SA_INIT, _INITIATOR = 0x20, 34, 0x08
_SA, _KE, _NONCE, _VENDOR = 33, 34, 40, 43
# The agreed `classic` suite: a stranger's proposal would be refused before it costs anything.
_TRANSFORMS = bytes.fromhex("0300000c01000014800e010003000008020000060000000804000014")
_PROPOSAL = struct.pack("!BBHBBBB", 0, 0, 8 + len(_TRANSFORMS), 1, 1, 0, 3) + _TRANSFORMS
_P384 = 20
# The curve's own generator (SEC 2): a valid public value, so that the responder computes with it.
_POINT = bytes.fromhex(
    "aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab7"
    "3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5f"
)


def udp(source: str, target: str, ports: tuple[int, int], payload: bytes) -> bytes:
    """Return a UDP datagram as a whole IP packet, checksum and all; it may be longer than MTU."""
    head = struct.pack("!HHH", *ports, 8 + len(payload))
    check = _transport(source, target, socket.IPPROTO_UDP, head + bytes(2) + payload) or 0xFFFF
    return ip(source, target, socket.IPPROTO_UDP, head + struct.pack("!H", check) + payload)


def tcp(
    source: str,
    target: str,
    ports: tuple[int, int],
    numbers: tuple[int, int],
    flags: int,
    payload: bytes = b"",
) -> bytes:
    """Return a TCP segment as a whole IP packet, checksum and all.

    ``numbers`` are its sequence and its acknowledgement, ``flags`` the octet that has RST in it.
    """
    head = struct.pack("!HHIIBBH", *ports, *numbers, 5 << 4, flags, 1024)
    check = _transport(source, target, socket.IPPROTO_TCP, head + bytes(4) + payload)
    return ip(source, target, socket.IPPROTO_TCP, head + struct.pack("!HH", check, 0) + payload)


def ip(source: str, target: str, protocol: int, content: bytes, hops: int = 64) -> bytes:
    """Return an IP packet with anything in it."""
    addresses = ip_address(source).packed + ip_address(target).packed
    return _packet(addresses, protocol, content, hops=hops)


def esp(source: str, target: str, spi: str, sequence: int) -> bytes:
    """Return an ESP packet that nobody encrypted; ``spi`` is eight hexadecimal digits."""
    content = bytes.fromhex(spi) + struct.pack("!I", sequence) + bytes(48)
    return ip(source, target, socket.IPPROTO_ESP, content)


def fragments(packet: bytes, size: int = 1400, number: int = 1) -> list[bytes]:
    """Cut a packet into IP fragments with ``size`` octets of content, a multiple of eight."""
    content = packet[_header(packet) :]
    starts = range(0, len(content), size)
    return [
        fragment(packet, at, content[at : at + size], more=at + size < len(content), number=number)
        for at in starts
    ]


def fragment(packet: bytes, at: int, content: bytes, *, more: bool, number: int) -> bytes:
    """Return one fragment of ``packet``: ``content`` at offset ``at``, true or not."""
    place = at // 8
    if packet[0] >> 4 == 4:
        flags = (0x2000 if more else 0) | (place & 0x1FFF)
        return _packet(packet[12:20], packet[9], content, (number & 0xFFFF, flags))
    kind = packet[40] if packet[6] == socket.IPPROTO_FRAGMENT else packet[6]
    extension = struct.pack("!BxHI", kind, (place << 3 & 0xFFF8) | more, number)
    return _packet(packet[8:40], socket.IPPROTO_FRAGMENT, extension + content)


def ike_sa_init(chance: random.Random, padding: int = 0) -> bytes:
    """Return a well-formed IKE_SA_INIT request of the agreed suite, of a stranger each time.

    ``padding`` octets stand in a vendor's payload at its end.
    """
    payloads = (
        (_SA, _PROPOSAL),
        (_KE, struct.pack("!HH", _P384, 0) + _POINT),
        (_NONCE, chance.randbytes(32)),
        *([(_VENDOR, bytes(padding))] if padding else ()),
    )
    return _message(chance.randbytes(8), payloads)


def malformed(seed: int, count: int) -> Iterator[tuple[str, int, bytes]]:
    """Yield (case, port, UDP payload): the same corpus for the same seed, each case in turn."""
    for number in range(count):
        chance = random.Random(f"{seed}/{number}")  # noqa: S311 - repeatable, not secret
        name = list(_CASES)[number % len(_CASES)]
        payload = _CASES[name](chance)
        if name == "random ESP":
            yield name, NAT_PORT, payload
        elif number // len(_CASES) % 2:
            yield name, NAT_PORT, NON_ESP + payload
        else:
            yield name, IKE_PORT, payload


def broken_fragments(source: str, target: str, seed: int) -> Iterator[tuple[str, list[bytes]]]:
    """Yield (case, IP packets) of one IKE_SA_INIT each; the first three can be put together."""
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret

    def request(size: int = 1240) -> list[bytes]:
        message = ike_sa_init(chance, 3000 if size > 1000 else 0)
        packet = udp(source, target, (IKE_PORT, IKE_PORT), message)
        return fragments(packet, size, chance.getrandbits(32))

    yield "in order", request()
    yield "out of order", request()[::-1]
    yield "tiny", request(8)
    yield "incomplete", request()[:-1]
    first, *others = request()
    # Some octets of the datagram twice, with other content: whose would count?
    forged = fragment(first, 8, bytes(1240), more=True, number=_number(first))
    yield "overlapping", [first, forged, *others]
    first, *others = request()
    beyond = fragment(first, 0xFFF8, bytes(64), more=False, number=_number(first))
    yield "beyond the end", [first, *others[:-1], beyond]


def _message(spi: bytes, payloads: Sequence[tuple[int, bytes]]) -> bytes:
    body = b""
    for (_, content), following in zip(payloads, [*(t for t, _ in payloads[1:]), 0], strict=True):
        body += struct.pack("!BBH", following, 0, 4 + len(content)) + content
    kind = payloads[0][0]
    total = _IKE.size + len(body)
    return _IKE.pack(spi, bytes(8), kind, _IKEV2, _SA_INIT, _INITIATOR, 0, total) + body


def _patched(message: bytes, at: int, value: bytes) -> bytes:
    return message[:at] + value + message[at + len(value) :]


def _truncated(chance: random.Random) -> bytes:
    message = ike_sa_init(chance)
    return message[: chance.randrange(5, len(message))]


def _oversized(chance: random.Random) -> bytes:
    message = ike_sa_init(chance) + chance.randbytes(chance.randrange(1000, 30000))
    return _patched(message, 24, struct.pack("!I", len(message)))


def _wrong_version(chance: random.Random) -> bytes:
    return _patched(ike_sa_init(chance), 17, bytes([chance.choice((0x00, 0x10, 0x30, 0xF0))]))


def _critical_payload(chance: random.Random) -> bytes:
    unknown = struct.pack("!BBH", 0, 0x80, 12) + chance.randbytes(8)
    message = ike_sa_init(chance)
    nonce = len(message) - 36
    message = _patched(message, nonce, bytes([chance.randrange(60, 128)])) + unknown
    return _patched(message, 24, struct.pack("!I", len(message)))


def _zero_spi(chance: random.Random) -> bytes:
    return _patched(ike_sa_init(chance), 0, bytes(8))


def _length_lie(chance: random.Random) -> bytes:
    message = ike_sa_init(chance)
    # Of the message, the SA payload, the proposal, a transform, the key exchange.
    at, width = chance.choice(((24, 4), (30, 2), (34, 2), (42, 2), (70, 2)))
    lie = chance.choice((0, 1, 3, 0x7FFF, 0xFFFF, chance.randrange(0x10000)))
    return _patched(message, at, lie.to_bytes(width, "big"))


def _flipped(chance: random.Random) -> bytes:
    message = bytearray(ike_sa_init(chance))
    for _ in range(chance.randrange(1, 20)):
        message[chance.randrange(len(message))] ^= 1 << chance.randrange(8)
    return bytes(message)


def _random(chance: random.Random) -> bytes:
    return b"\xff" + chance.randbytes(chance.randrange(4, 1200))


_CASES: dict[str, Callable[[random.Random], bytes]] = {
    "truncated": _truncated,
    "oversized": _oversized,
    "wrong version": _wrong_version,
    "critical payload": _critical_payload,
    "zero SPI": _zero_spi,
    "length lie": _length_lie,
    "bits flipped": _flipped,
    "random IKE": _random,
    "random ESP": _random,
}


def _packet(
    addresses: bytes,
    protocol: int,
    content: bytes,
    place: tuple[int, int] = (0, 0),
    hops: int = 64,
) -> bytes:
    if len(addresses) == 32:
        return struct.pack("!IHBB", 0x60000000, len(content), protocol, hops) + addresses + content
    head = struct.pack(
        "!BBHHHBBH", 0x45, 0, min(20 + len(content), 0xFFFF), *place, hops, protocol, 0
    )
    check = struct.pack("!H", _checksum(head + addresses))
    return head[:10] + check + addresses + content


def _transport(source: str, target: str, protocol: int, content: bytes) -> int:
    """Return the checksum of what an IP packet carries, with the addresses in it."""
    addresses = ip_address(source).packed + ip_address(target).packed
    return _checksum(addresses + struct.pack("!IxxxB", len(content), protocol) + content)


def _header(packet: bytes) -> int:
    return 20 if packet[0] >> 4 == 4 else 40


def _number(packet: bytes) -> int:
    """Return the identification of a fragment."""
    place = slice(4, 6) if packet[0] >> 4 == 4 else slice(44, 48)
    return int.from_bytes(packet[place], "big")


def _checksum(data: bytes) -> int:
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
