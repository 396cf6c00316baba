"""What a peer's answer means: its status decides, and only this question's code counts."""

from __future__ import annotations

import json
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paranal.messages import Refusal
from paranal.query import reading, wire

MINE = UUID("6b4c4a3e-6f2e-4f0e-9a3c-1d2b3c4d5e6f")
OTHER = UUID("7b4c4a3e-6f2e-4f0e-9a3c-1d2b3c4d5e6f")
REASON = Refusal("PAR-0542", member="co").as_dict()


def _read(status: int, body: object) -> reading.Given:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return reading.given("co", MINE, status, data)


def _told(answer: str, request_id: UUID | None = MINE, **changes: str) -> dict[str, object]:
    asked = str(request_id) if request_id else None
    return {"request_id": asked, "answer": answer, "refusal": {**REASON, **changes}}


@pytest.mark.req("R3")
@pytest.mark.parametrize(("code", "answer"), [(0, "OK"), (1, "RQ"), (2, "ANT")])
def test_a_code_of_this_question_counts(code: int, answer: str) -> None:
    assert _read(200, {"request_id": str(MINE), "code": code}) == (answer, None)


@pytest.mark.req("B6")
@pytest.mark.parametrize(
    "body",
    [
        {"request_id": str(OTHER), "code": 0},
        {"request_id": str(MINE), "code": 3},
        {"request_id": str(MINE), "code": "0"},
        {"request_id": str(MINE), "code": True},
        {"request_id": str(MINE), "code": None},
        {"request_id": str(MINE)},
        {"code": 0},
        {"request_id": str(MINE), "code": 0, "more": 1},
        [],
        b"",
        b"\xff",
        b"0",
        b"[" * 5000,
        b" " * (wire.ANSWER_MAX + 1),
    ],
)
def test_anything_else_with_status_200_is_discarded(body: object) -> None:
    found = _read(200, body)
    assert found.answer == "UNAVAILABLE"
    assert found.refusal
    assert found.refusal.code == "PAR-0545"


@pytest.mark.parametrize(
    ("status", "answer"),
    [(403, "NOT_AUTHORISED"), (422, "REFUSED"), (429, "REFUSED"), (503, "UNAVAILABLE")],
)
def test_the_status_decides_and_the_reason_is_kept(status: int, answer: str) -> None:
    for asked in (MINE, None):
        assert _read(status, _told(answer, asked)).refusal == wire.RefusalText(**REASON)
    assert _read(status, _told(answer)).answer == answer
    bare = _read(status, b"<html>")
    assert bare.answer == answer
    assert bare.refusal


def test_a_reason_of_another_question_or_another_answer_is_discarded() -> None:
    for told in (_told("REFUSED", OTHER), _told("UNAVAILABLE")):
        found = _read(422, told)
        assert found.answer == "UNAVAILABLE"
        assert found.refusal
        assert found.refusal.code == "PAR-0545"


def test_a_reason_that_could_steer_a_terminal_is_not_shown() -> None:
    for text in ("\x1b[2J", "a\u202eb", "a\nb"):
        found = _read(422, _told("REFUSED", es=text))
        assert found.refusal
        assert found.refusal.code == "PAR-0546"


@pytest.mark.req("B6")
@given(st.integers(100, 599), st.binary(max_size=200))
def test_no_status_and_no_bytes_make_a_code(status: int, body: bytes) -> None:
    assert _read(status, body).answer in ("NOT_AUTHORISED", "REFUSED", "UNAVAILABLE")
