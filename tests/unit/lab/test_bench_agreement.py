"""The agreement of many members that the bench makes is one, and a sound one."""

from __future__ import annotations

from pathlib import Path

from paranal.agreement.check import problems
from paranal.agreement.source import Source
from paranal.lab.bench_agreement import MANY, document


def test_it_has_every_pair_and_no_problem() -> None:
    found = document(MANY)
    assert (len(found["members"]), len(found["pairs"])) == (MANY, MANY * (MANY - 1) // 2)
    small = document(5)
    assert list(problems(Source(Path("many.yml"), small, {}))) == []
    small["members"]["ab"]["wan_address"] = small["members"]["aa"]["wan_address"]
    assert [one.code for one in problems(Source(Path("many.yml"), small, {}))] == ["PAR-0105"]
