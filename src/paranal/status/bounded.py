"""Look at a thing within a bounded time; whatever goes wrong becomes ``Unseen`` with its reason."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Thread
from time import monotonic
from typing import Any

SECONDS = 5.0
"""How long one source may take; all are asked at once."""


@dataclass(frozen=True)
class Unseen:
    """Something that could not be looked at, and why; it never counts as good."""

    source: str
    reason: str


class Unreadable(Exception):
    """A source cannot be read; the text is the reason."""


def collect(sources: Mapping[str, tuple[str, Callable[[], Any]]], seconds: float) -> dict[str, Any]:
    """Ask every source at once; return each one's answer, or ``Unseen`` when it failed or hung.

    ``sources`` maps a key to (what to call the source in a sentence, the function that reads it).
    A source that hangs is left behind in its daemon thread: it cannot hold up the others.
    """
    answers: dict[str, Any] = {}

    def ask(key: str, name: str, read: Callable[[], Any]) -> None:
        try:
            answers[key] = read()
        except Exception as error:  # whatever it is, the operator needs the reason
            answers[key] = Unseen(name, f"{error}" or type(error).__name__)

    threads = [
        Thread(target=ask, args=(key, name, read), daemon=True)
        for key, (name, read) in sources.items()
    ]
    deadline = monotonic() + seconds
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - monotonic()))
    hung = {key: Unseen(name, f"{seconds:g} s") for key, (name, _) in sources.items()}
    return {**hung, **answers}


def output(command: Sequence[str], text: str | None = None, seconds: float = SECONDS) -> str:
    """Return what a command of the node prints, given ``text`` on its standard input.

    Raises ``Unreadable`` with its complaint when it fails, is missing or takes too long.
    """
    try:
        done = subprocess.run(  # noqa: S603 - fixed commands of the node, no shell
            command, input=text, capture_output=True, text=True, timeout=seconds, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unreadable(str(error)) from None
    if done.returncode:
        complaint = " ".join(done.stderr.split()) or f"exit {done.returncode}"
        raise Unreadable(f"{command[0]}: {complaint}")
    return done.stdout
