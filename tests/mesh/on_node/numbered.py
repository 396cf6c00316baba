"""One packet under ever new numbers through a tunnel, past nft on both sides: sent, or received.

nft lets through what the agreement opens and nothing that could be counted packet by packet, so
they are put onto the tunnel's own device and taken from it there. Given: ``send`` or ``receive``
(the device), ``packet`` (hexadecimal) and ``file``, to which it writes JSON over and over: how many
were sent; or, from the moment it listens, ``came`` (how many different ones) and ``missing`` (the
numbers of others before the last that came). The packet's last 16 octets are a number and its
complement, so that its checksum is true of every number.
"""

import json
import socket
import sys
import time
from pathlib import Path

EVERY_SECONDS = 0.02
IPV4, IPV6, ALL = 0x0800, 0x86DD, 0x0003
NUMBER, BOTH = 8, 16
MOST = 2 ** (8 * NUMBER) - 1


def tell(file: str, what: object) -> None:
    """Write something, whole."""
    beside = Path(file + ".new")
    beside.write_text(json.dumps(what), encoding="utf-8")
    beside.replace(file)


def send(device: str, start: bytes, file: str) -> None:
    """Send without end; a packet for which there is no device just now counts as sent."""
    kind, number = IPV6 if start[0] >> 4 == 6 else IPV4, 0
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as link:
        while True:
            end = number.to_bytes(NUMBER, "big") + (MOST - number).to_bytes(NUMBER, "big")
            number += 1
            try:
                link.sendto(start + end, (device, kind))
            except OSError as error:
                sys.stderr.write(f"{error}\n")
            tell(file, number)
            time.sleep(EVERY_SECONDS)


def receive(device: str, start: bytes, file: str) -> None:
    """Count the different numbers that come."""
    came, missing, following = 0, set[int](), 0
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ALL)) as link:
        link.bind((device, ALL))
        tell(file, {"came": 0, "missing": []})
        while True:
            octets = link.recv(2048)
            if octets[:-BOTH] != start:
                continue
            number = int.from_bytes(octets[-BOTH:-NUMBER], "big")
            if number < following and number not in missing:
                continue
            missing |= set(range(following, number))
            missing.discard(number)
            came, following = came + 1, max(following, number + 1)
            tell(file, {"came": came, "missing": sorted(missing)})


given = json.loads(sys.argv[1])
way, device = (send, given["send"]) if "send" in given else (receive, given["receive"])
way(device, bytes.fromhex(given["packet"])[:-BOTH], given["file"])
