"""Make a country's own half in one directory, which appears whole or not at all."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from paranal.agreement import signatures
from paranal.agreement.card import SCHEMA
from paranal.agreement.connections import anchor_digest
from paranal.member.inventory import inventory
from paranal.messages import Refusal
from paranal.pki.authority import CertificateAuthority
from paranal.pki.storage import ensure_passphrase, sync_directory

PUBLIC = "public"
"""All that leaves the house: the card and the authority's published half."""
_PLAIN = re.compile(r"[\w./-]+")


def make(
    directory: Path, code: str, domain: str, facts: dict[str, Any], signing_key: Path | None
) -> dict[str, Any]:
    """Make the half of member ``code`` and return what may be told of it.

    ``facts`` are checked already; ``signing_key`` is a public one, made here where it is None.
    Raises ``Refusal`` PAR-1001 (the directory), PAR-1004 (the key) and what the parts raise.
    """
    target = directory.absolute()
    _check_free(target)
    public = _given(signing_key)
    building = target.parent / f".{target.name}.{secrets.token_hex(4)}"
    with _ours_alone():
        try:
            building.mkdir(parents=True)
            told = _fill(building, target, code, domain, facts, public)
            sync_directory(building)
            building.rename(target)
        except OSError as error:
            raise Refusal("PAR-1001", path=target, reason=error.strerror) from None
        finally:
            shutil.rmtree(building, ignore_errors=True)
    sync_directory(target.parent)
    return told


def _fill(
    building: Path,
    target: Path,
    code: str,
    domain: str,
    facts: dict[str, Any],
    public: str | None,
) -> dict[str, Any]:
    if public is None:
        (building / "signer").mkdir()
        signatures.make_key(building / "signer" / code, f"anexo@{code}")
        public = (building / "signer" / f"{code}.pub").read_text(encoding="utf-8").strip()
    (building / "ca").mkdir()
    passphrase = ensure_passphrase(building / "ca" / f"{code}.passphrase")
    authority = CertificateAuthority.create(
        building / "ca" / code, code, f"{code}.{domain}", passphrase
    )
    (building / "ppk" / code).mkdir(parents=True)
    ensure_passphrase(building / "ppk" / f"{code}.passphrase")
    for folder in ("agreement", PUBLIC):
        (building / folder).mkdir()
        authority.publish(building / folder)
    root = anchor_digest((building / PUBLIC / "ca" / f"{code}-root.pem").read_bytes())
    card = {"schema": SCHEMA, "code": code, "member": {**facts, "roots": [root]}, "signer": public}
    text = yaml.safe_dump(card, allow_unicode=True, sort_keys=False, width=200)
    (building / PUBLIC / f"{code}.yml").write_text(text, encoding="utf-8")
    places = {
        "agreement": str(target / "agreement" / "agreement.yml"),
        "ca": str(target / "ca" / code),
        "ppk": str(target / "ppk" / code),
    }
    listed = [signatures.listed(code, public)]
    for name, content in inventory(code, facts, listed, places).items():
        path = building / "inventory" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return {
        "code": code,
        "directory": str(target),
        "card": str(target / PUBLIC / f"{code}.yml"),
        "signer": signatures.fingerprint(public),
        "root": root,
    }


def _check_free(target: Path) -> None:
    """Refuse a place that has something, or whose name is more than a name to an inventory."""
    try:
        taken = target.exists() and (not target.is_dir() or any(target.iterdir()))
    except OSError as error:
        raise Refusal("PAR-1001", path=target, reason=error.strerror) from None
    if taken:
        raise Refusal("PAR-1001", path=target, reason="not empty")
    if not _PLAIN.fullmatch(str(target)):
        raise Refusal("PAR-1001", path=target, reason="[A-Za-z0-9_./-]")


def _given(signing_key: Path | None) -> str | None:
    if signing_key is None:
        return None
    try:
        public = signing_key.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise Refusal("PAR-1004", path=signing_key) from None
    if signatures.fingerprint(public) is None:
        raise Refusal("PAR-1004", path=signing_key)
    return public


@contextmanager
def _ours_alone() -> Iterator[None]:
    """Let every file and directory made meanwhile be its owner's alone."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)
