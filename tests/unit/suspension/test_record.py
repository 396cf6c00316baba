"""What is asked is checked against the view; the record keeps who was first."""

from __future__ import annotations

import pytest

from paranal.agreement.suspension import Suspension, Suspensions
from paranal.messages import Refusal
from paranal.suspension.record import added, checked_reason, checked_service, directions, without
from tests.unit.agreement.views import view


def entry(direction: str, service: str = "", by: str = "ana") -> Suspension:
    return Suspension(direction, service, "2026-11-25T10:00:00+00:00", by, "orden 7")


@pytest.mark.parametrize(
    ("asked", "meant"),
    [("pe>co", ["pe>co"]), ("co>pe", ["co>pe"]), ("co", ["pe>co", "co>pe"])],
)
def test_a_direction_or_a_peer_is_understood(asked: str, meant: list[str]) -> None:
    assert directions(view("pe"), asked) == meant


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ("pe", "PAR-0740"),
        ("pe>pe", "PAR-0740"),
        ("co>mx", "PAR-0740"),
        ("CO", "PAR-0740"),
        ("co-pe", "PAR-0740"),
        ("co>pe\n", "PAR-0740"),
        ("", "PAR-0740"),
        ("xx", "PAR-0741"),
        ("xx>pe", "PAR-0741"),
    ],
)
def test_what_is_no_direction_of_this_node_is_refused(asked: str, code: str) -> None:
    with pytest.raises(Refusal, match=code):
        directions(view("pe"), asked)


def test_a_service_that_is_not_agreed_is_refused() -> None:
    assert checked_service(view("pe"), None) == ""
    assert checked_service(view("pe"), "person") == "person"
    with pytest.raises(Refusal, match="PAR-0742"):
        checked_service(view("pe"), "persona")


def test_a_reason_is_required_and_stands_in_one_line() -> None:
    assert checked_reason(" orden\n 7 ") == "orden 7"
    for none in ("", " \n"):
        with pytest.raises(Refusal, match="PAR-0747"):
            checked_reason(none)


def test_who_suspended_first_stays() -> None:
    record = Suspensions((entry("co>pe"),))
    assert added(record, [entry("co>pe", by="eva")]) == record
    assert added(record, [entry("co>pe", "person", by="eva")]) == record
    assert added(record, [entry("pe>co")]).entries == (entry("co>pe"), entry("pe>co"))


def test_a_whole_direction_joins_one_service_of_it() -> None:
    record = added(Suspensions((entry("co>pe", "person"),)), [entry("co>pe")])
    assert record.covers("co>pe", "control")


def test_lifting_takes_out_what_it_names_and_no_more() -> None:
    record = Suspensions((entry("co>pe", "person"), entry("co>pe", "control"), entry("mx>pe")))
    assert without(record, ["co>pe"], "person").entries == record.entries[1:]
    assert without(record, ["pe>co", "co>pe"], "").entries == record.entries[2:]


@pytest.mark.parametrize(("over", "service"), [(["mx>pe"], ""), (["co>pe"], "person")])
def test_lifting_what_is_not_suspended_under_that_name_is_refused(
    over: list[str], service: str
) -> None:
    with pytest.raises(Refusal, match="PAR-0743"):
        without(Suspensions((entry("co>pe"),)), over, service)
