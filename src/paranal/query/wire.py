"""What travels over HTTP between a post, a national service and an alliance service.

The shapes are the contract in ``docs/architecture.md``. :func:`decode` is the one way in: bounded,
strict, and it refuses by naming the field, never its value.
"""

from __future__ import annotations

import re
from typing import Any, Literal, TypeVar
from uuid import UUID

import msgspec

from paranal.messages import Refusal
from paranal.query.consolidate import Answer, Outcome
from paranal.query.match import Code
from paranal.query.person import Person

BODY_MAX = 8192
"""Octets of a question; seven fields of full length stay below half of it."""

ANSWER_MAX = 16384
"""Octets of a peer's answer that are read before it counts as no answer."""

Purpose = Literal["border_entry", "border_exit", "border_transit", "residence", "visa"]
"""The closed list of purposes, all of them migratory (requirement R1)."""

PURPOSES: tuple[Purpose, ...] = (
    "border_entry",
    "border_exit",
    "border_transit",
    "residence",
    "visa",
)

_OFFICER = re.compile("[A-Za-z0-9._-]{1,40}")
_FIELD = re.compile(r"`\$\.?([^`]*)`$")
_MISSING = re.compile(r"(?:missing required|unknown) field `([^`]*)`")

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are no JSON of the wanted shape."""

T = TypeVar("T")


class NationalQuestion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A post asks: ``to`` None means every direction in service; person or mrz, one of them."""

    to: list[str] | None
    officer: str
    purpose: Purpose
    person: Person | msgspec.UnsetType = msgspec.UNSET
    mrz: list[str] | msgspec.UnsetType = msgspec.UNSET


class PeerQuestion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One country asks another about one person."""

    request_id: UUID
    purpose: Purpose
    person: Person


class PeerAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The code that travels back: 0 OK, 1 RQ, 2 ANT."""

    request_id: UUID
    code: Code


class RefusalText(msgspec.Struct, frozen=True):
    """A message of the catalogue as data."""

    code: str
    es: str
    en: str
    runbook: str


class PeerRefusal(msgspec.Struct, frozen=True):
    """Why a country gave no code."""

    request_id: UUID | None
    answer: Literal["NOT_AUTHORISED", "REFUSED", "UNAVAILABLE"]
    refusal: RefusalText


class CountryAnswer(msgspec.Struct, frozen=True):
    """One country's line in the consolidated answer."""

    answer: Answer
    code: int | None
    elapsed_ms: float
    refusal: RefusalText | None = None


class Consolidated(msgspec.Struct, frozen=True):
    """What the officer's screen shows."""

    request_id: UUID
    outcome: Outcome
    complete: bool
    asked_at: str
    elapsed_ms: float
    answers: dict[str, CountryAnswer]
    not_in_service: list[str]
    contacts: dict[str, dict[str, str]]


def decode(data: bytes, kind: type[T]) -> T:
    """Return ``data`` as ``kind``; raises ``Refusal`` PAR-0500 (no JSON) or PAR-0501 (a field)."""
    if len(data) > BODY_MAX:
        raise Refusal("PAR-0500", limit=BODY_MAX)
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        raise Refusal("PAR-0501", field=field_of(error)) from None
    except UNREADABLE:
        raise Refusal("PAR-0500", limit=BODY_MAX) from None


def checked_officer(officer: str) -> str:
    """Return the officer's accreditation, or refuse (PAR-0522) what could be anything else."""
    if not _OFFICER.fullmatch(officer):
        raise Refusal("PAR-0522")
    return officer


def as_text(refusal: Refusal) -> RefusalText:
    """Return a refusal as it travels."""
    return RefusalText(**refusal.as_dict())


def encode(value: Any) -> bytes:  # noqa: ANN401 - whatever msgspec can encode
    """Return ``value`` as JSON."""
    return msgspec.json.encode(value)


def field_of(error: msgspec.ValidationError) -> str:
    """Return the field that a msgspec error speaks of: its path, and the key that is missing."""
    message = str(error)
    path, key = _FIELD.search(message), _MISSING.search(message)
    # A key that a client made up is its own text: name only where it stood.
    known = key and "missing" in message
    parts = [path.group(1) if path else "", key.group(1) if key and known else ""]
    return ".".join(part for part in parts if part) or "person"
