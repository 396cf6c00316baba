"""Count the datagrams that reach a local address.

Given: ``address``, ``port`` and ``file``, to which it writes the number as JSON, first 0.
"""

import json
import socket
import sys
from pathlib import Path

given = json.loads(sys.argv[1])
family = socket.AF_INET6 if ":" in given["address"] else socket.AF_INET
with socket.socket(family, socket.SOCK_DGRAM) as door:
    door.bind((given["address"], given["port"]))
    count = 0
    while True:
        beside = Path(given["file"] + ".new")
        beside.write_text(json.dumps(count), encoding="utf-8")
        beside.replace(given["file"])
        door.recv(2048)
        count += 1
