"""A record narrows a view and never widens it; one that cannot be read closes everything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from paranal.agreement import is_open
from paranal.agreement.suspension import (
    Suspension,
    Suspensions,
    narrowed,
    parsed,
    probed,
    read_suspensions,
)
from tests.unit.agreement.views import view

WHOLE = {"since": "2026-11-25T10:00:00+00:00", "by": "ana", "reason": "orden 7"}


def record(*directions: str, service: str = "") -> Suspensions:
    return Suspensions(tuple(Suspension(each, service, **WHOLE) for each in directions))


def peer(found: dict[str, Any], code: str) -> dict[str, Any]:
    return next(each for each in found["peers"] if each["code"] == code)


def test_a_direction_is_closed_and_the_other_way_and_the_others_are_not() -> None:
    before = view("pe", "all-live")
    after = narrowed(before, record("co>pe"))
    assert not any(map(is_open, peer(after, "co")["answers"].values()))
    assert peer(after, "co")["answers"]["person"] == "suspended"
    assert peer(after, "co")["asks"] == peer(before, "co")["asks"]
    assert peer(after, "co")["pair"] == peer(before, "co")["pair"]
    assert [each for each in after["peers"] if each["code"] != "co"] == [
        each for each in before["peers"] if each["code"] != "co"
    ]


def test_a_service_is_closed_and_the_others_are_not() -> None:
    after = peer(narrowed(view("pe", "all-live"), record("co>pe", service="person")), "co")
    assert after["answers"]["person"] == "suspended"
    assert after["answers"]["control"] == "live"


def test_a_peer_that_is_closed_both_ways_has_only_a_line_check() -> None:
    pair = peer(narrowed(view("pe", "all-live"), record("co>pe", "pe>co")), "co")["pair"]
    assert (pair["channels"], pair["line_check"]) == ([], True)


def test_what_the_agreement_does_not_open_stays_as_strict() -> None:
    before = peer(view("pe"), "cl")
    after = peer(narrowed(view("pe"), record("cl>pe", "pe>cl")), "cl")
    assert "pending" in before["answers"].values()
    pending = [name for name, status in before["answers"].items() if status == "pending"]
    assert all(after["answers"][name] == "pending" for name in pending)


def test_without_a_record_nothing_changes() -> None:
    assert narrowed(view("pe"), Suspensions()) == view("pe")


def test_a_direction_between_others_closes_nothing_here() -> None:
    assert narrowed(view("pe"), record("co>mx")) == view("pe")


def test_the_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "suspended.json"
    assert read_suspensions(path) == Suspensions()
    path.write_text(record("co>pe").text())
    assert read_suspensions(path) == record("co>pe")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"suspended": 1}',
        '{"suspended": ["co>pe"]}',
        json.dumps({"suspended": [{"direction": "co>pe"}]}),
        json.dumps({"suspended": [{**WHOLE, "direction": "co>pe", "service": 1}]}),
        json.dumps({"suspended": [{**WHOLE, "direction": "co>pe", "service": "", "x": ""}]}),
        json.dumps({"suspended": [{**WHOLE, "direction": "co->pe", "service": ""}]}),
    ],
)
def test_what_is_no_record_closes_everything(text: str, tmp_path: Path) -> None:
    path = tmp_path / "suspended.json"
    path.write_text(text)
    for found in (parsed(text), read_suspensions(path), probed({"text": text})):
        assert found.unreadable
        after = narrowed(view("pe", "all-live"), found)
        assert not any(
            is_open(status)
            for each in after["peers"]
            for way in ("asks", "answers")
            for status in each[way].values()
        )
        assert all(each["pair"]["line_check"] for each in after["peers"])


def test_a_file_that_cannot_be_opened_closes_everything(tmp_path: Path) -> None:
    assert read_suspensions(tmp_path).unreadable
    (tmp_path / "latin").write_bytes(b"\xf3")
    assert read_suspensions(tmp_path / "latin").unreadable


def test_a_node_that_could_not_tell_closes_everything() -> None:
    assert probed({}).unreadable
    assert probed({"unreadable": "PermissionError"}).unreadable
    assert not probed({"text": None})
