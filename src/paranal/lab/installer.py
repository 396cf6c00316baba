"""What the Debian installer leaves on a machine: a host key, one account with sudo, a machine id.

Nothing here belongs to a role: a production node comes to the controller in the same state.
"""

from __future__ import annotations

import io
import tarfile
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

ACCOUNT = "ops"
ACCOUNT_ID = 1000
SUDO_RULE = f"{ACCOUNT} ALL=(ALL:ALL) NOPASSWD: ALL\n"


@dataclass(frozen=True)
class Key:
    """An Ed25519 key pair as OpenSSH writes it: ``private`` in PEM, ``public`` as one line."""

    private: bytes
    public: str

    @classmethod
    def generate(cls) -> Key:
        """Return a fresh pair."""
        secret = Ed25519PrivateKey.generate()
        return cls(
            secret.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
            secret.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode(),
        )

    def save(self, path: Path) -> None:
        """Write the pair to ``path`` (mode 0600) and ``path.pub``."""
        save(path, self.private)
        path.with_suffix(".pub").write_text(f"{self.public}\n", encoding="ascii")


def save(path: Path, content: bytes) -> None:
    """Write a secret to ``path`` (mode 0600), in a folder that nobody else enters."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(content)


def known_hosts(keys: dict[str, Key]) -> str:
    """Return a known_hosts file that pins each member's host key under the member's code."""
    return "".join(f"{member} {key.public}\n" for member, key in sorted(keys.items()))


def archive(host_key: Key, operator: Key, files: Mapping[str, str] = MappingProxyType({})) -> bytes:
    """Return a tar of all that a node gets before its first boot, with owners and modes.

    ``files`` are a machine's further ones, path below / -> content: its network.
    """
    ssh_folder = f"home/{ACCOUNT}/.ssh"
    public = f"{host_key.public}\n".encode()
    machine_id = f"{uuid.uuid4().hex}\n".encode()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        _add(tar, "etc/ssh/ssh_host_ed25519_key", 0o600, host_key.private)
        _add(tar, "etc/ssh/ssh_host_ed25519_key.pub", 0o644, public)
        _add(tar, "etc/sudoers.d/installer", 0o440, SUDO_RULE.encode())
        _add(tar, "etc/machine-id", 0o444, machine_id)
        for path, content in sorted(files.items()):
            _add(tar, path, 0o644, content.encode())
        _add(tar, ssh_folder, 0o700, None, ACCOUNT_ID)
        keys = f"{operator.public}\n".encode()
        _add(tar, f"{ssh_folder}/authorized_keys", 0o600, keys, ACCOUNT_ID)
    return packed.getvalue()


def _add(tar: tarfile.TarFile, name: str, mode: int, content: bytes | None, owner: int = 0) -> None:
    """Add a file, or a folder when there is no content."""
    entry = tarfile.TarInfo(name)
    entry.mode, entry.uid, entry.gid, entry.mtime = mode, owner, owner, int(time.time())
    if content is None:
        entry.type = tarfile.DIRTYPE
        tar.addfile(entry)
    else:
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
