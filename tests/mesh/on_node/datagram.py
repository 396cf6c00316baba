"""Send one datagram to port 9 from a local address: ``source`` and ``target`` are given."""

import json
import socket
import sys

given = json.loads(sys.argv[1])
family = socket.AF_INET6 if ":" in given["source"] else socket.AF_INET
with socket.socket(family, socket.SOCK_DGRAM) as door:
    door.bind((given["source"], 0))
    door.sendto(b"sent", (given["target"], 9))
print("null")  # noqa: T201
