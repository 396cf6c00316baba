"""Run a role's validators on a private copy of its whole desired tree."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .paranal_node import Node, Refused, Run, group_id, user_id
from .paranal_tree import Entry, Tree, matches

SECONDS = 60


@contextlib.contextmanager
def staged(desired: Tree, parent: Path | None) -> Iterator[Path]:
    """Yield the root of a copy of ``desired`` below ``parent``, or in a temporary directory."""
    if parent is not None:
        shutil.rmtree(parent, ignore_errors=True)
        parent.mkdir(mode=0o700, parents=True)
    root = Path(tempfile.mkdtemp(prefix="paranal-", dir=parent))
    try:
        for path, entry in sorted(desired.items()):
            _stage(root / path.lstrip("/"), entry)
        yield root
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _stage(target: Path, entry: Entry) -> None:
    """Write one entry into the staged tree; owners that do not exist yet are left out."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if entry.kind == "link":
        target.symlink_to(os.fsdecode(entry.content))
        return
    if entry.kind == "directory":
        target.mkdir(exist_ok=True)
    else:
        target.write_bytes(entry.content)
    with contextlib.suppress(Refused, PermissionError):
        os.chown(target, user_id(entry.owner), group_id(entry.group))
    target.chmod(int(entry.mode, 8))


def validate(
    request: dict[str, Any],
    affected: Iterable[str],
    node: Node,
    root: Path,
    run: Run,
    *,
    check: bool,
) -> list[dict[str, str]]:
    """Run every validator that has work; return ``{"command", "result", "reason"}`` of each run.

    With ``check``, one that cannot run yet (its program or what it needs is missing) is "not run".
    Raises PAR-0310 when one refuses.
    """
    results = []
    for item in request["validate"]:
        for argv, path in _commands(item, affected, request["entries"], root):
            command = " ".join(item["command"]).replace("{staged}", path)
            missing = [need for need in item["needs"] if not node.real(need).exists()]
            reason = f"{missing[0]} is not there yet" if check and missing else ""
            if not reason:
                outcome = run(argv, SECONDS)
                if check and outcome.status == 127:
                    reason = outcome.tail
                elif outcome.status != 0:
                    said = _said(outcome.tail, item, request["entries"], root)
                    raise Refused("PAR-0310", path=path, command=command, reason=said)
            result = "not run" if reason else "ok"
            results.append({"command": command, "result": result, "reason": reason})
    return results


def _commands(
    item: dict[str, Any], affected: Iterable[str], desired: Tree, root: Path
) -> Iterator[tuple[list[str], str]]:
    """Yield (argv, the path it is about) for one validator."""
    touched = [path for path in affected if matches(path, item["paths"])]
    each = any("{staged}" in word for word in item["command"])
    about = [path for path in touched if path in desired] if each else touched[:1]
    for path in about:
        names = {"{staged}": str(root / path.lstrip("/")), "{root}": str(root)}
        argv = item["command"]
        for name, value in names.items():
            argv = [word.replace(name, value) for word in argv]
        yield argv, path


def _said(text: str, item: dict[str, Any], desired: Tree, root: Path) -> str:
    """Return what a validator said, with the node's paths; nothing of it when a file is secret."""
    if any(entry.secret and matches(path, item["paths"]) for path, entry in desired.items()):
        return "output withheld, the file is secret"
    return text.replace(str(root), "")
