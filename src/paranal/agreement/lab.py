"""The signatures of a lab, where one machine stands in for every ministry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from paranal.agreement import bundle as bundles
from paranal.agreement import signatures
from paranal.agreement.bundle import Bundle
from paranal.agreement.connections import anchor_digest, root_files
from paranal.agreement.load import Agreement, load

ALLOWED = "signers/allowed_signers"


def ensure(lab: Path) -> list[str]:
    """Make sure that the lab's agreement names every root and that every member has signed it.

    ``lab`` is ``.lab/NAME``, whose authorities are there. An agreement with other content is the
    next epoch. Returns what changed, relative to ``lab``; a second call returns nothing.
    """
    path = lab / "agreement" / "agreement.yml"
    bundle = bundles.read(bundles.beside(path))
    written = load(path)
    document = _numbered(_rooted(written.document, lab / "agreement" / "ca"), bundle)
    changed = []
    if document != written.document:
        text = yaml.safe_dump(document, allow_unicode=True, sort_keys=False)
        path.write_text(text, encoding="utf-8")
        changed.append("agreement/agreement.yml")
    signed = _signed(bundle.proposed(Agreement(path, document)), lab)
    if signed != bundle:
        bundles.write(bundles.beside(path), signed)
        changed.append(f"agreement/{bundles.beside(path).name}")
    return changed


def _rooted(document: dict[str, Any], authorities: Path) -> dict[str, Any]:
    """Return the document with each member's roots: those it names that are published, or all."""
    members = {}
    for code, member in document["members"].items():
        files = root_files(authorities, code)
        published = [anchor_digest((authorities / name).read_bytes()) for name in files]
        named = [root for root in member.get("roots", []) if root in published]
        members[code] = {**member, "roots": named or published[:1]}
    return {**document, "members": members}


def _numbered(document: dict[str, Any], bundle: Bundle) -> dict[str, Any]:
    """Return the document under its epoch: the last one's while nothing else differs."""
    if bundle.last is None:
        return document
    same = {**document, "epoch": bundle.last.epoch}
    return same if same == bundle.last.document else {**same, "epoch": bundle.last.epoch + 1}


def _signed(bundle: Bundle, lab: Path) -> Bundle:
    (last,) = bundle.steps[-1:]
    for member in sorted(last.members - last.signatures.keys()):
        bundle = bundle.signed(member, signatures.sign(last.content, _key(lab, member)))
    return bundle


def _key(lab: Path, member: str) -> Path:
    """Return a member's own signing key, made and listed where it is absent."""
    key = lab / "signers" / member
    if not key.exists():
        key.parent.mkdir(exist_ok=True, mode=0o700)
        signatures.make_key(key, member)
        public = key.with_suffix(".pub").read_text(encoding="utf-8")
        with (lab / ALLOWED).open("a", encoding="utf-8") as file:
            file.write(signatures.listed(member, public))
    return key
