"""Send UDP packets in clear onto a link for a while, also while the link is not there.

Given: ``link``, ``source`` and ``target`` (addresses), ``seconds``; port 9 to port 9. Printed: how
many were sent.
"""

import json
import socket
import struct
import sys
import time

EVERY_SECONDS = 0.01
IPV4, IPV6 = 0x0800, 0x86DD


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total


given = json.loads(sys.argv[1])
family = socket.AF_INET6 if ":" in given["source"] else socket.AF_INET
addresses = socket.inet_pton(family, given["source"]) + socket.inet_pton(family, given["target"])
payload = b"injected"
length = 8 + len(payload)
bare = struct.pack("!HHH", 9, 9, length)
summed = addresses + struct.pack("!II", length, socket.IPPROTO_UDP) + bare + bytes(2) + payload
udp = bare + struct.pack("!H", checksum(summed)) + payload
if family == socket.AF_INET:
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 1, 0, 64, socket.IPPROTO_UDP, 0)
    head = head[:10] + struct.pack("!H", checksum(head + addresses)) + addresses
else:
    head = struct.pack("!IHBB", 6 << 28, length, socket.IPPROTO_UDP, 64) + addresses
kind, sent, deadline = IPV4, 0, time.monotonic() + given["seconds"]
if family == socket.AF_INET6:
    kind = IPV6
with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as link:
    while time.monotonic() < deadline:
        try:
            # To every station on the link: it has two ends.
            link.sendto(head + udp, (given["link"], kind, 0, 0, b"\xff" * 6))
            sent += 1
        except OSError:  # the machine at its other end is off
            time.sleep(EVERY_SECONDS)
        time.sleep(EVERY_SECONDS)
print(json.dumps(sent))  # noqa: T201
