"""Ansible's lasting SSH connections to a lab's nodes: they must not outlive the node they reach.

A node that comes back under the same name would otherwise be spoken to through the old node's
dead connection. The lab's inventory puts their control sockets into a folder of the lab's own.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from pathlib import Path

_FOLDER = Path("/run/paranal-lab")
"""Short, because the path of a socket may not be longer than 107 bytes."""


def folder(lab: str) -> Path:
    """Return the folder of the control sockets of one lab."""
    return _FOLDER / lab


def end(lab: str) -> None:
    """End every lasting connection of one lab and remove its folder."""
    sockets = folder(lab)
    if not sockets.exists():
        return
    for path in sockets.iterdir():
        # It fails for a connection that has ended by itself, which is as good.
        subprocess.run(  # noqa: S603 - our own words
            ["/usr/bin/ssh", "-F", "/dev/null", "-S", str(path), "-O", "exit", "node"],
            capture_output=True,
            check=False,
        )
    # A connection removes its own socket as it ends, perhaps in this very moment.
    shutil.rmtree(sockets, ignore_errors=True)
    with contextlib.suppress(OSError):  # another lab's connections are in it
        _FOLDER.rmdir()
