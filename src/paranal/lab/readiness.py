"""Wait until nodes have booted: systemd has started all it should, and SSH answers."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from paranal.lab.docker import attempt
from paranal.lab.lab import Lab
from paranal.messages import Refusal

READY_SECONDS = 120
MACHINE_READY_SECONDS = 300
"""A machine is emulated: it boots ten times slower than a container, and then shares the cores."""
_POLL_SECONDS = 0.2


def await_nodes(lab: Lab, members: Mapping[str, Mapping[str, Any]]) -> None:
    """Wait until every node is running and its SSH server answers. Raises ``Refusal`` PAR-0214."""
    with ThreadPoolExecutor(len(members)) as pool:
        waits = [
            pool.submit(_await_node, lab, code, node["ssh_host"]) for code, node in members.items()
        ]
        for wait in waits:
            wait.result()


def _await_node(lab: Lab, member: str, address: str) -> None:
    patience = MACHINE_READY_SECONDS if lab.is_machine(member) else READY_SECONDS
    deadline = time.monotonic() + patience
    said = "no answer"
    while time.monotonic() < deadline:
        said = _state(lab, member, deadline - time.monotonic())
        if said == "degraded":
            words = ("systemctl", "--failed", "--plain", "--no-legend")
            failed = lab.exec(member, *words, check=False, seconds=READY_SECONDS)
            units = failed.stdout.decode().split("\n")
            said = "failed: " + ", ".join(unit.split()[0] for unit in units if unit)
            break
        if said == "running" and _greets(address):
            return
        time.sleep(_POLL_SECONDS)
    raise Refusal("PAR-0214", node=member, lab=lab.name, state=said, seconds=patience)


def _state(lab: Lab, member: str, seconds: float) -> str:
    """Return systemd's word once it has started all, or the last line of why it was not asked."""
    asked = ["systemctl", "is-system-running", "--wait"]
    answer = attempt(lab.command(member, asked), b"", seconds)
    lines = (answer.stdout or answer.stderr).decode(errors="replace").strip()
    return lines.rpartition("\n")[2].strip()


def _greets(address: str) -> bool:
    """Tell whether an SSH server greets on a link-local address (``fe80::51%LINK``)."""
    try:
        with socket.create_connection((address, 22), timeout=2) as connection:
            return connection.recv(8).startswith(b"SSH-2.0")
    except OSError:
        return False
