"""Two ends of a pair compared: equal, different, or not seen, and never equal by default."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from paranal.control import parity
from paranal.control.call import Caller, _refusal_in
from paranal.messages import Refusal
from tests.unit.query.asking import view_of


@dataclass(frozen=True)
class Told(Caller):
    """A caller whose peer answers this, or refuses."""

    answer: bytes | Refusal = b""

    def call(self, *_: Any) -> bytes:  # noqa: ANN401 - as the real one
        if isinstance(self.answer, Refusal):
            raise self.answer
        return self.answer


def answer(**changes: object) -> bytes:
    theirs = parity.held(view_of("pe"), view_of("pe").peer("co"))
    return json.dumps(msgspec.structs.asdict(theirs) | changes).encode()


def compared(told: bytes | Refusal) -> parity.Compared:
    view = view_of("co")
    return parity.compare(Told(view, answer=told), view.peer("pe"))


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "equal"),
        ({"epoch": view_of("co").epoch + 1, "digest": "0" * 64}, "equal"),
        ({"epoch": view_of("co").epoch + 2}, "differs"),
        ({"parity": "0" * 64}, "differs"),
        ({"pair": "mx-pe"}, "differs"),
        ({"member": "mx"}, "no answer"),
        ({"epoch": "1"}, "no answer"),
    ],
)
def test_a_verdict_is_of_the_pair_and_of_epochs_near_each_other(
    changes: dict[str, object], verdict: str
) -> None:
    found = compared(answer(**changes))
    assert found.verdict == verdict
    assert found.as_dict()["ours"]["parity"] == view_of("co").peer("pe").pair.parity


@pytest.mark.parametrize("told", [b"", b"null", b"\xff", b"[]"])
def test_what_is_no_answer_is_not_seen(told: bytes) -> None:
    found = compared(told)
    assert (found.verdict, found.theirs) == ("no answer", None)
    assert found.refusal
    assert found.refusal.code == "PAR-0915"


def test_a_peer_s_own_words_are_kept_and_what_is_not_its_words_is_no_answer() -> None:
    said = Refusal("PAR-0906", member="pe", list="issuing", number=1, held=2)
    told = _refusal_in(json.dumps({"refusal": said.as_dict()}).encode(), "pe")
    assert told.code == "PAR-0914"
    assert "PAR-0906" in str(told)
    assert compared(told).verdict == "no answer"
    for strange in (b"", b"<html>", b'{"refusal": null}', b"\xff"):
        assert _refusal_in(strange, "pe").code == "PAR-0915"


@pytest.mark.req("B5")
def test_the_peers_asked_for_say_whose_leaves_they_use_and_who_says_none_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: bytes | Refusal = answer(issuers=["i1", "i2"])
    monkeypatch.setattr(parity, "Caller", lambda view: Told(view, answer=told))
    assert parity.issuers(view_of("co"), ["pe", "ec"]) == {"pe": ["i1", "i2"]}
    assert parity.issuers(view_of("co"), ["mx"]) == {}, "what answers there is not Mexico"
    for silent in (answer(), Refusal("PAR-0913", member="pe", reason="timed out")):
        told = silent
        assert parity.issuers(view_of("co"), ["pe"]) == {}
