"""A country's own directory of preshared keys: one file for each, encrypted by Ansible Vault.

The vault (AES-256 and HMAC-SHA-256 under a passphrase of 256 random bits) is symmetric throughout:
nothing that a quantum computer breaks stands between the key and who records the courier's bag.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.parsing.vault import VaultLib, VaultSecret

from paranal.messages import Refusal
from paranal.pki.storage import ensure_passphrase, read_passphrase, sync_directory, write_atomic

KEY_BYTES = 32
SUFFIX = ".vault"
_NAME = re.compile(r"(?P<one>[a-z]{2})-(?P<other>[a-z]{2})-g[1-9][0-9]{0,5}")
_VAULT_ID = "paranal-ppk"


def checked(name: str) -> str:
    """Return ``name`` when it names a key: the pair and its generation, as in ``co-pe-g2``.

    Raises ``Refusal`` PAR-0430.
    """
    match = _NAME.fullmatch(name)
    if match is None or match["one"] >= match["other"]:
        raise Refusal("PAR-0430", name=name)
    return name


def fingerprint(name: str, key: bytes) -> str:
    """Return what two people compare by voice: eight groups of four hexadecimal digits.

    HMAC-SHA-256 under the key itself, cut to 128 bits: it says nothing of a key of 256 random bits,
    and the same key under another name has another one.
    """
    digits = hmac.digest(key, name.encode("ascii"), "sha256").hex()[:32]
    return " ".join(digits[at : at + 4] for at in range(0, 32, 4))


@dataclass(frozen=True)
class Store:
    """The keys below ``directory``, encrypted under the passphrase in ``passphrase_file``."""

    directory: Path
    passphrase_file: Path
    read: Callable[[Path], bytes] = Path.read_bytes
    """What opens the passphrase's file: in a playbook, one that ansible-vault has encrypted too."""

    def names(self) -> list[str]:
        """Return the names of the keys, sorted."""
        return sorted(path.stem for path in self.directory.glob(f"*{SUFFIX}"))

    def make(self, name: str) -> str:
        """Make a new key and return its fingerprint. Raises ``Refusal`` PAR-0431 for one we have.

        A generation is never made again: the peer would hold another key under the same name.
        """
        return self._add(checked(name), secrets.token_bytes(KEY_BYTES))

    def key(self, name: str) -> bytes:
        """Return a key. Raises ``Refusal`` PAR-0432 without it, PAR-0433 when it does not open."""
        path = self._path(checked(name))
        if not path.exists():
            raise Refusal("PAR-0432", name=name, directory=self.directory)
        return _unpacked(path, read_passphrase(self.passphrase_file, self.read), name)[1]

    def seal(self, name: str, target: Path, transport_passphrase_file: Path) -> str:
        """Write a key for the peer, under a passphrase of its own; return the fingerprint.

        File and passphrase travel by two different routes. Raises ``Refusal`` PAR-0435 rather than
        write over a file.
        """
        key = self.key(name)
        if target.exists():
            raise Refusal("PAR-0435", path=target)
        write_atomic(target, _packed(name, key, ensure_passphrase(transport_passphrase_file)))
        return fingerprint(name, key)

    def open(self, source: Path, transport_passphrase_file: Path) -> tuple[str, str]:
        """Take a sealed key in; return its name and fingerprint, to be compared by voice.

        Raises ``Refusal`` PAR-0433 when it does not open, PAR-0431 when we have that generation.
        """
        name, key = _unpacked(source, read_passphrase(transport_passphrase_file))
        return name, self._add(name, key)

    def drop(self, name: str) -> None:
        """Forget a key that no connection names any more. Raises ``Refusal`` PAR-0432."""
        path = self._path(checked(name))
        if not path.exists():
            raise Refusal("PAR-0432", name=name, directory=self.directory)
        path.unlink()
        sync_directory(self.directory)

    def _add(self, name: str, key: bytes) -> str:
        if self._path(name).exists():
            raise Refusal("PAR-0431", name=name, directory=self.directory)
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        passphrase = ensure_passphrase(self.passphrase_file)
        write_atomic(self._path(name), _packed(name, key, passphrase))
        return fingerprint(name, key)

    def _path(self, name: str) -> Path:
        return self.directory / f"{name}{SUFFIX}"


def _vault(passphrase: bytes) -> tuple[Any, Any]:
    """Return Ansible's vault under one passphrase, and its secret; neither is typed."""
    secret = VaultSecret(passphrase)  # type: ignore[no-untyped-call]
    return VaultLib([(_VAULT_ID, secret)]), secret  # type: ignore[no-untyped-call]


def _packed(name: str, key: bytes, passphrase: bytes) -> bytes:
    """Encrypt name and key together, so that a file cannot pass for another generation's."""
    vault, secret = _vault(passphrase)
    content = json.dumps({"name": name, "key": key.hex()})
    sealed: bytes = vault.encrypt(content, secret, vault_id=_VAULT_ID)
    return sealed


def _unpacked(path: Path, passphrase: bytes, name: str | None = None) -> tuple[str, bytes]:
    try:
        content = json.loads(_vault(passphrase)[0].decrypt(path.read_bytes()))
        found, key = checked(content["name"]), bytes.fromhex(content["key"])
    except (OSError, AnsibleError, ValueError, KeyError, TypeError):
        # Whatever it says could quote what it has read.
        raise Refusal("PAR-0433", path=path) from None
    if len(key) != KEY_BYTES or found != (name or found):
        raise Refusal("PAR-0433", path=path)
    return found, key
