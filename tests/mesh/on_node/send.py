"""Send one IP packet, in clear and whatever it claims to be, onto a link: once, or for a while.

Given: ``link``, ``packet`` (hexadecimal) and, where every station on the link is not meant, the
``station`` (its link-layer address, hexadecimal). With ``seconds`` it is sent over and over for so
long, also while the link is not there. Printed: how often it was sent.
"""

import json
import socket
import sys
import time

EVERY_SECONDS = 0.01
IPV4, IPV6 = 0x0800, 0x86DD

given = json.loads(sys.argv[1])
packet = bytes.fromhex(given["packet"])
kind = IPV6 if packet[0] >> 4 == 6 else IPV4
# A link has two ends; but TCP takes nothing that was sent to every one.
to = (given["link"], kind, 0, 0, bytes.fromhex(given.get("station", "ff" * 6)))
sent, deadline = 0, time.monotonic() + given.get("seconds", 0)
with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as line:
    while True:
        try:
            line.sendto(packet, to)
            sent += 1
        except OSError:  # the machine at its other end is off
            if "seconds" not in given:
                raise
        if time.monotonic() >= deadline:
            break
        time.sleep(EVERY_SECONDS)
print(json.dumps(sent))  # noqa: T201
