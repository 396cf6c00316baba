"""Offer inner packets to peers over and over: UDP, ICMP and a TCP connection for each pair.

Given: ``pairs`` (source, target), ``file`` and, without which it goes on until it is ended,
``seconds``. Every turn it writes JSON to ``file``: ``offered`` and, of these, ``refused`` (the
kernel said so at once). A source that is not there yet, as early in a boot, is no hindrance.
"""

import contextlib
import json
import socket
import sys
import time
from pathlib import Path

EVERY_SECONDS = 0.05
ECHO = {
    socket.AF_INET: (socket.IPPROTO_ICMP, b"\x08\0\xf7\xff\0\0\0\0"),
    socket.AF_INET6: (socket.IPPROTO_ICMPV6, b"\x80\0\0\0\0\0\0\0"),
}


def offer(source: str, target: str) -> list[bool]:
    """Offer one packet of each kind; tell which the kernel refused."""
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    protocol, echo = ECHO[family]
    return [
        refused(family, socket.SOCK_DGRAM, 0, source, (target, 9), b"offered"),
        refused(family, socket.SOCK_RAW, protocol, source, (target, 0), echo),
        refused(family, socket.SOCK_STREAM, 0, source, (target, 7443), b""),
    ]


def refused(
    family: int, kind: int, protocol: int, source: str, to: tuple[str, int], payload: bytes
) -> bool:
    """Send, or begin to connect; tell whether the kernel refused."""
    with socket.socket(family, kind, protocol) as line:
        line.setblocking(False)
        try:
            line.bind((source, 0))
            with contextlib.suppress(BlockingIOError):
                line.sendto(payload, to) if payload else line.connect(to)
        except OSError:
            return True
    return False


given = json.loads(sys.argv[1])
total = {"offered": 0, "refused": 0}
file, deadline = Path(given["file"]), time.monotonic() + given.get("seconds", 3600)
while time.monotonic() < deadline:
    for pair in given["pairs"]:
        outcomes = offer(*pair)
        total["offered"] += len(outcomes)
        total["refused"] += sum(outcomes)
    beside = file.with_suffix(".new")
    beside.write_text(json.dumps(total), encoding="utf-8")
    beside.replace(file)
    time.sleep(EVERY_SECONDS)
