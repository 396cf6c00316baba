"""Capture packets in a node or in the ``wan`` namespace."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from paranal.lab import names
from paranal.lab.lab import Lab

_TIMED_OUT = 124
_GRACE_SECONDS = "2"


def words(
    part: str,
    interface: str | None,
    seconds: float | None,
    *,
    binary: bool,
    expression: Sequence[str],
) -> list[str]:
    """Return tcpdump's words for a part: every interface of ``wan``, the WAN link of a node."""
    seen = interface or ("any" if part == names.WAN else "wan")
    form = ("-U", "-w", "-") if binary else ("-l",)
    # Root stays root: the container's capabilities do not reach to changing it.
    command = ["tcpdump", "-Z", "root", "-n", "-i", seen, *form, *expression]
    if seconds is None:
        return command
    return ["timeout", "-s", "INT", "-k", _GRACE_SECONDS, f"{seconds:g}", *command]


def capture(
    lab: Lab,
    part: str,
    interface: str | None,
    seconds: float | None,
    file: Path | None,
    expression: Sequence[str],
) -> int:
    """Capture until time is up or interrupted, to ``file`` (pcap) or as text; return the status."""
    command = lab.command(
        part, words(part, interface, seconds, binary=file is not None, expression=expression)
    )
    if file is None:
        status = subprocess.run(command, check=False).returncode  # noqa: S603 - words, no shell
    else:
        with file.open("wb") as output:
            status = subprocess.run(command, stdout=output, check=False).returncode  # noqa: S603
    return 0 if status == _TIMED_OUT else status
