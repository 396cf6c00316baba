"""A source's records as a file gives them: read, checked line by line, made ready for the table."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from datetime import date
from typing import Annotated, Any, Literal, NamedTuple, get_args

import msgspec

from paranal.messages import Refusal
from paranal.query import match
from paranal.query.person import Identity, checked
from paranal.query.wire import UNREADABLE, field_of

Format = Literal["csv", "jsonl"]
FORMATS: tuple[Format, ...] = get_args(Format)

Code = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._/-]{0,59}\Z")]


class Record(Identity, frozen=True, forbid_unknown_fields=True):
    """One record of a source: whom it names, its own number, and what it is.

    ``offence_class`` is the shared class of the catalogue that the national ``offence_code`` maps
    to; null when there is none, and such a record never answers (requirement R2).
    """

    record: Code
    kind: Literal["RQ", "ANT"]
    offence_code: Code
    offence_class: Code | None


class Row(NamedTuple):
    """One line of ``source.record``; the field names are its columns."""

    source: str
    record: str
    kind: str
    offence_code: str
    offence_class: str | None
    surnames: str
    given_names: str | None
    date_of_birth: str | None
    sex: str
    nationality: str
    document_type: str | None
    document_number: str | None
    document_issuer: str | None
    document_key: str | None
    identity_key: str | None


def rows(lines: Iterable[str], form: Format, source: str, name: str, today: date) -> Iterator[Row]:
    """Yield a row for each record of a file called ``name``.

    Raises ``Refusal`` PAR-0570 (the file), PAR-0571 (a record, with its line) or PAR-0572 (twice);
    a text never repeats a value.
    """
    seen: set[str] = set()
    for where, record in _records(lines, form, name):
        if record.record in seen:
            raise Refusal("PAR-0572", where=where, record=record.record)
        seen.add(record.record)
        try:
            yield _row(source, record, today)
        except Refusal as refusal:
            raise _at(where, refusal) from None


def _row(source: str, record: Record, today: date) -> Row:
    person = checked(record, today)
    keys = match.searchable(person)
    return Row(
        source=source,
        record=record.record,
        kind=record.kind,
        offence_code=record.offence_code,
        offence_class=record.offence_class,
        **msgspec.structs.asdict(person),
        document_key=keys.document,
        identity_key=keys.identity,
    )


def _records(lines: Iterable[str], form: Format, name: str) -> Iterator[tuple[str, Record]]:
    pairs = _csv(lines, name) if form == "csv" else _jsonl(lines, name)
    for where, value in pairs:
        try:
            yield where, msgspec.convert(value, Record)
        except msgspec.ValidationError as error:
            raise _at(where, Refusal("PAR-0501", field=field_of(error))) from None


def _jsonl(lines: Iterable[str], name: str) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(lines, 1):
        where = f"{name}:{number}"
        try:
            yield where, msgspec.json.decode(line)
        except UNREADABLE:
            raise Refusal("PAR-0570", where=where, format="jsonl", reason="JSON") from None


def _csv(lines: Iterable[str], name: str) -> Iterator[tuple[str, Any]]:
    reader = csv.DictReader(lines, strict=True)
    expected = [column for column in Row._fields if column in Record.__struct_fields__]
    try:
        if sorted(reader.fieldnames or ()) != sorted(expected):
            reason = f"columns: {', '.join(expected)}"
            raise Refusal("PAR-0570", where=f"{name}:1", format="csv", reason=reason)
        for line in reader:
            yield f"{name}:{reader.line_num}", {key: text or None for key, text in line.items()}
    except csv.Error as error:
        where = f"{name}:{reader.line_num}"
        raise Refusal("PAR-0570", where=where, format="csv", reason=error) from None


def _at(where: str, refusal: Refusal) -> Refusal:
    return Refusal("PAR-0571", where=where, text=refusal.text("es"), text_en=refusal.text("en"))
