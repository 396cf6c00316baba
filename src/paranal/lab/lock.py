"""Locks that vanish with their holder: listening unix sockets in the abstract namespace.

Nothing is left on disk, and the holder's process id can be asked of the kernel. A child that is
given the socket's descriptor keeps the lock until it ends too, so that a lab whose ``up`` was
killed stays locked for as long as a container request of it is still under way.
"""

from __future__ import annotations

import errno
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PREFIX = "paranal-lock/"
_POLL_SECONDS = 0.2


class Held(Exception):
    """Someone else holds the lock; ``pid`` is the process that took it."""

    def __init__(self, pid: int) -> None:
        """Take the holder's process id."""
        super().__init__(pid)
        self.pid = pid


@contextmanager
def hold(name: str, patience_seconds: float = 0.0) -> Iterator[int]:
    """Hold the lock ``name`` and yield its file descriptor.

    Raises ``Held`` when another process still holds it after ``patience_seconds``.
    """
    deadline = time.monotonic() + patience_seconds
    with socket.socket(socket.AF_UNIX) as taken:
        while True:
            try:
                taken.bind(_address(name))
                break
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            if time.monotonic() >= deadline and (pid := holder(name)):
                raise Held(pid)
            time.sleep(_POLL_SECONDS)
        taken.listen()
        yield taken.fileno()


def holder(name: str) -> int | None:
    """Return the process id of whoever took the lock, or None when it is free."""
    with socket.socket(socket.AF_UNIX) as asking:
        try:
            asking.connect(_address(name))
        except ConnectionRefusedError:
            return None
        credentials = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    pid: int = struct.unpack("3i", credentials)[0]
    return pid


def held(prefix: str) -> set[str]:
    """Return the names of the locks now held by anyone that begin with ``prefix``."""
    lines = Path("/proc/net/unix").read_text(encoding="ascii", errors="replace").splitlines()
    marker = f"@{_PREFIX}{prefix}"
    return {
        path.removeprefix(f"@{_PREFIX}")
        for path in (line.split(" ")[-1] for line in lines)
        if path.startswith(marker)
    }


def _address(name: str) -> str:
    return f"\0{_PREFIX}{name}"
