"""The controller's timer that renews a country's leaves: two systemd units of its operator's.

A leaf is issued where the authority is, so the timer is the controller's and not the node's; it
runs the same playbook as an operator does (``playbooks/rotate_certificates.yml``), asking for
nothing but what is due. systemd does the waiting, the jitter and the journal (ADR 0018).
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from paranal.messages import Refusal
from paranal.pki.storage import write_atomic
from paranal.rendering import render

PROJECT = Path(__file__).resolve().parents[3]
UNITS = ("paranal-renew.service", "paranal-renew.timer")
_WORD = re.compile(r"[\w./@+:-]+")
"""What systemd and a command line both take for one word, with nothing to expand."""


def rendered(inventory: Path, vault_id: str, project: Path = PROJECT) -> dict[str, str]:
    """Return unit name -> text. Refuses (PAR-0438) a path or id that is no plain word."""
    values = {
        "project": str(project),
        "playbook": str(Path(sys.executable).with_name("ansible-playbook")),
        "inventory": str(inventory),
        "vault_id": vault_id,
    }
    for what, value in values.items():
        if value and not _WORD.fullmatch(value):
            raise Refusal("PAR-0438", what=what, value=value, known=_WORD.pattern)
    return {unit: render(project / "templates", f"systemd/{unit}.j2", values) for unit in UNITS}


def install(inventory: Path, vault_id: str, folder: Path | None) -> dict[str, object]:
    """Write the units for the operator who calls; return what changed and what comes next.

    Refuses (PAR-0438) an inventory that is not there. ``folder`` None is systemd's for a user.
    """
    if not (inventory / "hosts.yml").is_file():
        raise Refusal("PAR-0438", what="inventory", value=inventory, known="DIR/hosts.yml")
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    where = folder or home / "systemd" / "user"
    changed = []
    for unit, text in rendered(inventory.resolve(), vault_id).items():
        target = where / unit
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            target.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(target, text.encode(), 0o644)
            changed.append(str(target))
    return {
        "changed": changed,
        "next": [
            "systemctl --user daemon-reload",
            "systemctl --user enable --now paranal-renew.timer",
            "loginctl enable-linger",
        ],
    }
