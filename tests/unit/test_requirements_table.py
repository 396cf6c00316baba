"""The table of requirements names every row, every test, and nothing that is not there."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests import requirements_table
from tests.requirements_table import NOT_YET, collected, table

ROWS = {
    "R1": {"es": "Uno", "en": "One", "works": "It works."},
    "R2": {**dict.fromkeys(("es", "en", "works"), "Two")},
}
SAMPLE = """
import pytest

pytestmark = [pytest.mark.req("R3")]

@pytest.mark.req("R1")
@pytest.mark.parametrize("n", [1, pytest.param(2, marks=pytest.mark.req("R2"))])
def test_one_thing(n): pass

@pytest.mark.req("R1", "R2")
class TestMore:
    async def test_other(self): pass
    def helper(self): pass

def helper(): pass
"""


def test_markers_are_read_from_functions_classes_parameters_and_modules(tmp_path: Path) -> None:
    folder = tmp_path / "tests" / "unit"
    folder.mkdir(parents=True)
    (folder / "test_sample.py").write_text(SAMPLE)
    (folder / "support.py").write_text(SAMPLE)
    one, other = (
        f"tests/unit/test_sample.py::{name}" for name in ("test_one_thing", "TestMore::test_other")
    )
    assert collected(tmp_path / "tests") == {
        "R1": {one, other},
        "R2": {one, other},
        "R3": {one, other},
    }


def test_a_row_without_a_test_says_so() -> None:
    text = table(ROWS, {"R1": {"tests/unit/test_a.py::test_it_is_so"}})
    lines = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("|")}
    assert "[test_a](../../tests/unit/test_a.py): it is so" in lines["R1"]
    assert NOT_YET not in lines["R1"]
    assert NOT_YET in lines["R2"]


def test_a_marker_without_a_row_is_an_error() -> None:
    with pytest.raises(KeyError, match="R99"):
        table(ROWS, {"R99": {"tests/unit/test_a.py::test_it"}})


def test_the_rows_are_those_of_the_requirements() -> None:
    rows = yaml.safe_load(requirements_table.ROWS.read_text(encoding="utf-8"))
    numbered = {"R": 19, "D": 7, "B": 11}
    assert set(rows) == {
        f"{kind}{n}" for kind, last in numbered.items() for n in range(1, last + 1)
    }
    for name, row in rows.items():
        assert set(row) == {"es", "en", "works"}, name
        assert all(value.strip() for value in row.values())


def test_a_stale_table_is_told_and_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "docs").mkdir()
    stale = tmp_path / "docs" / "requirements.md"
    monkeypatch.setattr(requirements_table, "TABLE", stale)
    monkeypatch.setattr(requirements_table, "REPOSITORY", tmp_path)
    monkeypatch.setattr(requirements_table, "collected", lambda folder: {})
    assert requirements_table.main(["--check"]) == 1
    assert "stale" in capsys.readouterr().err
    assert not stale.exists()
    assert requirements_table.main([]) == 0
    assert requirements_table.main(["--check"]) == 0
    assert NOT_YET in stale.read_text(encoding="utf-8")
