"""Filters of the frame around a run: what a role says that stands outside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from paranal.messages import Refusal


def node_not_open(role: str) -> list[str]:
    """Return, in the catalogue's words, why ``role`` cannot run where nobody opened the node.

    A filter never sees an undefined value, so the role itself asks whether ``node_view`` and
    ``node_probe`` are defined, and only says it with this.
    """
    return [str(Refusal("PAR-0326", role=role))]


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"node_not_open": node_not_open}
