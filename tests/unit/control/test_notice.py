"""A notice tells a peer what is suspended of its pair, and when its sender is at work; no more."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from paranal.agreement.suspension import Suspension, Suspensions, narrowed
from paranal.cli import EXIT_REFUSED, main
from paranal.control import cli, notice
from paranal.control.notice import Closed, Heard, Notice, Window
from paranal.messages import Refusal
from paranal.serving.view import View
from tests.unit.agreement.views import view
from tests.unit.query.asking import view_of

SINCE = "2026-11-25T10:00:00+00:00"
NOW = datetime.now(UTC).replace(microsecond=0)
SOON = Window(NOW, NOW + timedelta(hours=1), "cambio de disco")
RECORD = Suspensions((Suspension("pe>co", "person", SINCE, "ana", "orden 7"),))


def peru(record: Suspensions = RECORD) -> View:
    return msgspec.convert(narrowed(view("pe", "all-live"), record), View)


def encoded(**given: object) -> bytes:
    return json.dumps(given).encode()


def test_each_peer_is_told_of_its_own_pair_and_nobody_of_the_reason(tmp_path: Path) -> None:
    record, windows = tmp_path / "suspended.json", tmp_path / "maintenance.json"
    record.write_text(RECORD.text())
    notice.announce([SOON], windows)
    told = notice.standing(peru(), record, windows)
    said = {code: msgspec.json.decode(data, type=Notice) for code, data in told.items()}
    closed = Closed("pe>co", "person", datetime.fromisoformat(SINCE))
    assert said["co"] == Notice((closed,), (SOON,))
    assert said["mx"] == Notice((), (SOON,))
    assert b"orden" not in b"".join(told.values())
    assert b"ana" not in b"".join(told.values())


def test_what_a_peer_says_is_read_as_it_was_written() -> None:
    said = notice.notice_to(peru().peer("co"), peru(), RECORD, [SOON])
    seen = notice.checked_notice(msgspec.json.encode(said), view_of("co").peer("pe"), view_of("co"))
    assert seen == said


WINDOW = {"begin": "2026-12-01T05:00:00Z", "end": "2026-12-01T06:00:00Z", "text": "x"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'{"closed": [',
        b"\xff",
        encoded(closed=[], more=1),
        encoded(closed=[{"direction": "pe>mx", "service": "person"}]),
        encoded(closed=[{"direction": "pe>co\n", "service": "person"}]),
        encoded(closed=[{"direction": "pe>co", "service": "\x1b[2J"}]),
        encoded(closed=[{"direction": "pe>co", "service": "person", "since": "2026-12-01T05:00"}]),
        encoded(windows=[WINDOW | {"text": "\x1b]0;x"}]),
        encoded(windows=[WINDOW | {"text": "a\nb"}]),
        encoded(windows=[WINDOW | {"text": " "}]),
        encoded(windows=[WINDOW | {"text": "\u202eabc"}]),
        encoded(windows=[WINDOW | {"text": "a" * (notice.TEXT_MAX + 1)}]),
        encoded(windows=[WINDOW | {"end": WINDOW["begin"]}]),
        encoded(windows=[WINDOW | {"begin": "2026-12-01T05:00:00"}]),
    ],
)
def test_what_has_another_form_or_speaks_of_others_is_refused(data: bytes) -> None:
    with pytest.raises(Refusal) as found:
        notice.checked_notice(data, view_of("co").peer("pe"), view_of("co"))
    assert found.value.code == "PAR-0925"


def test_the_last_notice_is_kept_and_the_same_one_is_no_news(tmp_path: Path) -> None:
    peer = view_of("co").peer("pe")
    assert notice.keep(Notice(windows=(SOON,)), peer, tmp_path)
    first = notice.heard(["pe", "mx"], tmp_path)
    assert not notice.keep(Notice(windows=(SOON,)), peer, tmp_path)
    assert notice.heard(["pe", "mx"], tmp_path) == first
    assert notice.keep(Notice(), peer, tmp_path)
    assert notice.heard(["pe"], tmp_path)["pe"].notice == Notice()


def test_root_follows_no_link_and_reads_no_text_that_is_none(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(msgspec.json.encode(Heard(NOW, Notice(windows=(SOON,)))))
    (tmp_path / "pe.json").symlink_to(secret)
    (tmp_path / "mx.json").write_bytes(secret.read_bytes().replace(b"cambio", b"c\\u001bmbio"))
    assert notice.heard(["pe", "mx"], tmp_path) == {}
    (tmp_path / "cl.json").write_bytes(secret.read_bytes())
    assert list(notice.heard(["cl"], tmp_path)) == ["cl"]


def test_a_notice_that_cannot_be_kept_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal) as found:
        notice.keep(Notice(), view_of("co").peer("pe"), tmp_path / "none")
    assert found.value.code == "PAR-0926"


@pytest.fixture
def windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Peru's node, where Colombia has announced maintenance; return the file of our own."""
    path, heard = tmp_path / "maintenance.json", tmp_path / "notices"
    heard.mkdir()
    notice.keep(Notice((Closed("co>pe", "person"),), (SOON,)), peru().peer("co"), heard)
    (tmp_path / "view.json").write_text(json.dumps(view("pe", "all-live")))
    monkeypatch.setattr(cli, "require_root", lambda _: None)
    monkeypatch.setattr(notice.own_windows, "__defaults__", (path,))
    monkeypatch.setattr(notice.announce, "__defaults__", (path,))
    monkeypatch.setattr(notice.heard, "__defaults__", (heard,))
    return path


def announced(windows: Path, *words: str) -> int:
    return main(["control", "notice", *words, "--view", str(windows.with_name("view.json"))])


def test_a_window_is_announced_listed_and_withdrawn(
    windows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    until = (NOW + timedelta(hours=2)).isoformat()
    assert announced(windows, "cambio de disco", "--until", until) == 0
    assert announced(windows, "otro", "--until", until) == 0
    assert [one.text for one in notice.own_windows(windows)] == ["cambio de disco", "otro"]
    capsys.readouterr()
    assert announced(windows, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["text"] for one in told["ours"]["pe"]] == ["cambio de disco", "otro"]
    assert told["heard"]["co"]["notice"]["windows"][0]["text"] == SOON.text
    assert announced(windows, "--withdraw") == 0
    assert notice.own_windows(windows) == ()
    assert "co: suspendido | suspended co>pe person" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ("cambio",),
        ("--until", "2999-01-01T00:00Z"),
        ("cambio", "--until", "mañana"),
        ("cambio", "--until", "2999-01-01T00:00"),
        ("cambio", "--until", "2001-01-01T00:00Z"),
        ("cambio", "--from", "2999-01-02T00:00Z", "--until", "2999-01-01T00:00Z"),
        ("a\x1b[2J", "--until", "2999-01-01T00:00Z"),
        ("cambio", "--until", "2999-01-01T00:00Z", "--withdraw"),
    ],
)
def test_what_is_no_window_is_refused_and_nothing_is_announced(
    windows: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    assert announced(windows, *words) == EXIT_REFUSED
    assert "PAR-0928" in capsys.readouterr().err
    assert not windows.exists()


def test_a_record_that_cannot_be_read_is_said_and_withdrawing_mends_it(
    windows: Path, capsys: pytest.CaptureFixture[Any]
) -> None:
    windows.write_text("{")
    assert announced(windows) == EXIT_REFUSED
    assert "PAR-0929" in capsys.readouterr().err
    assert announced(windows, "--withdraw") == 0
    assert notice.own_windows(windows) == ()
