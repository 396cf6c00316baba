"""A source's file: read whole or refused with the line, never with a value."""

from __future__ import annotations

import csv
import io
import json
from datetime import date
from typing import Any

import msgspec
import pytest

from paranal.messages import Refusal
from paranal.query import records

TODAY = date(2026, 11, 23)
RECORD: dict[str, Any] = {
    "record": "A-1",
    "kind": "RQ",
    "offence_code": "H-01",
    "offence_class": "HOMICIDE",
    "surnames": "Peña Restrepo",
    "given_names": "Andrés",
    "date_of_birth": "1984-07-19",
    "sex": "M",
    "nationality": "COL",
    "document_type": "P",
    "document_number": "AV123456",
    "document_issuer": "COL",
}


def _jsonl(*changes: dict[str, Any]) -> list[records.Row]:
    lines = [json.dumps({**RECORD, **change}) + "\n" for change in changes]
    return list(records.rows(lines, "jsonl", "police", "file", TODAY))


def _csv(*changes: dict[str, Any], header: list[str] | None = None) -> list[records.Row]:
    text = io.StringIO()
    writer = csv.DictWriter(text, header or list(RECORD))
    writer.writeheader()
    writer.writerows({**RECORD, **change} for change in changes)
    text.seek(0)
    return list(records.rows(text, "csv", "police", "file", TODAY))


def test_both_formats_give_the_same_rows() -> None:
    other = {"record": "A-2", "given_names": None, "offence_class": None}
    assert _jsonl({}, other) == _csv({}, other)
    row = _jsonl({})[0]
    assert row.document_key == "COL|P|AV123456"
    assert row.identity_key == "PENA RESTREPO|ANDRES|1984-07-19|M|COL"


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "XX"},
        {"surnames": ""},
        {"surnames": "Pe\u202ea"},
        {"date_of_birth": "1984-13-01"},
        {"nationality": "COLOMBIA"},
        {"document_issuer": None},
        {"offence_code": "'; --"},
        {"record": ""},
        {"record": "A-3\n"},
        {"date_of_birth": None, "document_type": None, "document_number": None}
        | {"document_issuer": None},
    ],
)
def test_a_bad_record_is_refused_with_its_line(change: dict[str, Any]) -> None:
    with pytest.raises(Refusal) as refused:
        _jsonl({}, {"record": "A-2"}, {"record": "A-3", **change})
    assert refused.value.params["where"] == "file:3"
    assert "Restrepo" not in str(refused.value)


def test_a_file_with_other_columns_is_told_them_in_the_tables_order() -> None:
    with pytest.raises(Refusal) as refused:
        _csv({}, header=[*RECORD, "more"])
    assert refused.value.params["reason"] == f"columns: {', '.join(RECORD)}"


@pytest.mark.req("R1")
def test_a_record_never_shows_in_a_traceback() -> None:
    assert repr(msgspec.convert(RECORD, records.Record)) == "Record(...)"


def test_a_record_twice_is_refused() -> None:
    with pytest.raises(Refusal, match="PAR-0572"):
        _jsonl({}, {})


def test_a_file_that_is_no_such_file_is_refused() -> None:
    for text in ("{", "[]", "null"):
        with pytest.raises(Refusal):
            list(records.rows([text], "jsonl", "police", "file", TODAY))
    with pytest.raises(Refusal, match="PAR-0570"):
        list(records.rows(["a,b\n", "1,2\n"], "csv", "police", "file", TODAY))
    with pytest.raises(Refusal, match="PAR-0570"):
        list(records.rows([], "csv", "police", "file", TODAY))
    short = ",".join(RECORD) + "\n" + "A-1,RQ\n"
    with pytest.raises(Refusal, match="PAR-0571"):
        list(records.rows(io.StringIO(short), "csv", "police", "file", TODAY))
    long = ",".join(RECORD) + "\n" + ",".join(["x"] * 20) + "\n"
    with pytest.raises(Refusal):
        list(records.rows(io.StringIO(long), "csv", "police", "file", TODAY))
