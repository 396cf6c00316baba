"""A run of a playbook that is killed: begun in a session of its own, ended with all its workers."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Sequence

from paranal.lab.home import ROOT
from paranal.lab.lab import Lab
from paranal.lab.playbook import command, environment


def begin(lab: Lab, playbook: str, options: Sequence[str] = ()) -> subprocess.Popen[bytes]:
    """Start a playbook, and return it while it runs."""
    return subprocess.Popen(  # noqa: S603 - a list of words
        command(playbook, options),
        env=environment(lab),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def kill_when(running: subprocess.Popen[bytes], seen: Callable[[], object]) -> None:
    """End a run's controller once ``seen`` returns; it must not have come to its end before."""
    try:
        seen()
        assert running.poll() is None, "the run was over before it was killed"
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()
