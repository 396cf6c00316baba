"""The kernel plane's own drop policies: below every tunnel's they drop what no tunnel takes.

They are the node's, not charon's (ESP-006), and ``ip xfrm policy flush`` takes them with the rest.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

FILE = Path("/etc/paranal/drop-policies")
"""What ``paranal-drop-policies.service`` gives ``ip -batch``; the userspace plane has none."""
WORKING = Path("/var/lib/paranal/node/working")
"""Locked by every module of a run while it changes the node (``require_lock``)."""
SHOWN = ("ip", "xfrm", "policy", "list", "nosock", "action", "block")


def stand(run: Callable[[Sequence[str], str | None], str]) -> bool:
    """Tell whether the kernel holds as many drop policies as were applied.

    ``run`` is given a command and its input and returns what it prints; what it raises is raised.
    """
    try:
        applied = FILE.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return True
    wanted = sum(line.endswith(" action block") for line in applied)
    return wanted == 0 or run(SHOWN, None).count(" action block ") >= wanted


@contextmanager
def undisturbed() -> Iterator[bool]:
    """Keep a run's modules waiting for as long as the block; gives ``False`` while one is at work.

    It may have written other policies than it has loaded so far.
    """
    try:
        stream = WORKING.open("rb")
    except FileNotFoundError:
        yield True
        return
    with stream:
        try:
            fcntl.lockf(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
