"""Filters of the role database: what PostgreSQL could not do with the declared values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from paranal.messages import Refusal

# Two services of eight, an import and an operator.
CONNECTIONS_AT_LEAST = 20


def database_problems(view: Mapping[str, Any], connections: object) -> list[str]:
    """Return, in the catalogue's words, why the cluster cannot run with the declared values."""
    if isinstance(connections, int) and connections >= CONNECTIONS_AT_LEAST:
        return []
    code, least = view["member"]["code"], CONNECTIONS_AT_LEAST
    return [str(Refusal("PAR-0593", member=code, found=repr(connections), least=least))]


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"database_problems": database_problems}
