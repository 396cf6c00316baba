"""Watched files: read again when they change, not before."""

from __future__ import annotations

from pathlib import Path

import pytest

from paranal.serving.files import Watched


def test_a_value_follows_its_file(tmp_path: Path) -> None:
    file = tmp_path / "view.json"
    file.write_text("1")
    made: list[str] = []

    def make() -> str:
        made.append(file.read_text())
        return made[-1]

    watched = Watched([file], make)
    assert (watched(), watched(), len(made)) == ("1", "1", 1)
    other = tmp_path / "new"
    other.write_text("2")
    other.replace(file)
    assert (watched(), len(made)) == ("2", 2)


def test_a_fault_is_seen_and_tried_again(tmp_path: Path) -> None:
    file = tmp_path / "view.json"
    watched = Watched([file], lambda: int(file.read_text()))
    with pytest.raises(FileNotFoundError):
        watched()
    file.write_text("x")
    with pytest.raises(ValueError, match="x"):
        watched()
    file.write_text("42")
    assert watched() == 42


def test_a_value_does_not_grow_older_than_it_may(tmp_path: Path) -> None:
    file = tmp_path / "view.json"
    file.write_text("1")
    made = iter(range(9))
    watched = Watched([file], lambda: next(made), max_age_seconds=0)
    assert (watched(), watched()) == (0, 1)


def test_a_file_that_may_lack_is_followed_when_it_comes_and_when_it_goes(tmp_path: Path) -> None:
    view, record = tmp_path / "view.json", tmp_path / "suspended.json"
    view.write_text("1")
    watched = Watched([view], record.exists, may_lack=[record])
    assert (watched(), watched()) == (False, False)
    record.write_text("{}")
    assert watched()
    record.unlink()
    assert not watched()
