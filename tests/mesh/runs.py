"""A run of a playbook under way: begun in a group of its own, and ended like a dead controller."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence

from paranal.lab.home import ROOT
from paranal.lab.lab import Lab
from paranal.lab.playbook import command, environment


def begin(
    lab: Lab,
    playbook: str,
    options: Sequence[str] = (),
    settings: Mapping[str, str] | None = None,
    log: str = "begun",
) -> subprocess.Popen[bytes]:
    """Start a playbook, and return it while it runs, its output in the lab's ``log``.

    ``settings`` are added to its environment.
    """
    lab.home.log.mkdir(parents=True, exist_ok=True)
    with (lab.home.log / f"{log}.log").open("wb") as output:
        return subprocess.Popen(  # noqa: S603 - a list of words, no shell
            command(playbook, options),
            env={**environment(lab), **(settings or {})},
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def kill(running: subprocess.Popen[bytes]) -> None:
    """End a run and all its workers at once, as a machine that loses its power."""
    if running.poll() is None:
        os.killpg(running.pid, signal.SIGKILL)
    running.wait()
