"""Send one UDP packet, in clear and with any source address, onto a link; ``octets`` of content."""

import json
import socket
import struct
import sys

given = json.loads(sys.argv[1])
payload = b"planted".ljust(given.get("octets", 0))
udp = struct.pack("!HHHH", given["port"], 9, 8 + len(payload), 0) + payload  # 0: no checksum
addresses = socket.inet_aton(given["source"]) + socket.inet_aton(given["target"])
head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0, 64, socket.IPPROTO_UDP, 0) + addresses
total = sum(struct.unpack("!10H", head))
total = (total & 0xFFFF) + (total >> 16)
head = head[:10] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + head[12:]
with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as link:
    # To every station on the link: it has two ends.
    link.sendto(head + udp, (given["link"], 0x0800, 0, 0, b"\xff" * 6))
print("true")  # noqa: T201
