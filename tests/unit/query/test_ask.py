"""The post's command: what the officer types and what the officer reads."""

from __future__ import annotations

import getpass
import io
import json
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from paranal import cli
from paranal.lab import people
from paranal.messages import Refusal
from paranal.query import ask, wire
from tests.unit.query.asking import credentials

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


def _refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Ask, and return the one line that says why nothing was asked."""
    assert cli.main(["query", "--from", "pe", *words]) == 3
    told = capsys.readouterr()
    assert told.out == ""
    return told.err


MRZ = ("--mrz", *people.DEMO_CLEAN_MRZ)


@pytest.fixture
def post(tmp_path: Path) -> dict[str, Any]:
    """The settings of a post that has everything but somebody to ask."""
    for name in ("ca", "post"):
        (tmp_path / f"{name}.pem").write_text(credentials("post-1.pe.paranal.example"))
    return {
        "national_url": "https://127.0.0.1:1",
        "server_name": "n.pe.paranal.example",
        "ca": str(tmp_path / "ca.pem"),
        "certificate": str(tmp_path / "post.pem"),
        "key": str(tmp_path / "post.pem"),
        "member": "pe",
        "post": "post-1",
    }


def _write(tmp_path: Path, settings: dict[str, Any]) -> tuple[str, str]:
    path = tmp_path / "post.json"
    path.write_text(json.dumps(settings))
    return "--settings", str(path)


@pytest.mark.parametrize("missing", ["ca", "certificate"])
def test_a_post_without_a_file_is_told_which(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, post: dict[str, Any], missing: str
) -> None:
    post[missing] = str(tmp_path / "absent.pem")
    told = _refused(capsys, *MRZ, *_write(tmp_path, post))
    assert "PAR-0560" in told
    assert "absent.pem" in told


def test_an_address_that_is_none_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, post: dict[str, Any]
) -> None:
    post["national_url"] = "https://127.0.0.1:port"
    assert "PAR-0562" in _refused(capsys, *MRZ, *_write(tmp_path, post))


def test_settings_that_are_none_are_refused_by_any_msgspec(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The errors of Debian 13's msgspec are no ValueError; those of later ones are."""

    class Old(Exception):
        pass

    def decode(*_: object, **__: object) -> None:
        raise Old("no settings")

    words = _write(tmp_path, {})
    assert "PAR-0560" in _refused(capsys, *MRZ, *words)
    monkeypatch.setattr(ask, "_person", lambda _: None)
    monkeypatch.setattr(msgspec, "MsgspecError", Old)
    monkeypatch.setattr(msgspec.json, "decode", decode)
    assert "no settings" in _refused(capsys, *MRZ, *words)


def test_what_no_scanner_reads_is_refused_where_it_stands(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scanned = "\n".join(people.DEMO_CLEAN_MRZ).encode().replace(b"QUISPE", b"QU\xffSPE")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(scanned), encoding="utf-8"))
    told = _refused(capsys, "--mrz", "-")
    assert "PAR-0511" in told
    assert "position 8" in told


def test_an_account_without_a_name_is_no_officer(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    post: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nobody() -> str:
        raise OSError("No username set in the environment")

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert "PAR-0522" in _refused(capsys, *MRZ, *_write(tmp_path, post))
