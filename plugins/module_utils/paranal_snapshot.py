"""Keep entries with their content aside, and read them back: what an undo stands on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .paranal_node import read_json, write_atomic, write_json
from .paranal_tree import Entry


def save_snapshot(folder: Path, entries: dict[str, Entry | None]) -> None:
    """Write entries with their content to ``folder``; the list comes last: whole or absent."""
    folder.mkdir(mode=0o700)
    listing: dict[str, Any] = {}
    for number, (path, entry) in enumerate(sorted(entries.items())):
        listing[path] = None
        if entry is not None:
            blob = folder / str(number)
            write_atomic(blob, entry.content)
            listing[path] = {**entry.facts, "blob": blob.name}
    write_json(folder / "entries.json", listing)


def load_snapshot(folder: Path) -> dict[str, Entry | None]:
    """Return what ``save_snapshot`` kept; nothing when the run ended while putting it away."""
    entries: dict[str, Entry | None] = {}
    for path, kept in (read_json(folder / "entries.json") or {}).items():
        entries[path] = None
        if kept is not None:
            content = (folder / kept["blob"]).read_bytes()
            entries[path] = Entry(kept["kind"], content, kept["mode"], kept["owner"], kept["group"])
    return entries
