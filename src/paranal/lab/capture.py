"""Capture packets in a node or in the ``wan`` namespace."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from paranal.lab import names
from paranal.lab.lab import Lab

_TIMED_OUT = 124
_GRACE_SECONDS = "2"
ANNOUNCED = ("sh", "-c", 'echo $$ >&2; exec "$@"', "sh")
"""Before a command: say its process id first; ending ``docker exec`` would not end what runs."""


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
    """Capture until time is up or interrupted, to ``file`` (pcap) or as text; return the status.

    An interrupt ends tcpdump inside the part, which then says how much it saw; so does a request to
    end or a terminal that closes.
    """
    for kind in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(kind, signal.default_int_handler)
    wanted = words(part, interface, seconds, binary=file is not None, expression=expression)
    command = lab.command(part, [*ANNOUNCED, *wanted])
    with (
        nullcontext() if file is None else file.open("wb") as output,
        subprocess.Popen(  # noqa: S603 - a list of words, no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.PIPE,
            start_new_session=True,  # a terminal's interrupt is for us, who pass it on
        ) as running,
    ):
        assert running.stderr is not None  # noqa: S101 - for the type checker: it is a pipe
        pid = b""
        while True:
            try:
                for line in running.stderr:
                    if not pid and line.strip().isdigit():
                        pid = line.strip()
                        continue
                    sys.stderr.buffer.write(line)
                    sys.stderr.buffer.flush()
                break
            except KeyboardInterrupt:
                if not pid:
                    running.terminate()
                    raise
                lab.exec(part, "kill", "-INT", pid.decode(), check=False)
        status = running.wait()
    return 0 if status == _TIMED_OUT else status
