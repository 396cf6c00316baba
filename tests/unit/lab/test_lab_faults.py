"""The faults' words, their packets, and the document that lists them."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import pytest

from paranal.lab import faults, hostile, packets, tampering
from paranal.lab.fault_cli import VERBS, configure
from paranal.lab.home import ROOT
from paranal.lab.lab import Lab
from paranal.messages import Refusal

ROW = re.compile(r"^\| `(\w+)` \| (.+?) \| (.+?) \| `(\S+)` \|$", re.MULTILINE)


def _parse(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    configure(parser)
    return parser.parse_args(list(given))


def test_the_document_lists_every_fault_as_the_command_tells_it() -> None:
    rows = ROW.findall((ROOT / "docs" / "faults.md").read_text(encoding="utf-8"))
    told = {name: (summary, expected) for name, summary, expected, _ in rows}
    assert told == {name: (verb.summary, verb.expected) for name, verb in VERBS.items()}
    assert all((ROOT / path).is_file() for *_, path in rows)


@pytest.mark.parametrize("name", VERBS)
def test_every_fault_tells_what_is_expected_and_prints_data(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        _parse(name, "--help")
    told = " ".join(capsys.readouterr().out.split())
    assert "--json" in told
    assert VERBS[name].expected.split(",")[0].split(";")[0][:40] in told


def test_the_words_of_a_fault_are_read() -> None:
    assert _parse("split", "cl,co", "mx,pe").groups == [("cl", "co"), ("mx", "pe")]
    mtu = _parse("mtu", "pe", "1280", "--silent")
    assert (mtu.octets, mtu.silent) == (1280, True)
    flood = _parse("flood", "pe", "--from", "co,mx", "--rate", "100", "--for", "2s")
    assert (flood.sources, flood.rate, flood.seconds) == (("co", "mx"), 100, 2.0)
    replay = _parse("replay", "co", "pe", "--after", "500ms", "--copies", "2")
    assert (replay.one, replay.other, replay.after, replay.copies) == ("co", "pe", 0.5, 2)


@pytest.mark.parametrize(
    "given",
    [
        ("mtu", "pe", "1279"),
        ("mtu", "pe", "1500"),
        ("flood", "pe", "--rate", "1000000"),
        ("flap", "pe", "--times", "-1"),
        ("fuzz", "pe", "--seed", "x"),
    ],
)
def test_a_bound_that_is_passed_is_refused(given: tuple[str, ...]) -> None:
    with pytest.raises(Refusal) as refusal:
        _parse(*given)
    assert refusal.value.code == "PAR-0218"


def test_one_attack_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab("t-attack", tmp_path)
    lab.home.wan.mkdir(parents=True)
    assert faults.attacked(lab) is None
    report = lab.home.wan / hostile.REPORT
    report.write_text(json.dumps({"kind": "flood", "ended": False}) + " " * 80, encoding="utf-8")
    ended = faults.attacked(lab)
    assert ended is not None
    assert ended["ended"], "a run that was killed holds its lock no longer, whatever it last wrote"
    monkeypatch.setattr(hostile, "running", lambda _: True)
    with pytest.raises(Refusal) as refusal:
        faults.attack(lab, "flood", "pe")
    assert refusal.value.code == "PAR-0243"


def test_the_malformed_corpus_is_the_same_for_a_seed_and_has_every_case() -> None:
    one, again = list(packets.malformed(7, 90)), list(packets.malformed(7, 90))
    assert one == again
    assert one != list(packets.malformed(8, 90))
    assert len({case for case, _, _ in one}) == 9
    assert {port for _, port, _ in one} == {500, 4500}
    assert all(len(payload) < 65_000 for _, _, payload in one)


def test_a_rule_tells_its_name_and_what_it_caught_and_others_tables_are_left_out() -> None:
    def rule(table: str, name: str, caught: int) -> dict[str, object]:
        expression = [{"match": {}}, {"counter": {"packets": caught, "bytes": 0}}, {"drop": None}]
        return {"rule": {"family": "inet", "table": table, "comment": name, "expr": expression}}

    entries = [{"table": {}}, rule("faults", "mtu pe 1280", 2), rule("faults", "mtu pe 1280", 3)]
    listing = json.dumps({"nftables": [*entries, rule("other", "lost a b", 1)]})
    assert tampering.present(listing) == {"mtu pe 1280": 5}
