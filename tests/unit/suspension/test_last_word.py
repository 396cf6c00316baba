"""Whose ``control`` closes is told before it does; who cannot be told holds nothing up."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest

from paranal.agreement.suspension import Suspension, Suspensions
from paranal.control import notice
from paranal.control.call import Caller
from paranal.control.notice import Notice
from paranal.messages import Refusal
from paranal.serving.view import Peer
from paranal.suspension import last_word
from tests.unit.agreement.views import view

NOBODY = Suspensions()
SINCE = "2026-11-25T10:00:00+00:00"
Calls = list[tuple[str, Notice]]


def suspended(*directions: str, service: str = "") -> Suspensions:
    return Suspensions(tuple(Suspension(one, service, SINCE, "ana", "x") for one in directions))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """What was put to whom; the peer ``mx`` hangs, and ``cl`` does not answer."""
    found: Calls = []

    def call(caller: Caller, peer: Peer, method: str, path: str, body: bytes) -> bytes:
        assert (method, path, caller.seconds) == ("PUT", notice.PATH, last_word.SECONDS)
        assert peer in caller.peers()
        if peer.code == "mx":
            time.sleep(2)
        if peer.code == "cl":
            raise Refusal("PAR-0913", member="cl", reason="timeout")
        found.append((peer.code, msgspec.json.decode(body, type=Notice)))
        return b"{}"

    monkeypatch.setattr(Caller, "call", call)
    monkeypatch.setattr(last_word, "SECONDS", 0.2)
    return found


def said(before: Suspensions, after: Suspensions) -> dict[str, str]:
    told: dict[str, Any] = last_word.say(view("pe", "all-live"), before, after)
    return told


def test_a_peer_whose_control_closes_is_told_of_all_that_does(calls: Calls) -> None:
    assert said(NOBODY, suspended("pe>co", "co>pe")) == {"co": ""}
    ((code, told),) = calls
    assert code == "co"
    assert {one.direction for one in told.closed} == {"pe>co", "co>pe"}
    assert "control" in {one.service for one in told.closed}


def test_where_control_stays_open_the_service_tells(calls: Calls) -> None:
    assert said(NOBODY, suspended("co>pe")) == {}
    assert said(NOBODY, suspended("pe>co", service="person")) == {}
    assert said(suspended("pe>co"), suspended("pe>co", "co>pe")) == {}
    assert calls == []


def test_who_hangs_or_does_not_answer_is_named_and_holds_up_nobody(calls: Calls) -> None:
    begun = time.monotonic()
    told = said(NOBODY, suspended("pe>co", "pe>mx", "pe>cl"))
    assert time.monotonic() - begun < 1
    assert told["co"] == ""
    assert "0.2 s" in told["mx"]
    assert "PAR-0913" in told["cl"]
