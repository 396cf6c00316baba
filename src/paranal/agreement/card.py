"""The card (ficha): all that a state hands over to join, public facts only.

::

    schema: 1
    code: ec
    member: {...}    its facts as the agreement will have them, its roots among them
    signer: ssh-ed25519 ...    the key that will sign the agreement for it
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from paranal.agreement import signatures
from paranal.agreement.check import shape_problems
from paranal.agreement.source import FieldPath, Source, read
from paranal.messages import Refusal

SCHEMA = 1
JOINS_AS = "pending"
"""The one status to join with: what opens is another change, which everybody signs."""


@dataclass(frozen=True)
class Card:
    """A checked card; its lines serve the checks against the agreement it is put into."""

    source: Source
    code: str
    member: dict[str, Any]
    signer: str
    fingerprint: str


def read_card(path: Path) -> Card:
    """Read one card.

    Raises ``Refusal`` PAR-01xx for what is no such file, PAR-0158 (schema), PAR-0159 (a status that
    opens something) and PAR-0160 (the signer is not one public key).
    """
    source = read(path)
    for problem in shape_problems(source, "card", "PAR-0158"):
        raise problem
    data = source.data
    check_pending(source, ("member",))
    fingerprint = signatures.fingerprint(data["signer"])
    if fingerprint is None:
        raise Refusal("PAR-0160", where=source.where(("signer",)))
    return Card(source, data["code"], data["member"], data["signer"].strip(), fingerprint)


def check_pending(source: Source, member: FieldPath) -> None:
    """Refuse (PAR-0159) a member, at that field, which would join with more than nothing open."""
    status = source.data
    for key in (*member, "status"):
        status = status[key]
    if status != JOINS_AS:
        raise Refusal("PAR-0159", where=source.where((*member, "status")), status=status)


def as_members(source: Source, member: FieldPath, code: str, document: dict[str, Any]) -> Source:
    """Return ``document`` as a source in which ``members.CODE`` has its lines in this file.

    So that a check of the whole names the line of the card, where it can be mended.
    """
    lines = {
        ("members", code, *field[len(member) :]): line
        for field, line in source.lines.items()
        if field[: len(member)] == member
    }
    return replace(source, data=document, lines=lines)
