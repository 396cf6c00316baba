"""What a machine must have before a lab comes up; each lack is one refusal, nothing is begun."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from paranal.messages import Refusal

TUN = Path("/dev/net/tun")
IPV6 = Path("/proc/net/if_inet6")
NEEDED_BYTES = 3 * 1024**3


def check() -> None:
    """Raise the first ``Refusal`` (PAR-0202, PAR-0204, PAR-0206) that holds on this machine."""
    check_root()
    if not TUN.is_char_device():
        raise Refusal("PAR-0204", path=TUN)
    if not IPV6.exists():
        raise Refusal("PAR-0206", path=IPV6)


def check_room(state: Path) -> None:
    """Raise ``Refusal`` PAR-0205 unless a new lab fits.

    ``state`` is the folder, existing or not, on whose file system the images lie.
    """
    room = next(folder for folder in (state, *state.parents) if folder.exists())
    free = shutil.disk_usage(room).free
    if free < NEEDED_BYTES:
        raise Refusal("PAR-0205", path=room, free=_gib(free), needed=_gib(NEEDED_BYTES))


def check_root() -> None:
    """Raise ``Refusal`` PAR-0202 unless this process may make containers and links."""
    if os.geteuid() != 0:
        raise Refusal("PAR-0202")


def _gib(size: int) -> str:
    return f"{size / 1024**3:.1f}"
