"""Run one of the repository's playbooks on a lab, as an operator would."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from paranal.lab.home import ROOT
from paranal.lab.lab import Lab
from paranal.messages import Refusal

_RECAP = re.compile(
    r"^(?P<host>\S+)\s+: ok=(?P<ok>\d+)\s+changed=(?P<changed>\d+)"
    r"\s+unreachable=(?P<unreachable>\d+)\s+failed=(?P<failed>\d+)",
    re.MULTILINE,
)
_FAILED = "[ERROR]: Task failed: Action failed: "
_PLAIN = {"ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1"}
"""What is read again must not be coloured, also where CI or Molecule forces colours."""


@dataclass(frozen=True)
class Played:
    """How a playbook went: seconds, tasks changed by host, and where its output is kept."""

    playbook: str
    seconds: float
    changed: dict[str, int]
    log: Path


def command(playbook: str, options: Sequence[str] = ()) -> list[str]:
    """Return the argument list that plays ``playbook`` (``site`` or ``site.yml``).

    Raises ``Refusal`` PAR-0219 (no such playbook) or PAR-0220 (no ansible-playbook).
    """
    file = ROOT / "playbooks" / f"{playbook.removesuffix('.yml')}.yml"
    if not file.exists():
        raise Refusal("PAR-0219", playbook=file)
    # The one of our own environment, which need not be activated.
    ansible = shutil.which("ansible-playbook", path=f"{Path(sys.executable).parent}:{os.defpath}")
    if ansible is None:
        raise Refusal("PAR-0220")
    return [ansible, str(file), *options]


def environment(lab: Lab) -> dict[str, str]:
    """Return the environment in which Ansible finds this lab and the repository's settings."""
    settings = {"PARANAL_LAB": lab.name, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    return {**os.environ, **settings}


def play(lab: Lab, playbook: str, *options: str) -> Played:
    """Play to the end, keep the output under the lab's log folder, and return how it went.

    Raises ``Refusal`` PAR-0221 with the first error that Ansible printed when a host fails.
    """
    name = playbook.removesuffix(".yml")
    lab.home.log.mkdir(parents=True, exist_ok=True)
    log = lab.home.log / f"{name}.log"
    started = time.monotonic()
    with log.open("wb") as output:
        done = subprocess.run(  # noqa: S603 - a list of words, no shell
            command(playbook, options),
            env=environment(lab) | _PLAIN,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    return finished(name, done.returncode, time.monotonic() - started, log)


def finished(playbook: str, status: int, seconds: float, log: Path) -> Played:
    """Return how a run went that left its output in ``log``; raises ``Refusal`` PAR-0221."""
    text = log.read_text(encoding="utf-8", errors="replace")
    if status:
        raise Refusal("PAR-0221", playbook=playbook, reason=cause(text), log=log)
    changed = {found["host"]: int(found["changed"]) for found in _RECAP.finditer(text)}
    return Played(playbook, round(seconds, 2), changed, log)


def cause(text: str) -> str:
    """Return the first error of Ansible's output, which is the cause of the rest; else its end."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    causes = [line for line in lines if line.startswith(_FAILED)]
    others = [line for line in lines if line.startswith(("[ERROR]", "fatal:"))]
    return causes[0].removeprefix(_FAILED) if causes else (others or lines or ["?"])[-1]
