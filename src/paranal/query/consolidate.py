"""The truth table: whom to ask, and what the officer is told (``design.md``, requirement R10).

Pure and total: no combination of answers is undefined, and none lets a silent country pass as OK.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from paranal.messages import Refusal

Answer = Literal["OK", "RQ", "ANT", "NOT_AUTHORISED", "REFUSED", "TIMEOUT", "UNAVAILABLE"]
Outcome = Literal["OK", "ALERT", "INCOMPLETE"]

HITS: frozenset[Answer] = frozenset({"RQ", "ANT"})
GIVEN: frozenset[Answer] = HITS | {"OK"}
"""Answers that a country gave; each of the other four is "no answer"."""


class Plan(NamedTuple):
    """Whom a question goes to, who is asked but closed to us, and who is not in service."""

    ask: tuple[str, ...]
    closed: tuple[str, ...]
    not_in_service: tuple[str, ...]


def opens_to(status: str, *, test_identity: bool) -> bool:
    """True when a direction of this status carries this question: trial carries test identities."""
    return status == "live" or (status == "trial" and test_identity)


def plan(asks: Mapping[str, str], to: Sequence[str] | None, *, test_identity: bool) -> Plan:
    """Divide the countries by the status of the direction to each (``asks``: country -> status).

    ``to`` None asks every direction in service. A suspended direction stays asked, so that its
    silence shows (INCOMPLETE); one that is pending, or on trial for a person, is named as not in
    service. A country asked by name and closed counts as NOT_AUTHORISED, and no packet leaves.
    Raises ``Refusal`` PAR-0521 for a country that is no peer.
    """
    for country in to or ():
        if country not in asks:
            raise Refusal("PAR-0521", country=country, peers=", ".join(sorted(asks)))
    by_name = to is not None
    wanted = tuple(dict.fromkeys(asks if to is None else to))
    ask = tuple(c for c in wanted if opens_to(asks[c], test_identity=test_identity))
    closed = tuple(c for c in wanted if c not in ask and (by_name or asks[c] == "suspended"))
    absent = tuple(c for c in wanted if c not in ask and c not in closed)
    return Plan(ask, closed, absent)


def consolidate(answers: Mapping[str, Answer]) -> tuple[Outcome, bool]:
    """Return (outcome, complete) for the answers of every asked country, closed ones included."""
    given = set(answers.values())
    complete = bool(given) and given <= GIVEN
    if given & HITS:
        return "ALERT", complete
    return ("OK", True) if complete else ("INCOMPLETE", False)
