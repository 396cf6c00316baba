"""Files of a certificate authority: atomic writes, append-only registers, the lock, passphrases.

Every write is complete or absent after a crash at any point: a new file is written beside its
target, synced and renamed; a register line counts once its newline is on disk.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from paranal.messages import Refusal

VAULT = b"$ANSIBLE_VAULT;"
"""How a file begins that ansible-vault has encrypted."""
PASSPHRASE_LENGTH_AT_LEAST = 20
LOCK_PATIENCE_SECONDS = 30.0
_LOCK_POLL_SECONDS = 0.02


def write_atomic(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Put ``content`` at ``path`` whole or not at all, with ``mode`` from its first byte on."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(stream.fileno(), mode)  # the umask may have narrowed a public file's mode
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make the names in ``directory`` durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Register:
    """An append-only JSON-lines file, one object per line, read forward only.

    A last line without newline is the trace of a crash: it was never acknowledged, so it is cut
    off before the next append. Hold the authority's lock while calling ``refresh`` or ``append``.
    """

    def __init__(self, path: Path) -> None:
        """Read nothing yet; an absent file is an empty register."""
        self.path = path
        self.entries: list[dict[str, Any]] = []
        self._offset = 0

    def refresh(self) -> None:
        """Read what was appended since the last call into ``entries``.

        Refuses (PAR-0414) a complete line that is not a JSON object.
        """
        if not self.path.exists():
            return
        with self.path.open("rb") as stream:
            stream.seek(self._offset)
            complete, newline, _ = stream.read().rpartition(b"\n")
        found = []
        for line in complete.splitlines():
            try:
                entry = json.loads(line)
            except ValueError as error:
                raise Refusal("PAR-0414", path=self.path, reason=error) from None
            if not isinstance(entry, dict):
                raise Refusal("PAR-0414", path=self.path, reason="not an object")
            found.append(entry)
        self._offset += len(complete) + len(newline)
        self.entries += found

    def append(self, entry: dict[str, Any]) -> None:
        """Add one entry durably; ``refresh`` must have been called under the same lock."""
        is_new = not self.path.exists()
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o600)
        line = json.dumps(entry, ensure_ascii=False, sort_keys=True).encode() + b"\n"
        try:
            os.ftruncate(descriptor, self._offset)
            os.pwrite(descriptor, line, self._offset)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if is_new:  # its first line is durable only when its name is
            sync_directory(self.path.parent)
        self.entries.append(entry)
        self._offset += len(line)


@contextmanager
def locked(directory: Path, patience: float = LOCK_PATIENCE_SECONDS) -> Iterator[None]:
    """Hold the one lock of ``directory``; refuse (PAR-0412) after ``patience`` seconds.

    The lock is the kernel's (flock), so it ends with its holder; the file names the holder's
    process for the refusal's sake only.
    """
    path = directory / "lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        deadline = time.monotonic() + patience
        while not _try_lock(descriptor):
            if time.monotonic() > deadline:
                holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
                raise Refusal("PAR-0412", directory=directory, holder=holder or "?")
            time.sleep(_LOCK_POLL_SECONDS)
        os.pwrite(descriptor, f"{os.getpid():<20}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def read_passphrase(path: Path, read: Callable[[Path], bytes] = Path.read_bytes) -> bytes:
    """Return the passphrase in ``path``: its first line, at least 20 characters.

    ``read`` returns the file's content: a playbook opens one that ansible-vault has encrypted.
    Refuses (PAR-0402) a file that is missing, short, readable by anyone but its owner, or encrypted
    where nobody opened it.
    """
    try:
        status = path.stat()
        content = read(path)
    except OSError as error:
        raise Refusal("PAR-0402", path=path, reason=error.strerror) from None
    if content.startswith(VAULT):
        raise Refusal("PAR-0402", path=path, reason="ansible-vault decrypt")
    if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o077:
        raise Refusal("PAR-0402", path=path, reason=f"mode {stat.S_IMODE(status.st_mode):04o}")
    passphrase = content.partition(b"\n")[0].strip()
    if len(passphrase) < PASSPHRASE_LENGTH_AT_LEAST:
        raise Refusal("PAR-0402", path=path, reason=f"< {PASSPHRASE_LENGTH_AT_LEAST}")
    return passphrase


def ensure_passphrase(path: Path) -> bytes:
    """Return the passphrase in ``path``, made at random (256 bits) when the file is absent.

    Refuses (PAR-0402) also a place where it cannot be written.
    """
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_atomic(path, secrets.token_urlsafe(32).encode() + b"\n")
    except OSError as error:
        raise Refusal("PAR-0402", path=path, reason=error.strerror) from None
    return read_passphrase(path)
