"""Watch one gateway's tunnels, as a program on the node: a JSON line at each change.

Runs alone there (standard library and ``vici`` only). A line is ``{"at", "charon", "sas"}``:
``at`` and charon's start are seconds of CLOCK_BOOTTIME (``charon`` null: none answers); ``sas``
maps the peer's IKE identity to ``[[name, SPI in, SPI out], ...]`` of the CHILD_SAs that carry
traffic. The first line comes at once. It ends when its standard input does.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Any

SOCKET = "/run/charon.vici"
TURN_SECONDS = 0.05
CARRYING = (b"INSTALLED", b"REKEYING", b"REKEYED")


def look() -> dict[str, Any]:
    """Return what charon answers now."""
    import vici

    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(2)
        try:
            line.connect(SOCKET)
            started = start_of(line)
            listed = list(vici.Session(line).list_sas())
        except (OSError, vici.exception.SessionException):
            return {"charon": None, "sas": {}}
    sas: dict[str, list[list[str]]] = {}
    for message in listed:
        for entry in message.values():
            carried = sas.setdefault(entry.get("remote-id", b"").decode(), [])
            carried += [
                [child[key].decode() for key in ("name", "spi-in", "spi-out")]
                for child in entry["child-sas"].values()
                if child["state"] in CARRYING
            ]
    return {"charon": started, "sas": {peer: sorted(held) for peer, held in sas.items() if held}}


def start_of(line: socket.socket) -> float:
    """Return when the process at the other end of a unix socket was started."""
    peer = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, _, _ = struct.unpack("3i", peer)
    # The second field may hold spaces but ends with the last parenthesis; see proc_pid_stat(5).
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Say each change until nobody listens any more."""
    said = None
    while not select.select([sys.stdin], [], [], 0 if said is None else TURN_SECONDS)[0]:
        at, seen = time.clock_gettime(time.CLOCK_BOOTTIME), look()
        if seen != said:
            said = seen
            sys.stdout.write(json.dumps({"at": at, **seen}) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
