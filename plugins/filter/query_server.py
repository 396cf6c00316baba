"""Filters of the role query_server: with which values a country could not answer honestly."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from paranal.agreement.address import endpoint
from paranal.messages import Refusal

DEADLINE_SECONDS_AT_LEAST = 1
# An officer stands before the traveller and waits for it.
DEADLINE_SECONDS_AT_MOST = 30


def query_server_problems(
    view: Mapping[str, Any], sources: Sequence[str], deadline_seconds: object
) -> list[str]:
    """Return, in the catalogue's words, why the services cannot run with the declared values."""
    code = view["member"]["code"]
    return [str(problem) for problem in _problems(code, sources, deadline_seconds)]


def _problems(code: str, sources: Sequence[str], deadline_seconds: object) -> Iterator[Refusal]:
    if not sources:
        yield Refusal("PAR-0594", member=code)
    least, most = DEADLINE_SECONDS_AT_LEAST, DEADLINE_SECONDS_AT_MOST
    if not (isinstance(deadline_seconds, int) and least <= deadline_seconds <= most):
        found = repr(deadline_seconds)
        yield Refusal("PAR-0595", member=code, found=found, least=least, most=most)


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"query_server_endpoint": endpoint, "query_server_problems": query_server_problems}
