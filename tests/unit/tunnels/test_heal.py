"""The timer asks once for what is missing, also when charon is busy at first; else it is silent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from paranal.agreement.connections import Connection, connections
from paranal.cli import EXIT_REFUSED, main
from paranal.tunnels import cli as subject
from paranal.tunnels.charon import CharonSilent
from paranal.tunnels.cli import heal
from paranal.tunnels.record import Paths, Record
from paranal.tunnels.upkeep import BARE_SECONDS
from tests.unit.agreement.views import view
from tests.unit.tunnels.fake_charon import ANCHORS, FakeCharon
from tests.unit.tunnels.sas import child_sa, ike_sa


@pytest.fixture
def wanted() -> list[Connection]:
    return [one for one in connections(view("co"), ANCHORS) if one["peer"] == "pe"]


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "TURN_SECONDS", 0.001)
    monkeypatch.setattr(subject, "HEAL_SECONDS", 0.05)


def test_nothing_missing_nothing_said(wanted: list[Connection], tmp_path: Path) -> None:
    charon = FakeCharon()
    charon.sas = [ike_sa(wanted[0]["name"], "1", ["operational", "strategic"])]
    assert heal(charon, Record(), wanted, Paths(state=tmp_path)) == []
    assert charon.calls == []


def test_a_busy_ike_sa_is_asked_in_the_next_turn(
    wanted: list[Connection], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    charon, name = FakeCharon(), wanted[0]["name"]
    charon.sas = [replace(ike_sa(name, "1", ["operational"]), busy=True)]

    def free(seconds: float) -> None:
        charon.sas = [replace(sa, busy=False) for sa in charon.sas]

    monkeypatch.setattr("time.sleep", free)
    said = heal(charon, Record(), wanted, Paths(state=tmp_path))
    assert said == [f"asked again for {name}/strategic"]


def test_a_peer_that_refuses_is_asked_after_ever_more_turns_and_said_once(
    wanted: list[Connection], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    charon, name, turns = FakeCharon(), wanted[0]["name"], [0.0]
    charon.silent = {"pe"}

    def turn(seconds: float) -> None:
        charon.calls.append("turn")
        turns[0] += 0.5

    monkeypatch.setattr("time.sleep", turn)
    monkeypatch.setattr("time.monotonic", lambda: turns[0])
    monkeypatch.setattr(subject, "HEAL_SECONDS", 8.0)
    said = heal(charon, Record(), wanted, Paths(state=tmp_path))
    assert said == [f"asked again for {name}/{child}" for child in ("operational", "strategic")]
    asked = [
        charon.calls[:at].count("turn")
        for at, call in enumerate(charon.calls)
        if call == f"start {name}/operational"
    ]
    assert asked == [0, 1, 3, 7, 15]


def test_a_peer_that_is_ready_a_moment_later_is_not_left_to_the_timer(
    wanted: list[Connection], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    charon, name = FakeCharon(), wanted[0]["name"]
    charon.silent = {"pe"}
    monkeypatch.setattr("time.sleep", lambda seconds: charon.silent.clear())
    heal(charon, Record(), wanted, Paths(state=tmp_path))
    assert [child.name for sa in charon.sas for child in sa.children] == [
        *("operational", "strategic")
    ]
    assert {sa.name for sa in charon.sas} == {name}


def test_an_ike_sa_whose_connection_is_gone_is_ended_and_no_other(
    wanted: list[Connection], tmp_path: Path
) -> None:
    charon, name = FakeCharon(), wanted[0]["name"]
    charon.loaded = {"by-hand": {}}
    whole = ["operational", "strategic"]
    left = ("co-mx-g00000000", "co-pe-g00000000")
    charon.sas = [ike_sa(each, str(number), whole) for number, each in enumerate((name, *left))]
    charon.sas.append(ike_sa("by-hand", "9", []))
    said = heal(charon, Record(), wanted, Paths(state=tmp_path))
    assert said == [f"retired or renewed {each}" for each in left]
    assert [sa.name for sa in charon.sas] == [name, "by-hand"]


def test_an_elder_that_still_carries_traffic_is_not_left_over(
    wanted: list[Connection], tmp_path: Path
) -> None:
    charon = FakeCharon()
    charon.silent = {"pe"}
    charon.sas = [ike_sa("co-pe-g00000000", "1", ["operational", "strategic"])]
    heal(charon, Record(), wanted, Paths(state=tmp_path))
    assert [sa.name for sa in charon.sas] == ["co-pe-g00000000"]


@pytest.mark.req("R6")
def test_a_child_without_an_exchange_of_its_own_gets_one_and_no_other_is_touched(
    wanted: list[Connection], tmp_path: Path
) -> None:
    charon, name = FakeCharon(), wanted[0]["name"]
    bare = child_sa("operational", "7", key_exchange="")
    charon.sas = [ike_sa(name, "1", [bare, "strategic"])]
    said = heal(charon, Record(), wanted, Paths(state=tmp_path))
    assert said == [f"retired or renewed {name}/operational"]
    assert charon.calls == ["renew child 7"]


@pytest.mark.parametrize("change", [{"busy": True}, {"state": "CONNECTING"}])
def test_an_ike_sa_that_is_busy_or_half_made_is_left_to_finish(
    wanted: list[Connection], tmp_path: Path, change: dict[str, Any]
) -> None:
    charon = FakeCharon()
    bare = child_sa("operational", "7", key_exchange="")
    charon.sas = [ike_sa(wanted[0]["name"], "1", [bare, "strategic"], **change)]
    heal(charon, Record(), wanted, Paths(state=tmp_path))
    assert "renew child 7" not in charon.calls


@pytest.mark.req("R6")
def test_a_child_that_the_peer_does_not_let_us_renew_is_ended(
    wanted: list[Connection], tmp_path: Path
) -> None:
    charon = FakeCharon()
    bare = child_sa("operational", "7", key_exchange="", installed_seconds=BARE_SECONDS + 1)
    charon.sas = [ike_sa(wanted[0]["name"], "1", [bare, "strategic"])]
    heal(charon, Record(), wanted, Paths(state=tmp_path))
    assert "end child 7" in charon.calls
    assert "renew child 7" not in charon.calls


@pytest.mark.parametrize(("silent", "code", "ended"), [(2, "PAR-0735", 1), (1, "PAR-0704", 0)])
def test_a_charon_that_is_silent_twice_is_ended_and_once_is_not(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    silent: int,
    code: str,
    ended: int,
) -> None:
    answers = iter([True] * silent + [False] * 2)
    ran: list[Any] = []

    class Hanging(FakeCharon):
        def __enter__(self) -> Hanging:
            if next(answers):
                raise CharonSilent("/run/charon.vici: 30 s")
            return self

        def __exit__(self, *_: object) -> None: ...

    def no_turn() -> int:
        with Hanging():
            return 0

    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(subject, "Charon", Hanging)
    monkeypatch.setattr(subject, "_turn", no_turn)
    monkeypatch.setattr("subprocess.run", lambda words, **_: ran.append(words))
    assert main(["tunnels", "heal"]) == EXIT_REFUSED
    assert capsys.readouterr().err.startswith(code)
    assert ran == [subject.KILL] * ended
