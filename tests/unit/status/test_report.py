"""The table and the data say what the diagnosis says, in Spanish first."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from paranal.messages import Refusal
from paranal.status import cli, probe, report
from paranal.status.bounded import Unseen
from paranal.status.diagnose import diagnose, warnings
from paranal.status.facts import (
    Charon,
    Direction,
    Facts,
    Ike,
    LineCheck,
    Reach,
    directions,
)
from paranal.status.verdict import Side, State


def reported(facts: Facts) -> report.Report:
    return report.Report(facts, diagnose(facts), warnings(facts))


def test_every_state_and_side_has_a_word_in_both_languages() -> None:
    for words, kind in ((report.STATES, State), (report.SIDES, Side)):
        assert set(words) == set(kind)
    for table in (report.STATES, report.SIDES, report.WORDS, report.HEADINGS):
        for key, (spanish, english) in table.items():
            assert spanish, key
            assert english, key
    assert set(report.STYLES) == set(State)


def test_the_table_is_spanish_with_the_contact_of_who_must_act(
    healthy: Facts, capsys: pytest.CaptureFixture[str]
) -> None:
    assert isinstance(healthy.charon, Charon)
    down = replace(healthy.charon, tunnels=healthy.charon.tunnels[1:])
    facts = replace(healthy, charon=down, traces={"co": Ike.NO_REPLY})
    report.show(reported(facts), "es")
    shown = capsys.readouterr().out
    for said in ("Sentido", "Direction", "pendiente", "la línea", "PAR-0613", "(RB-001)"):
        assert said in shown
    assert "Llamar: Turno 24/7 CECAM, +57 1 5550 0157" in shown
    report.show(reported(facts), "en")
    shown = capsys.readouterr().out
    assert "Call: Turno 24/7 CECAM" in shown
    assert "Sentido" not in shown


def test_what_was_not_seen_is_printed_as_not_seen(
    healthy: Facts, capsys: pytest.CaptureFixture[str]
) -> None:
    fields = ("charon", "firewall", "services", "certificates", "crls", "exchange", "lines")
    unseen: dict[str, Any] = {field: Unseen(field, "5 s") for field in fields}
    blind = reported(replace(healthy, **unseen))
    report.show(blind, "es")
    shown = capsys.readouterr().out
    assert "no se vio" in shown
    assert "nunca" not in shown
    data = report.as_dict(blind)
    assert {str(each["last_good"]) for pair in data["pairs"] for each in pair["directions"]} == {
        "{'unseen': '5 s'}"
    }
    assert data["certificates"] == {"unseen": "5 s"}
    assert {each["state"] for pair in data["pairs"] for each in pair["directions"]} == {"unknown"}


def test_the_data_is_plain_json_with_reasons_in_both_languages(checking: Facts) -> None:
    facts = replace(checking, reached={("co", "person"): Reach.TCP_REFUSED})
    data = json.loads(json.dumps(report.as_dict(reported(facts))))
    assert data["reached"] == {"co person": "tcp_refused"}
    pair = next(pair for pair in data["pairs"] if pair["name"] == "co-pe")
    asks = next(each for each in pair["directions"] if each["service"] == "person")
    assert (asks["state"], asks["side"]) == ("broken", "theirs")
    assert asks["reasons"][0]["code"] == "PAR-0630"
    co = next(peer for peer in facts.view["peers"] if peer["code"] == "co")
    assert pair["parity"] == co["pair"]["parity"]
    assert set(asks["reasons"][0]) == {"code", "side", "es", "en", "runbook"}
    assert asks["last_good"] == (checking.now - timedelta(minutes=5)).isoformat()
    assert pair["tunnel"]["children"][0]["name"] == "operational"
    chile = next(pair for pair in data["pairs"] if pair["name"] == "cl-pe")
    assert chile["line_check"]["ok"] is True


def test_a_failed_line_check_names_whom_to_call(
    checking: Facts, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = replace(checking, lines={"cl": LineCheck(checking.now, ok=False, reason="mudo")})
    report.show(reported(failed), "es")
    shown = capsys.readouterr().out
    assert "mudo" in shown
    assert "Llamar: Turno 24/7 Chile, +56 2 5550 0156" in shown


def test_what_ran_out_is_told_once(healthy: Facts) -> None:
    assert not isinstance(healthy.crls, Unseen)
    crls = tuple(replace(crl, next_update=healthy.now) for crl in healthy.crls)
    lines = report.reasons(reported(replace(healthy, crls=crls)), "es")
    for country in ("pe", "cl"):
        assert len([line for line in lines if f"CRL root de {country} venció" in line]) == 1


def test_a_try_that_could_not_be_made_is_data_too(healthy: Facts) -> None:
    facts = replace(healthy, reached={("co", "person"): Unseen("--probe co person", "12 s")})
    assert report.as_dict(reported(facts))["reached"] == {"co person": {"unseen": "12 s"}}


def test_every_try_is_made_or_told(view: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def reach(member: Any, each: Direction) -> Reach:  # noqa: ANN401 - plain JSON data
        if each.peer["code"] == "co":
            raise OSError("asker.pem: No such file or directory")
        return Reach.ANSWERED

    monkeypatch.setattr(probe, "reach", reach)
    flows = [each for peer in view["peers"] for each in directions(view, peer)]
    reason = "asker.pem: No such file or directory"
    assert cli._probe(view["member"], flows) == {
        ("co", "person"): Unseen("--probe co person", reason),
        ("mx", "person"): Reach.ANSWERED,
        ("co", "control"): Unseen("--probe co control", reason),
        ("mx", "control"): Reach.ANSWERED,
    }


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59.9, "59 s"), (60, "1 min"), (7200, "2 h"), (9e5, "10 d")]
)
def test_an_age_has_one_unit(
    checking: Facts, capsys: pytest.CaptureFixture[str], seconds: float, text: str
) -> None:
    lines = {"cl": LineCheck(checking.now - timedelta(seconds=seconds), ok=True, reason="")}
    report.show(reported(replace(checking, lines=lines)), "es")
    assert f"bien {text} " in capsys.readouterr().out


def parsed(*argv: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    cli.configure(parser)
    return parser.parse_args(argv)


def test_without_root_it_says_to_use_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(Refusal, match="sudo paranal status") as caught:
        cli.run(parsed())
    assert caught.value.code == "PAR-0690"


def test_a_view_is_needed_and_is_narrowed_to_known_services(
    tmp_path: Path, view: dict[str, Any]
) -> None:
    path = tmp_path / "view.json"
    with pytest.raises(Refusal) as caught:
        cli.load_view(path)
    assert caught.value.code == "PAR-0691"
    path.write_text(json.dumps(view))
    assert list(cli.load_view(path, ["person"])["services"]) == ["person"]
    assert list(cli.load_view(path)["services"]) == list(view["services"])
    with pytest.raises(Refusal) as caught:
        cli.load_view(path, ["visa"])
    assert caught.value.code == "PAR-0692"


def test_a_gateway_behind_a_translation_names_the_address_that_is_translated(
    healthy: Facts, capsys: pytest.CaptureFixture[str]
) -> None:
    assert isinstance(healthy.charon, Charon)
    report.show(reported(healthy), "es")
    assert "NAT" not in capsys.readouterr().out
    moved = tuple(replace(sa, local_host="192.0.2.2") for sa in healthy.charon.tunnels)
    behind = replace(healthy, charon=replace(healthy.charon, tunnels=moved))
    report.show(reported(behind), "es")
    assert "NAT 192.0.2.2" in capsys.readouterr().out
