"""The post's command: what the officer types and what the officer reads."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID

import pytest

from paranal import cli
from paranal.lab import people
from paranal.messages import Refusal
from paranal.query import ask, wire

FIELDS = {
    "surnames": "Peña",
    "given-names": "-",
    "date-of-birth": "1984-07-19",
    "sex": "M",
    "nationality": "COL",
    "document-type": "P",
    "document-number": "AV123456",
    "document-issuer": "COL",
}
CONTACT = {"name": "Turno 24/7", "phone": "+57 1 5550 0157", "email": "turno@co.paranal.example"}


def _answer(outcome: str, answer: str, **more: object) -> wire.Consolidated:
    refusal = wire.as_text(Refusal("PAR-0543", member="co", seconds="4"))
    hit = answer in ("OK", "RQ", "ANT")
    line = wire.CountryAnswer(answer, None, 1.0, None if hit else refusal)  # type: ignore[arg-type]
    return wire.Consolidated(
        request_id=UUID(int=1),
        outcome=outcome,  # type: ignore[arg-type]
        complete=bool(more.get("complete", True)),
        asked_at="2026-11-23T00:00:00+00:00",
        elapsed_ms=12.0,
        answers={"co": line},
        not_in_service=["cl"],
        contacts={} if answer == "OK" else {"co": CONTACT},
    )


@pytest.mark.req("R3")
@pytest.mark.parametrize("answer", ["RQ", "ANT"])
def test_a_hit_is_the_instruction_and_the_category_only_where_a_country_says_so(
    answer: str,
) -> None:
    shown = ask.screen(_answer("ALERT", answer), show_category=False)
    assert "A L E R T A" in shown
    assert "PROTOCOLO DE ACCIÓN" in shown
    assert answer not in shown.replace("DE ACCIÓN", "")
    assert CONTACT["phone"] in shown
    assert f"({answer})" in ask.screen(_answer("ALERT", answer), show_category=True)


@pytest.mark.req("R10")
def test_an_ok_names_who_is_not_in_service() -> None:
    shown = ask.screen(_answer("OK", "OK"), show_category=False)
    assert "O K" in shown
    assert "CL" in shown


@pytest.mark.req("R15")
@pytest.mark.req("B6")
def test_an_incomplete_answer_never_reads_as_an_ok() -> None:
    shown = ask.screen(_answer("INCOMPLETE", "TIMEOUT", complete=False), show_category=False)
    assert "NO ES UN OK" in shown
    assert "PAR-0543" in shown
    assert CONTACT["phone"] in shown


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--mrz", *people.DEMO_CLEAN_MRZ, "--sex", "F"],
        [word for key, text in FIELDS.items() if key != "sex" for word in (f"--{key}", text)],
        ["--mrz", *people.DEMO_CLEAN_MRZ, "--purpose", "curiosity"],
    ],
)
def test_a_question_that_is_not_whole_is_a_usage_error(words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["query", "--from", "pe", *words])
    assert ended.value.code == 2


def test_what_cannot_be_asked_is_refused_before_anything_leaves(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    wrong = [people.DEMO_CLEAN_MRZ[0], people.DEMO_CLEAN_MRZ[1].replace("9102284", "9102285")]
    assert cli.main(["query", "--from", "pe", "--json", "--mrz", *wrong]) == 3
    assert json.loads(capsys.readouterr().out)["refusal"]["code"] == "PAR-0512"

    words = [word for key, text in FIELDS.items() for word in (f"--{key}", text)]
    missing = ["--settings", str(tmp_path / "post.json")]
    assert cli.main(["query", "--from", "pe", *words, *missing]) == 3
    assert "PAR-0560" in capsys.readouterr().err
