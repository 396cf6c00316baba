"""The views of the shipped agreements, each agreement read once."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from paranal.agreement import Agreement, load, member_view

REPOSITORY = Path(__file__).parents[3]


@cache
def document(name: str) -> Agreement:
    return load(REPOSITORY / "agreement" / f"{name}.yml")


def view(code: str, agreement: str = "pacific-alliance") -> dict[str, Any]:
    return member_view(document(agreement), code)
