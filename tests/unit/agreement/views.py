"""The views of the shipped agreements, each agreement read once."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

from paranal.agreement import Agreement, load, member_view
from paranal.agreement.connections import anchor_digest

REPOSITORY = Path(__file__).parents[3]


@cache
def _read(name: str) -> Agreement:
    return load(REPOSITORY / "agreement" / f"{name}.yml")


def document(name: str) -> Agreement:
    """Return an agreement, a copy: what a test changes in it is not the next one's."""
    return deepcopy(_read(name))


def view(code: str, agreement: str = "pacific-alliance") -> dict[str, Any]:
    """Return a member's view, its own too."""
    return member_view(document(agreement), code)


def rooted(found: dict[str, Any], published: Path) -> dict[str, Any]:
    """Return the view of an agreement that names the roots that were published."""

    def named(member: dict[str, Any]) -> dict[str, Any]:
        root = published / "ca" / f"{member['code']}-root.pem"
        return {**member, "roots": [anchor_digest(root.read_bytes())]}

    return {**found, "member": named(found["member"]), "peers": list(map(named, found["peers"]))}
