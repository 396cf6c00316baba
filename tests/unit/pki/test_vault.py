"""A passphrase that ansible-vault keeps: opened by the country's own secret, and by no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultLib, VaultSecret

from paranal.messages import Refusal
from paranal.pki.storage import read_passphrase
from paranal.pki.vault import opener

PASSPHRASE = b"a passphrase of more than twenty letters"


def loader(*secrets: tuple[str, bytes]) -> DataLoader:
    """Return a loader that was given these secrets by ``--vault-id``."""
    found = DataLoader()  # type: ignore[no-untyped-call]
    known: list[Any] = [(name, VaultSecret(secret)) for name, secret in secrets]  # type: ignore[no-untyped-call]
    found.set_vault_secrets(known)
    return found


@pytest.fixture
def encrypted(tmp_path: Path) -> Path:
    """Peru's passphrase, encrypted under the vault id ``pe``."""
    secret = VaultSecret(b"of Peru")  # type: ignore[no-untyped-call]
    path = tmp_path / "ca.passphrase"
    path.write_bytes(VaultLib().encrypt(PASSPHRASE + b"\n", secret=secret, vault_id="pe"))  # type: ignore[no-untyped-call]
    path.chmod(0o600)
    return path


@pytest.mark.req("D5", "B1")
def test_a_country_opens_its_own_passphrase_and_no_other_does(encrypted: Path) -> None:
    assert b";pe\n" in encrypted.read_bytes()
    opened = opener(loader(("pe", b"of Peru"), ("co", b"of Colombia")))
    assert read_passphrase(encrypted, opened) == PASSPHRASE
    for secrets in ([], [("co", b"of Colombia")], [("pe", b"of Colombia")]):
        with pytest.raises(Refusal, match=r"PAR-0402.*--vault-id") as refused:
            read_passphrase(encrypted, opener(loader(*secrets)))
        assert "passphrase of more" not in str(refused.value)


def test_a_plain_file_is_read_as_before_and_a_missing_one_named(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_bytes(PASSPHRASE + b"\n")
    plain.chmod(0o600)
    assert read_passphrase(plain, opener(loader())) == PASSPHRASE
    with pytest.raises(Refusal, match=r"PAR-0402.*No such file"):
        read_passphrase(tmp_path / "none", opener(loader()))


def test_outside_a_playbook_an_encrypted_file_is_no_passphrase(encrypted: Path) -> None:
    with pytest.raises(Refusal, match=r"PAR-0402.*ansible-vault decrypt"):
        read_passphrase(encrypted)
