"""The line-check timer's notes: one JSON file per peer with nothing open."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

from paranal.status.facts import LineCheck

FOLDER = Path("/var/lib/paranal/line")


def read(folder: Path = FOLDER) -> dict[str, LineCheck]:
    """Return the last check per peer; raises ``OSError``, ``ValueError`` or ``KeyError``."""
    return {path.stem: _note(path) for path in sorted(folder.glob("*.json"))}


def _note(path: Path) -> LineCheck:
    note = json.loads(path.read_text(encoding="utf-8"))
    return LineCheck(
        datetime.fromisoformat(note["at"]), bool(note["ok"]), str(note["reason"] or "")
    )
