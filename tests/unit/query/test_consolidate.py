"""The truth table, every combination of it."""

from __future__ import annotations

from itertools import product
from typing import get_args

import pytest

from paranal.messages import Refusal
from paranal.query.consolidate import Answer, consolidate, plan

ANSWERS: tuple[Answer, ...] = get_args(Answer)
STATUSES = ("live", "trial", "suspended", "pending")
COUNTRIES = ("cl", "co", "mx")


@pytest.mark.req("R10")
@pytest.mark.req("B6")
@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_every_combination_of_answers(count: int) -> None:
    for given in product(ANSWERS, repeat=count):
        outcome, complete = consolidate(dict(zip(COUNTRIES, given, strict=False)))
        silent = [answer for answer in given if answer not in ("OK", "RQ", "ANT")]
        hit = "RQ" in given or "ANT" in given
        assert complete == (bool(given) and not silent)
        assert (outcome == "ALERT") == hit
        assert (outcome == "OK") == (bool(given) and all(answer == "OK" for answer in given))
        assert (outcome == "INCOMPLETE") == (not hit and (bool(silent) or not given))


@pytest.mark.req("R10")
@pytest.mark.req("R12")
@pytest.mark.parametrize("count", [0, 1, 2, 3])
@pytest.mark.parametrize("test_identity", [False, True])
@pytest.mark.parametrize("by_name", [False, True])
def test_every_plan_with_every_answer(count: int, test_identity: bool, by_name: bool) -> None:
    for statuses in product(STATUSES, repeat=count):
        asks = dict(zip(COUNTRIES, statuses, strict=False))
        planned = plan(asks, list(asks) if by_name else None, test_identity=test_identity)
        in_service = {c for c, s in asks.items() if s == "live" or (s == "trial" and test_identity)}
        assert set(planned.ask) == in_service
        # Every country stands in exactly one of the three groups.
        assert sorted(planned.ask + planned.closed + planned.not_in_service) == sorted(asks)
        if by_name:
            assert not planned.not_in_service
        else:
            assert set(planned.closed) == {c for c, s in asks.items() if s == "suspended"}
        closed: dict[str, Answer] = dict.fromkeys(planned.closed, "NOT_AUTHORISED")
        for given in product(ANSWERS, repeat=len(planned.ask)):
            outcome, _ = consolidate({**closed, **dict(zip(planned.ask, given, strict=True))})
            if outcome == "OK":
                assert planned.ask
                assert not planned.closed
                assert set(given) == {"OK"}


def test_a_suspended_country_makes_the_answer_incomplete() -> None:
    planned = plan({"co": "live", "mx": "suspended"}, None, test_identity=False)
    assert planned == (("co",), ("mx",), ())
    assert consolidate({"co": "OK", "mx": "NOT_AUTHORISED"}) == ("INCOMPLETE", False)


def test_a_pending_country_is_named_and_does_not_count() -> None:
    assert plan({"cl": "pending", "co": "live"}, None, test_identity=False) == (
        ("co",),
        (),
        ("cl",),
    )
    assert plan({"cl": "pending"}, ["cl"], test_identity=False) == ((), ("cl",), ())


@pytest.mark.parametrize("to", [["zz"], ["co", "pe"], [""]])
def test_a_country_that_is_no_peer_is_refused(to: list[str]) -> None:
    with pytest.raises(Refusal, match="PAR-0521"):
        plan({"co": "live"}, to, test_identity=False)


def test_a_country_asked_twice_is_asked_once() -> None:
    assert plan({"co": "live"}, ["co", "co"], test_identity=False).ask == ("co",)
