"""Ask a running HAProxy over its administration socket, which is root's alone."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

SOCKET = Path("/run/haproxy/admin.sock")
SECONDS = 5.0

Ask = Callable[[str], str]


def ask(command: str, path: Path = SOCKET) -> str:
    """Return what HAProxy answers to one command; raises ``OSError`` when it does not."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(SECONDS)
        line.connect(str(path))
        line.sendall(f"{command}\n".encode())
        answer = bytearray()
        while chunk := line.recv(65536):
            answer += chunk
    return answer.decode(errors="replace").strip()
