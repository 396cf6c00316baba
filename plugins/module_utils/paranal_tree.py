"""What stands, or should stand, at a path: entries, the plan between two trees, and its diff.

Facts of an entry are ``{"kind", "sha256", "mode", "owner", "group"}``: what the probe reports,
what a manifest keeps and what the controller compares. A link has no mode of its own, a directory
no content; those fields are empty strings.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import stat
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from .paranal_node import Node, Refused, mode_of, names_of


@dataclass(frozen=True)
class Entry:
    """One file, link or directory; ``content`` is the file's bytes or the link's target."""

    kind: str
    content: bytes = b""
    mode: str = ""
    owner: str = ""
    group: str = ""
    secret: bool = False

    @property
    def facts(self) -> dict[str, str]:
        """Return what is compared, kept and reported of this entry; never its content."""
        digest = "" if self.kind == "directory" else hashlib.sha256(self.content).hexdigest()
        return {
            "kind": self.kind,
            "sha256": digest,
            "mode": self.mode,
            "owner": self.owner,
            "group": self.group,
        }


Tree = dict[str, Entry]


def decode_payload(payload: str) -> dict[str, Any]:
    """Return the request that the action plugin packed; its inverse is ``encode_payload``."""
    packed = zlib.decompress(base64.b64decode(payload))
    request: dict[str, Any] = json.loads(packed)
    request["entries"] = {
        path: Entry(**{**entry, "content": base64.b64decode(entry["content"])})
        for path, entry in request["entries"].items()
    }
    return request


def observe(node: Node, path: str) -> Entry | None:
    """Return what stands at ``path`` on the node now, None for nothing.

    Raises PAR-0304 for anything that is not a file, a link or a directory.
    """
    real = node.real(path)
    try:
        status = real.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISLNK(status.st_mode):
        return Entry("link", os.fsencode(real.readlink()))
    owner, group = names_of(status)
    if stat.S_ISDIR(status.st_mode):
        return Entry("directory", b"", mode_of(status), owner, group)
    if not stat.S_ISREG(status.st_mode):
        raise Refused("PAR-0304", path=path, obstacle="device, socket or pipe")
    return Entry("file", real.read_bytes(), mode_of(status), owner, group)


def matches(path: str, patterns: Iterable[str]) -> bool:
    """Say whether ``path`` matches one of the shell patterns (``*`` also matches ``/``)."""
    return any(fnmatchcase(path, pattern) for pattern in patterns)


def check_target(node: Node, path: str, roots: Iterable[str]) -> None:
    """Refuse a target outside ``roots`` (PAR-0303) or below a link or a file (PAR-0304)."""
    parts = path.split("/")
    if parts[0] or any(part in ("", ".", "..") for part in parts[1:]) or "\0" in path:
        raise Refused("PAR-0303", path=path, roots=", ".join(roots))
    if not any(path.startswith(root.rstrip("/") + "/") for root in roots):
        raise Refused("PAR-0303", path=path, roots=", ".join(roots))
    for depth in range(2, len(parts)):
        parent = "/".join(parts[:depth])
        try:
            status = node.real(parent).lstat()
        except FileNotFoundError:
            return
        if not stat.S_ISDIR(status.st_mode):
            raise Refused("PAR-0304", path=path, obstacle=parent)


@dataclass(frozen=True)
class Plan:
    """What must happen to make the node's tree the desired one; all lists are sorted paths."""

    created: list[str]
    replaced: list[str]
    removed: list[str]

    @property
    def paths(self) -> list[str]:
        """Every path that will be written or removed."""
        return sorted([*self.created, *self.replaced, *self.removed])


def make_plan(desired: Tree, current: Mapping[str, Entry | None]) -> Plan:
    """Compare ``desired`` with ``current``, which also holds every path owned until now.

    Raises PAR-0304 where a directory and something else would have to change places.
    """
    for path, entry in desired.items():
        there = current[path]
        if there is not None and (there.kind == "directory") != (entry.kind == "directory"):
            raise Refused("PAR-0304", path=path, obstacle=f"{path} ({there.kind})")
    differs = {path for path, entry in desired.items() if facts_of(current[path]) != entry.facts}
    return Plan(
        created=sorted(path for path in differs if current[path] is None),
        replaced=sorted(path for path in differs if current[path] is not None),
        removed=sorted(path for path in current.keys() - desired.keys() if current[path]),
    )


def facts_of(entry: Entry | None) -> dict[str, str] | None:
    """Return an entry's facts, None for nothing."""
    return None if entry is None else entry.facts


def missing_parents(node: Node, desired: Tree) -> list[str]:
    """Return the parent directories that do not exist and that nobody declared, outermost first."""
    parents = {
        str(parent) for path in desired for parent in Path(path).parents if str(parent) != "/"
    }
    return sorted(path for path in parents - desired.keys() if not node.real(path).is_dir())


def diff_of(path: str, before: Entry | None, after: Entry | None) -> dict[str, str]:
    """Return one entry of Ansible's diff: the content, or a word for it, and mode and owner."""
    secret = bool((before and before.secret) or (after and after.secret))
    texts = [_shown(before, secret), _shown(after, secret)]
    if secret and before and after and before.content != after.content:
        texts[1] = "(another secret content)\n"
    if texts[0] == texts[1]:
        texts = [_ownership(before) + "\n", _ownership(after) + "\n"]
    return {
        "before_header": f"{path} {_ownership(before)}",
        "after_header": f"{path} {_ownership(after)}",
        "before": texts[0],
        "after": texts[1],
    }


def _ownership(entry: Entry | None) -> str:
    if entry is None:
        return "(absent)"
    return f"({entry.kind}{f' {entry.mode} {entry.owner}:{entry.group}' if entry.mode else ''})"


def _shown(entry: Entry | None, secret: bool) -> str:
    if entry is None:
        return ""
    if entry.kind == "directory":
        return "(directory)\n"
    if secret:
        return "(secret content)\n"
    if entry.kind == "link":
        return f"-> {os.fsdecode(entry.content)}\n"
    try:
        text = entry.content.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        digest = hashlib.sha256(entry.content).hexdigest()
        return f"(binary, {len(entry.content)} bytes, sha256 {digest})\n"
    return text


def remove(path: Path) -> bool:
    """Remove a file, a link or an empty directory; say whether nothing is there any more."""
    try:
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)
    except NotADirectoryError:
        return True
    except OSError:
        return False
    return True
