"""What was loaded into charon, from which content, and since when: the proof charon cannot give.

Charon shows neither proposals nor certificates' content, so a connection counts as *proved* only
while this record, charon's start time and what charon does show agree.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from paranal.agreement.connections import Connection
from paranal.tunnels.charon import Start

CREDENTIAL_FOLDERS = ("x509", "x509ca", "x509crl", "ppk")
"""Below ``/etc/swanctl``. The private key is not read: a new key always has a new leaf."""

HEADER = """\
# Managed by Paranal (ipsec_connections), made from the agreement; the next run undoes an edit.
# A restarted charon loads exactly this; a running one was given the same over VICI.
"""


class Declared(TypedDict):
    """A connection and its section of the swanctl file, comments included."""

    connection: Connection
    text: str


class Held(Declared):
    """A connection that charon was given."""

    observed: str
    """Digest of what charon showed of it right after it was loaded."""


@dataclass(frozen=True)
class Paths:
    """Where the files of one gateway are; another root only in tests."""

    swanctl: Path = Path("/etc/swanctl")
    state: Path = Path("/var/lib/paranal/node")

    @property
    def file(self) -> Path:
        """The connections that a restarted charon loads."""
        return self.swanctl / "conf.d" / "paranal.conf"

    @property
    def record(self) -> Path:
        """The record itself, root only."""
        return self.state / "connections.json"

    def certificate(self, name: str) -> bytes:
        """Return one file of ``x509ca``."""
        return (self.swanctl / "x509ca" / name).read_bytes()

    @contextmanager
    def alone(self, *, wait: bool) -> Iterator[bool]:
        """Hold the tunnels for one run; gives ``False`` when another has them and not ``wait``."""
        self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.state / "connections.lock").open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True


@dataclass
class Record:
    """The record of one gateway; ``held`` by connection name, ``credentials`` by file."""

    started: str = ""
    """Which charon the record is about (``Start.identity``)."""
    held: dict[str, Held] = field(default_factory=dict)
    superseded: list[str] = field(default_factory=list)
    """Held generations that go as soon as the peer follows to the new one."""
    renew: list[str] = field(default_factory=list)
    """Generations we started lately: their IKE_SAs are renewed once, when the peer has settled."""
    credentials: dict[str, str] = field(default_factory=dict)
    reauthenticate: list[str] = field(default_factory=list)
    """IKE_SAs (charon's numbers) that must authenticate anew and were not seen to have done it."""

    def text(self) -> str:
        """Return the swanctl file: every held connection, the superseded ones last."""
        names = sorted(self.held, key=lambda name: (name in self.superseded, name))
        sections = "\n".join(self.held[name]["text"] for name in names)
        return f"{HEADER}connections {{\n{sections}}}\n"

    def save(self, paths: Paths) -> None:
        """Write the swanctl file and the record; both are on the disk before either replaces."""
        text = json.dumps(vars(self), indent=1, sort_keys=True) + "\n"
        new = staged(paths.file, self.text(), 0o600), staged(paths.record, text, 0o600)
        for beside, path in zip(new, (paths.file, paths.record), strict=True):
            beside.replace(path)


def read_record(paths: Paths) -> Record:
    """Return the node's record; an empty one when there is none or it cannot be read as one."""
    try:
        return Record(**json.loads(paths.record.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return Record()


def file_intact(record: Record, paths: Paths) -> bool:
    """Tell whether the swanctl file is exactly what the record says."""
    try:
        return paths.file.read_text(encoding="utf-8") == record.text()
    except (OSError, ValueError):
        return False


def edited(record: Record, paths: Paths) -> bool:
    """Tell whether the swanctl file is other than what was applied; no apply, no edit."""
    return bool(record.held) and not file_intact(record, paths)


def proved(
    record: Record, loaded: Mapping[str, Mapping[str, Any]], start: Start, paths: Paths
) -> frozenset[str]:
    """Return the names that charon provably loaded from the recorded content.

    After a restart the file is the proof: charon read it when it started, so it must be intact
    and older than that.
    """
    if record.started != start.identity and not _read_anew(record, start, paths):
        return frozenset()
    return frozenset(
        name
        for name, entry in loaded.items()
        if name in record.held and record.held[name]["observed"] == observed(entry)
    )


def adopt(record: Record, start: Start, paths: Paths) -> None:
    """Make the record one about the charon that runs, where the file proves what it loaded.

    Whoever writes the file after a restart takes that proof away; the record holds it from then on.
    """
    if record.started == start.identity or not _read_anew(record, start, paths):
        return
    current = credentials(paths)
    unread = stale_credentials(record, current, start, paths)
    record.credentials = {name: current[name] for name in current if name not in unread}
    record.started, record.reauthenticate = start.identity, []


def _read_anew(record: Record, start: Start, paths: Paths) -> bool:
    return file_intact(record, paths) and older(paths.file, start)


def observed(entry: Mapping[str, Any]) -> str:
    """Digest what charon shows of one connection."""
    return hashlib.sha256(json.dumps(entry, sort_keys=True).encode()).hexdigest()


def credentials(paths: Paths) -> dict[str, str]:
    """Return the digest (SHA-256, hex) of every credential but the key, by path below swanctl."""
    return {
        f"{folder}/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in CREDENTIAL_FOLDERS
        for path in sorted((paths.swanctl / folder).glob("*"))
        if path.is_file()
    }


def stale_credentials(
    record: Record, current: Mapping[str, str], start: Start, paths: Paths
) -> list[str]:
    """Return the files that charon has not read since they changed, also removed ones, sorted."""
    if record.started == start.identity:
        names = current.keys() | record.credentials.keys()
        changed = {name for name in names if current.get(name) != record.credentials.get(name)}
        return sorted(name for name in changed if not _taken(name, paths))
    return sorted(name for name in current if not older(paths.swanctl / name, start))


def _taken(name: str, paths: Paths) -> bool:
    """Tell whether a file is a list that came by ``control``, which had charon read it at once."""
    kept = paths.state / "lists" / Path(name).name
    try:
        same = kept.read_bytes() == (paths.swanctl / name).read_bytes()
    except OSError:
        return False
    return same and not kept.with_suffix(".owed").exists()


def older(path: Path, start: Start) -> bool:
    """Tell whether ``path`` was last written before charon started, with a second to spare."""
    return path.stat().st_mtime < start.at - 1


def replace(path: Path, text: str, mode: int) -> None:
    """Replace a file so that a reader or a crash sees the old or the new one, whole."""
    staged(path, text, mode).replace(path)


def staged(path: Path, text: str, mode: int) -> Path:
    """Write beside ``path`` what is to replace it, to the disk, and return where it stands."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        os.fchmod(stream.fileno(), mode)
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    return beside
