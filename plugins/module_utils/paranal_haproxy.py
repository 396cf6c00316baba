"""Give the running HAProxy a new certificate over its administration socket; standard library only.

The file on the node is replaced first: what HAProxy holds in memory is what its next start reads.
A reload would serve the new leaf too, but the worker that it replaces ends its kept connections.
"""

from __future__ import annotations

import socket
from pathlib import Path

SOCKET = "/run/haproxy/admin.sock"
SECONDS = 10.0


def replace_certificate(admin: Path, path: str, pem: str) -> bool:
    """Say whether HAProxy now serves ``pem`` wherever its configuration names the file ``path``.

    ``pem`` holds key, leaf and issuing CA. False where there is no socket, or HAProxy knows no such
    file or refuses the content; what it served before it then serves on.
    """
    lines = "\n".join(line for line in pem.splitlines() if line)  # an empty line ends the content
    try:
        if "Transaction" not in command(admin, f"set ssl cert {path} <<\n{lines}\n\n"):
            return False
        if "Success" in command(admin, f"commit ssl cert {path}\n"):
            return True
        command(admin, f"abort ssl cert {path}\n")  # or the next could not begin
    except OSError:
        pass
    return False


def command(admin: Path, text: str) -> str:
    """Return what HAProxy answers to one command. Raises ``OSError`` when nobody does."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(SECONDS)
        line.connect(str(admin))
        line.sendall(text.encode())
        answer = b""
        while part := line.recv(65536):
            answer += part
    return answer.decode(errors="replace")
