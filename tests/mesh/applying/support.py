"""A run of site.yml that can be watched and killed while it goes on."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from paranal.lab.home import ROOT
from paranal.lab.lab import Lab
from tests.mesh.runs import begin, kill
from tests.mesh.support import eventually

SECONDS = 240
MODULES = frozenset(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))
MODULE = re.compile(rf"  ({'|'.join(sorted(MODULES))}):")
TASK_PATH = re.compile(r"^task path: (.+):([0-9]+)$", re.MULTILINE)


@dataclass
class Run:
    """One ``ansible-playbook`` under way, and what it has said so far."""

    process: subprocess.Popen[bytes]
    log: Path

    def said(self) -> str:
        """Return its output up to now."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def module(self) -> str:
        """Return the module of the task at work, as a run with ``-vv`` tells it."""
        path, line = TASK_PATH.findall(self.said())[-1]
        rest = Path(path).read_text(encoding="utf-8").splitlines()[int(line) - 1 :]
        return next(found[1] for text in rest if (found := MODULE.match(text)))

    def at(self, task: str) -> bool:
        """Wait until a task begins; False when the run was over before."""
        header = f"TASK [{task}]"
        assert eventually(lambda: header in self.said() or self.over(), SECONDS)
        return not self.over()

    def over(self) -> bool:
        """Say whether it has ended."""
        return self.process.poll() is not None

    def kill(self) -> None:
        """End it and all its workers at once, as a machine that loses its power."""
        kill(self.process)

    def ended(self) -> int:
        """Wait for its end; return its exit status."""
        return self.process.wait(SECONDS)


@contextmanager
def running(lab: Lab, name: str, *options: str, user: str = "") -> Iterator[Run]:
    """Start site.yml, its output in the lab's log folder under ``name``; what is left is killed.

    ``user`` is the operator's name, as the node's lock and history show it.
    """
    colourless = {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"}
    operator = {"SUDO_USER": user} if user else {}
    process = begin(lab, "site", options, colourless | operator, name)
    run = Run(process, lab.home.log / f"{name}.log")
    try:
        yield run
    finally:
        run.kill()
