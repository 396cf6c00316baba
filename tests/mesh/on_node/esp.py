"""Send one ESP packet that nobody encrypted, with any source and SPI, onto a link."""

import json
import socket
import struct
import sys

given = json.loads(sys.argv[1])
payload = struct.pack("!II", int(given["spi"], 16), given["sequence"]) + bytes(48)
addresses = socket.inet_aton(given["source"]) + socket.inet_aton(given["target"])
head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0, 64, 50, 0) + addresses
total = sum(struct.unpack("!10H", head))
total = (total & 0xFFFF) + (total >> 16)
head = head[:10] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + head[12:]
with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as link:
    # To every station on the link: it has two ends.
    link.sendto(head + payload, (given["link"], 0x0800, 0, 0, b"\xff" * 6))
print("true")  # noqa: T201
