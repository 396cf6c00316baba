"""Where a lab keeps its state on the host: ``.lab/NAME/`` in the checkout, git-ignored."""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
"""The checkout: a lab needs its playbooks, roles and agreements, not the package alone."""


@dataclass(frozen=True)
class Home:
    """The folder of one lab and the files in it."""

    name: str
    root: Path = ROOT

    @property
    def folder(self) -> Path:
        """``.lab/NAME``."""
        return self.root / ".lab" / self.name

    @property
    def agreement(self) -> Path:
        """The lab's own copy of the agreement."""
        return self.folder / "agreement" / "agreement.yml"

    @property
    def key(self) -> Path:
        """The private SSH key of ``ops`` on every node."""
        return self.folder / "ssh" / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """Each node's host key under the member's code, for ``HostKeyAlias``."""
        return self.folder / "ssh" / "known_hosts"

    def furniture(self, member: str) -> Path:
        """What a machine's installer leaves on it: a tar that its container mounts."""
        return self.folder / "machines" / f"{member}.tar"

    @property
    def wan(self) -> Path:
        """The relay's folder, mounted into the ``wan`` container."""
        return self.folder / "wan"

    @property
    def log(self) -> Path:
        """Evidence that outlives the lab when asked to."""
        return self.folder / "log"

    def read(self) -> dict[str, Any] | None:
        """Return ``lab.json``, or None when the lab has none that can be read."""
        try:
            facts: dict[str, Any] = json.loads(self._facts.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return facts

    def write(self, facts: dict[str, Any]) -> None:
        """Replace ``lab.json`` in one step."""
        self.folder.mkdir(parents=True, exist_ok=True)
        new = self._facts.with_suffix(".new")
        new.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        new.replace(self._facts)

    def remove(self, *, keep_log: bool = False) -> None:
        """Remove the folder, or all in it but the log."""
        if not self.folder.exists():
            return
        for entry in self.folder.iterdir():
            if entry == self.log and keep_log:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        if not keep_log:
            self.folder.rmdir()
            with contextlib.suppress(OSError):  # another lab has its folder beside it
                self.folder.parent.rmdir()

    @property
    def _facts(self) -> Path:
        return self.folder / "lab.json"
