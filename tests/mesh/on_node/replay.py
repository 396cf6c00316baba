"""Wait for an ESP packet that leaves by a link, and send it once more as it was."""

import json
import socket
import sys

ESP = 50
OUTGOING = 4
given = json.loads(sys.argv[1])
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as link:
    link.bind((given["link"], 0))
    link.settimeout(given["seconds"])
    while True:
        frame, (_, _, direction, *_) = link.recvfrom(65535)
        head = frame[14:34]
        if direction == OUTGOING and frame[12:14] == b"\x08\x00" and head[9] == ESP:
            break
    link.send(frame)
print(json.dumps(frame[34:38].hex()))  # noqa: T201
