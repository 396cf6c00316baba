"""The lab's synthetic people: repeatable, importable, and the known ones found by their MRZ."""

from __future__ import annotations

import json
from datetime import date

import pytest

from paranal.lab import people
from paranal.query import match, mrz, records

TODAY = date(2026, 11, 23)


def _rows(country: str, count: int = 200) -> list[records.Row]:
    lines = (json.dumps(each) for each in people.records(country, count))
    return list(records.rows(lines, "jsonl", "national", "people", TODAY))


@pytest.mark.parametrize("country", sorted(people.NATIONALITIES))
def test_every_record_passes_the_importer(country: str) -> None:
    assert len(_rows(country)) == 200


def test_the_same_seed_gives_the_same_people() -> None:
    assert list(people.records("pe", 50)) == list(people.records("pe", 50))
    assert list(people.records("pe", 50)) != list(people.records("pe", 50, seed=1))


@pytest.mark.req("R3")
@pytest.mark.parametrize(
    ("lines", "answers"),
    [
        (people.DEMO_WANTED_MRZ, {"co": 1, "mx": 0}),
        (people.DEMO_RECORD_MRZ, {"co": 0, "mx": 2}),
        (people.DEMO_CLEAN_MRZ, {"co": 0, "mx": 0}),
    ],
)
def test_the_known_persons_have_their_answers(
    lines: tuple[str, str], answers: dict[str, int]
) -> None:
    asked = match.keys(mrz.read(lines, TODAY))
    for country, code in answers.items():
        hits = [
            row.kind
            for row in _rows(country)
            if row.offence_class
            and (row.document_key == asked.document or row.identity_key in asked.identities)
        ]
        assert match.judge(asked, hits, ["national"], ["national"]) == code


def test_the_specimen_is_a_test_identity() -> None:
    assert mrz.read(people.DEMO_TEST_MRZ, TODAY).is_test_identity
