"""A pair with nothing open is proved by its initiator, noted, and ended again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from paranal.status.line_check import check, keep, to_check
from paranal.tunnels.charon import CharonError
from tests.unit.agreement.views import view


class Line:
    """A charon that brings up one childless IKE_SA, or says why not."""

    def __init__(self, reason: str = "") -> None:
        self.reason, self.ended = reason, list[str]()

    def bring_up(self, name: str, seconds: int) -> None:
        if self.reason:
            raise CharonError(self.reason)

    def ike_sas(self) -> list[Any]:
        def named(name: str) -> Any:  # noqa: ANN401 - two attributes are all that is read
            return type("Sa", (), {"name": name, "unique_id": name})()

        return [named("cl-pe-line"), named("cl-co-g12345678")]

    def end_ike(self, unique_id: str, seconds: int = 5) -> None:
        self.ended.append(unique_id)


@pytest.mark.req("R12")
def test_only_the_initiator_checks_and_only_what_is_closed() -> None:
    assert to_check(view("cl")) == {
        "co": "cl-co-line",
        "mx": "cl-mx-line",
        "pe": "cl-pe-line",
    }
    assert to_check(view("pe")) == {}


@pytest.mark.parametrize("reason", ["", "peer did not respond"])
def test_the_result_is_charons_and_the_line_is_ended(reason: str) -> None:
    line = Line(reason)
    note = check(line, "cl-pe-line")  # type: ignore[arg-type]
    assert (note["ok"], note["reason"]) == (not reason, reason)
    assert line.ended == ["cl-pe-line"]


def test_notes_are_kept_and_a_line_no_longer_checked_is_forgotten(tmp_path: Path) -> None:
    note = check(Line(), "cl-pe-line")  # type: ignore[arg-type]
    keep({"pe": note, "co": note}, tmp_path)
    keep({"pe": note}, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["pe.json"]
    assert json.loads((tmp_path / "pe.json").read_text()) == note
