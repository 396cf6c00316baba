"""Does a record name this person? Exact, by document or by the whole normalised identity.

Both sides of the comparison are strings made here, by the importer for a record and by the
alliance service for a question, so that one rule decides and one index finds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Literal, NamedTuple

from paranal.messages import Refusal
from paranal.query import codes, normalise
from paranal.query.person import Person

Code = Literal[0, 1, 2]

CODES: dict[str, Code] = {"OK": 0, "RQ": 1, "ANT": 2}
"""What travels between countries (requirement R3)."""

ANSWERS: dict[Code, Literal["OK", "RQ", "ANT"]] = {0: "OK", 1: "RQ", 2: "ANT"}

_STRENGTH = ("RQ", "ANT")


_SAME_SEX = {"F": "FX", "M": "MX", "X": "XFM"}
"""Sex -> those that do not contradict it; X is unspecified (ICAO Doc 9303-4), so it fits either."""


class Keys(NamedTuple):
    """What a person can be found by; None and empty where the fields do not suffice.

    A record stands under ``document`` and ``identity``; a question looks for ``document`` and for
    every one of ``identities``.
    """

    document: str | None
    identity: str | None
    identities: tuple[str, ...] = ()


def keys(person: Person) -> Keys:
    """Return the two keys of a checked person.

    The identity key wants all of it, names, full date of birth, sex and nationality: anything less
    would hit homonyms (requirement R4). An unspecified sex is no reason to miss a record.
    """
    identities = _identity_keys(person)
    return Keys(_document_key(person), identities[0] if identities else None, identities)


def _document_key(person: Person) -> str | None:
    if not (person.document_issuer and person.document_type and person.document_number):
        return None
    kind = normalise.document_kind(person.document_type)
    number = normalise.document_number(person.document_number)
    return "|".join((person.document_issuer, kind, number))


def _identity_keys(person: Person) -> tuple[str, ...]:
    """Return the person's own key, then those of the sexes that do not contradict theirs."""
    born = person.date_of_birth
    if born is None or "-00" in born or person.nationality == codes.UNSPECIFIED:
        return ()
    surnames, given = normalise.name(person.surnames), normalise.name(person.given_names)
    return tuple(
        "|".join((surnames, given, born, sex, person.nationality)) for sex in _SAME_SEX[person.sex]
    )


def searchable(person: Person) -> Keys:
    """Return the keys, or refuse (PAR-0508) a person whom nothing could find."""
    found = keys(person)
    if found.document is None and found.identity is None:
        raise Refusal("PAR-0508")
    return found


def silent(loaded: Collection[str], declared: Collection[str]) -> list[str]:
    """Return the declared sources that hold no data."""
    return sorted(set(declared) - set(loaded))


def judge(
    question: Keys, hits: Iterable[str], loaded: Collection[str], declared: Collection[str]
) -> Code:
    """Return this country's code from the kinds of the records found: RQ before ANT before OK.

    A hit stands whatever else is silent. OK is said only when every declared source was there to
    be searched (else ``Refusal`` PAR-0541, which names none: sources are the country's own matter)
    and the question named a whole identity, for a missing document alone does not clear a person
    (else ``Refusal`` PAR-0509).
    """
    kinds = set(hits)
    for kind in _STRENGTH:
        if kind in kinds:
            return CODES[kind]
    if silent(loaded, declared) or not declared:
        raise Refusal("PAR-0541")
    if question.identity is None:
        raise Refusal("PAR-0509")
    return CODES["OK"]
