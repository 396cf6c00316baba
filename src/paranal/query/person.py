"""The seven fields that name a person, validated strictly before anything is done with them.

Unknown is explicit: every key is required, and ``null`` (given names, date, document), ``00`` (day
or month), ``X`` (sex) or ``XXX`` (nationality) says that the asker does not know. Text is taken in
Unicode NFC: a decomposed (NFD) spelling is composed first and then judged, everything else that is
not a Latin letter, space, hyphen, apostrophe or full stop is refused with its field and position.
"""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Literal

import msgspec

from paranal.messages import Refusal
from paranal.query import codes, normalise

NAME_MAX = 100
NUMBER_MAX = 22
EARLIEST_YEAR = 1900

_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_DOCUMENT_TYPE = re.compile("[ACIPV][A-Z]?")
_NUMBER = re.compile("[A-Z0-9]+")


class Identity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Seven fields and the state that issued the document, as they came in."""

    surnames: str
    given_names: str | None
    date_of_birth: str | None
    sex: Literal["F", "M", "X"]
    nationality: str
    document_type: str | None
    document_number: str | None
    document_issuer: str | None

    def __repr__(self) -> str:
        """Say nothing: an identity must not reach a log by way of a traceback."""
        return f"{type(self).__name__}(...)"


class Person(Identity, frozen=True, forbid_unknown_fields=True):
    """A person asked about; build one with :func:`checked`."""

    @property
    def is_test_identity(self) -> bool:
        """True when ICAO's specimen state issued the document: no such person exists."""
        return self.document_issuer == codes.SPECIMEN_STATE


def checked(person: Identity, today: date) -> Person:
    """Return whom ``person`` names in canonical form (NFC, capitals in codes and numbers).

    Raises ``Refusal`` PAR-0502 to PAR-0507 with the field's name; ``today`` (UTC) bounds the birth.
    """
    document = _document(person)
    return Person(
        surnames=_name("surnames", person.surnames),
        given_names=None
        if person.given_names is None
        else _name("given_names", person.given_names),
        date_of_birth=_date(person.date_of_birth, today),
        sex=person.sex,
        nationality=_state("nationality", person.nationality),
        document_type=document[0],
        document_number=document[1],
        document_issuer=document[2],
    )


def _name(field: str, text: str) -> str:
    text = normalise.compose(text)
    _sized(field, text, NAME_MAX)
    for position, character in enumerate(text, 1):
        separator = character in normalise.SEPARATORS or character in normalise.APOSTROPHES
        if not separator and normalise.base_letters(character) is None:
            raise Refusal(
                "PAR-0503", field=field, position=position, character=f"U+{ord(character):04X}"
            )
    if not normalise.name(text):
        raise Refusal("PAR-0502", field=field, limit=NAME_MAX)
    return " ".join(text.split())


def _sized(field: str, text: str, limit: int) -> None:
    if not 1 <= len(text) <= limit:
        raise Refusal("PAR-0502", field=field, limit=limit)


def _date(text: str | None, today: date) -> str | None:
    if text is None:
        return None
    found = _DATE.fullmatch(text)
    if not found:
        raise Refusal("PAR-0504", field="date_of_birth")
    year, month, day = (int(part) for part in found.groups())
    try:
        # An unknown part is judged as its earliest value; a leap year lets 29 February through.
        born = date(year, month or 1, day or 1)
    except ValueError:
        raise Refusal("PAR-0504", field="date_of_birth") from None
    # A border east of Greenwich is already in tomorrow.
    unknown_month_known_day = month == 0 and day != 0
    if unknown_month_known_day or year < EARLIEST_YEAR or born > today + timedelta(days=1):
        raise Refusal("PAR-0504", field="date_of_birth")
    return text


def _state(field: str, text: str) -> str:
    code = text.upper().rstrip("<")
    if code not in codes.CODES:
        raise Refusal("PAR-0505", field=field)
    return codes.canonical(code)


def _document(person: Identity) -> tuple[str | None, str | None, str | None]:
    kind, number, issuer = person.document_type, person.document_number, person.document_issuer
    if kind is None and number is None and issuer is None:
        return None, None, None
    if kind is None or number is None or issuer is None:
        raise Refusal("PAR-0506")
    kind = kind.upper().rstrip("<")
    if not _DOCUMENT_TYPE.fullmatch(kind):
        raise Refusal("PAR-0505", field="document_type")
    _sized("document_number", number, NUMBER_MAX)
    number = normalise.document_number(number)
    if not _NUMBER.fullmatch(number):
        raise Refusal("PAR-0507", field="document_number")
    return kind, number, _state("document_issuer", issuer)
