"""Send IKE messages from this node's own address and port 500, while charon runs beside it.

Given: ``source``, ``target``, ``messages`` (hexadecimal digits), ``seconds`` to wait for each.
Printed: the answer to each, or null. charon drops the answers too: it knows no such SPI.
"""

import json
import select
import socket
import struct
import sys
import time

PORT = 500
CHECKSUM = 6
"""Where a datagram has it; IPv6 does not do without."""
given = json.loads(sys.argv[1])
six = ":" in given["source"]
family = socket.AF_INET6 if six else socket.AF_INET
line = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_UDP)
if six:
    line.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_CHECKSUM, CHECKSUM)
line.bind((given["source"], 0))


def ask(message: bytes) -> str | None:
    """Send one message and return the answer that carries its SPI."""
    header = struct.pack("!HHHH", PORT, PORT, 8 + len(message), 0)
    line.sendto(header + message, (given["target"], 0))
    deadline = time.monotonic() + given["seconds"]
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([line], [], [], left)[0]:
            break
        packet = line.recv(65535)
        udp = packet if six else packet[(packet[0] & 15) * 4 :]
        if udp[:4] == struct.pack("!HH", PORT, PORT) and udp[8:16] == message[:8]:
            return udp[8:].hex()
    return None


answers = [ask(bytes.fromhex(message)) for message in given["messages"]]
print(json.dumps(answers))  # noqa: T201
