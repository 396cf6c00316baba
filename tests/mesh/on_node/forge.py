"""Send one TCP segment of somebody else's flow, in clear, onto a link.

Given: ``link``, ``source`` and ``target`` (address, port), ``seq``, ``ack``, ``flags`` (TCP's
octet), ``payload`` and ``station`` (the receiver's link-layer address, hex).
"""

import json
import socket
import struct
import sys

IPV4, IPV6 = 0x0800, 0x86DD


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total


given = json.loads(sys.argv[1])
(source, source_port), (target, target_port) = given["source"], given["target"]
payload = given["payload"].encode()
family = socket.AF_INET6 if ":" in source else socket.AF_INET
addresses = socket.inet_pton(family, source) + socket.inet_pton(family, target)
ports = struct.pack("!HHII", source_port, target_port, given["seq"], given["ack"])
rest = struct.pack("!BBH", 5 << 4, given["flags"], 1024)
length = 20 + len(payload)
summed = addresses + struct.pack("!II", length, socket.IPPROTO_TCP) + ports + rest + bytes(4)
tcp = ports + rest + struct.pack("!HH", checksum(summed + payload), 0) + payload
if family == socket.AF_INET:
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 1, 0, 64, socket.IPPROTO_TCP, 0)
    head = head[:10] + struct.pack("!H", checksum(head + addresses)) + addresses
else:
    head = struct.pack("!IHBB", 6 << 28, length, socket.IPPROTO_TCP, 64) + addresses
with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as link:
    kind = IPV4 if family == socket.AF_INET else IPV6
    # To the station itself: TCP takes nothing that was sent to every one.
    link.sendto(head + tcp, (given["link"], kind, 0, 0, bytes.fromhex(given["station"])))
print("true")  # noqa: T201
