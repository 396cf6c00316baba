"""What a peer's HTTP answer means, and nothing it says can make it mean more.

The status decides; the body may only add the reason. A code counts when it answers this very
question, and everything that is not as agreed is "no answer".
"""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

import msgspec

from paranal.messages import Refusal
from paranal.query import match, wire
from paranal.query.consolidate import Answer

OK, FORBIDDEN = 200, 403


class Given(NamedTuple):
    """What came of asking one country; ``refusal`` says why there is no code."""

    answer: Answer
    refusal: wire.RefusalText | None = None


def silent(answer: Answer, refusal: Refusal) -> Given:
    """Return "no answer", with our own reason."""
    return Given(answer, wire.as_text(refusal))


def given(member: str, request_id: UUID, status: int, body: bytes) -> Given:
    """Return what ``member`` answered to question ``request_id``; never raises."""
    if len(body) > wire.ANSWER_MAX:
        return _discarded(member, "> 16 KiB")
    if status != OK:
        return _turned_down(member, request_id, status, body)
    try:
        answer = msgspec.json.decode(body, type=wire.PeerAnswer)
    except wire.UNREADABLE:
        return _discarded(member, "JSON")
    if answer.request_id != request_id:
        return _discarded(member, "request_id")
    return Given(match.ANSWERS[answer.code])


def _discarded(member: str, reason: str) -> Given:
    return silent("UNAVAILABLE", Refusal("PAR-0545", member=member, reason=reason))


def _turned_down(member: str, request_id: UUID, status: int, body: bytes) -> Given:
    answer: Answer = "UNAVAILABLE"
    if 400 <= status < 500:
        answer = "NOT_AUTHORISED" if status == FORBIDDEN else "REFUSED"
    try:
        told = msgspec.json.decode(body, type=wire.PeerRefusal)
    except wire.UNREADABLE:
        return _without_reason(member, answer, status)
    if told.request_id not in (None, request_id) or told.answer != answer:
        return _discarded(member, f"HTTP {status}")
    # It goes to an officer's terminal: nothing that could steer one.
    if not all(text.isprintable() for text in msgspec.structs.astuple(told.refusal)):
        return _without_reason(member, answer, status)
    return Given(answer, told.refusal)


def _without_reason(member: str, answer: Answer, status: int) -> Given:
    if answer == "REFUSED":
        return silent(answer, Refusal("PAR-0546", member=member))
    if answer == "NOT_AUTHORISED":
        return silent(answer, Refusal("PAR-0530", direction=f">{member}"))
    return silent(answer, Refusal("PAR-0544", member=member, reason=f"HTTP {status}"))
