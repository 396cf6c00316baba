"""Send one IP packet (hexadecimal), in clear and whatever it claims to be, onto a link."""

import json
import socket
import sys

given = json.loads(sys.argv[1])
packet = bytes.fromhex(given["packet"])
kind = 0x86DD if packet[0] >> 4 == 6 else 0x0800
with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as link:
    # To every station on the link: it has two ends.
    link.sendto(packet, (given["link"], kind, 0, 0, b"\xff" * 6))
print("true")  # noqa: T201
