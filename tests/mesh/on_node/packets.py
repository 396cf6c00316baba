"""Numbered packets through a tunnel, past nft on both sides: ``send`` them, or ``receive``.

nft lets through what the agreement opens and nothing that could be counted packet by packet, so
they are put onto the tunnel's own device and taken from it there. Given: ``send`` or ``receive``
(the device), ``source``, ``target`` and ``file``, to which it writes JSON over and over: how many
were sent; or, from the moment it listens, ``came`` (how many different ones) and ``missing`` (the
numbers of others before the last that came).
"""

import json
import socket
import struct
import sys
import time
from ipaddress import ip_address
from pathlib import Path
from typing import Any

EVERY_SECONDS = 0.02
IPV4, IPV6, ALL = 0x0800, 0x86DD, 0x0003
MARK = b"numbered"


def packet(source: str, target: str, number: int) -> tuple[int, bytes]:
    """Return the kind and the octets of one UDP packet to port 9."""
    addresses = ip_address(source).packed + ip_address(target).packed
    payload = MARK + struct.pack("!Q", number)
    udp = struct.pack("!HHHH", 9, 9, 8 + len(payload), 0) + payload
    if len(addresses) > 8:
        head = struct.pack("!IHBB", 6 << 28, len(udp), socket.IPPROTO_UDP, 64) + addresses
        return IPV6, head + udp
    length = 20 + len(udp)
    head = struct.pack("!BBHHHBBH", 0x45, 0, length, 0, 0, 64, socket.IPPROTO_UDP, 0) + addresses
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    return IPV4, head[:10] + struct.pack("!H", 0xFFFF - total) + head[12:] + udp


def tell(file: str, what: object) -> None:
    """Write something, whole."""
    beside = Path(file + ".new")
    beside.write_text(json.dumps(what), encoding="utf-8")
    beside.replace(file)


def send(given: dict[str, Any]) -> None:
    """Send without end; a packet for which there is no device just now counts as sent."""
    number = 0
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as link:
        while True:
            kind, octets = packet(given["source"], given["target"], number)
            number += 1
            try:
                link.sendto(octets, (given["send"], kind))
            except OSError as error:
                sys.stderr.write(f"{error}\n")
            tell(given["file"], number)
            time.sleep(EVERY_SECONDS)


def receive(given: dict[str, Any]) -> None:
    """Count the different numbers that come from the source."""
    came, missing, following = 0, set[int](), 0
    source, target = (ip_address(given[end]).packed for end in ("source", "target"))
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ALL)) as link:
        link.bind((given["receive"], ALL))
        tell(given["file"], {"came": 0, "missing": []})
        while True:
            octets = link.recv(2048)
            if source + target not in octets or octets[-16:-8] != MARK:
                continue
            (number,) = struct.unpack("!Q", octets[-8:])
            if number < following and number not in missing:
                continue
            missing |= set(range(following, number))
            missing.discard(number)
            came, following = came + 1, max(following, number + 1)
            tell(given["file"], {"came": came, "missing": sorted(missing)})


given = json.loads(sys.argv[1])
(send if "send" in given else receive)(given)
