"""The services' view follows its file, and at once what this member suspended by itself."""

from __future__ import annotations

import json
from pathlib import Path

from paranal.agreement.suspension import Suspension, Suspensions
from paranal.serving.view import watched_view
from tests.unit.agreement.views import view


def test_a_suspension_counts_at_the_next_question_and_so_does_its_end(tmp_path: Path) -> None:
    file, record = tmp_path / "view.json", tmp_path / "suspended.json"
    file.write_text(json.dumps(view("pe")))
    watched = watched_view(file, record)
    assert watched().peer("co").answers["person"] == "live"
    record.write_text(Suspensions((Suspension("co>pe", "", "", "ana", "orden 7"),)).text())
    assert watched().peer("co").answers["person"] == "suspended"
    assert watched().peer("co").asks["person"] == "live"
    record.write_text("{")
    assert watched().peer("co").asks["person"] == "suspended"
    record.unlink()
    assert watched().peer("co").answers["person"] == "live"
