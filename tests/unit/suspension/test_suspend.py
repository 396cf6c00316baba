"""The command: whoever kills it leaves what was or what was asked, and a second one finishes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from paranal.agreement.suspension import narrowed, read_suspensions
from paranal.cli import EXIT_REFUSED, main
from paranal.firewall import suspended
from paranal.suspension import cli, layers
from paranal.suspension.record import alone, write
from tests.unit.agreement.views import view

REASON = ("--reason", "orden 7")


class Killed(BaseException):
    """The process ends here."""


class Node:
    """The files of one node, and what its layers were told to close."""

    def __init__(self, root: Path) -> None:
        self.view, self.record = root / "view.json", root / "suspended.json"
        self.rules = root / "suspended.nft"
        self.view.write_text(json.dumps(view("pe", "all-live")))
        self.closed: list[dict[str, Any]] = []
        self.answers = {"nft": "closed"}

    def close(self, found: dict[str, Any]) -> dict[str, str]:
        self.closed.append(found)
        return self.answers

    def seen(self) -> dict[str, Any]:
        """Return the view as every reader of the node has it."""
        return narrowed(json.loads(self.view.read_text()), read_suspensions(self.record))


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    made = Node(tmp_path)
    keep = cli.keep_closed
    monkeypatch.setattr(cli, "require_root", lambda _: None)
    monkeypatch.setattr(cli, "declared_view", lambda: json.loads(made.view.read_text()))
    monkeypatch.setattr(cli, "read_suspensions", lambda: read_suspensions(made.record))
    monkeypatch.setattr(cli, "write", lambda held: write(held, made.record))
    monkeypatch.setattr(cli, "keep_closed", lambda found, held: keep(found, held, made.view))
    monkeypatch.setattr(cli, "alone", lambda: alone(tmp_path / "lock"))
    monkeypatch.setattr(suspended, "FILE", made.rules)
    monkeypatch.setattr(layers, "close", made.close)
    return made


def status(found: dict[str, Any], way: str = "answers") -> str:
    peer = next(each for each in found["peers"] if each["code"] == "co")
    return str(peer[way]["person"])


def test_suspended_is_recorded_and_closed(
    node: Node, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_USER", "ana")
    assert main(["suspend", "co>pe", *REASON, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    (entry,) = told["suspended"]
    assert told["changed"]
    assert (entry["direction"], entry["by"], entry["reason"]) == ("co>pe", "ana", "orden 7")
    assert (status(node.seen()), status(node.seen(), "asks")) == ("suspended", "live")
    assert node.closed == [node.seen()]
    assert node.rules.read_text() == suspended.text(node.seen())


def test_a_second_time_changes_no_record_and_closes_again(
    node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["suspend", "co", *REASON])
    before = node.record.read_text()
    capsys.readouterr()
    assert main(["suspend", "co", "--reason", "otra", "--json"]) == 0
    assert not json.loads(capsys.readouterr().out)["changed"]
    assert node.record.read_text() == before
    assert len(node.closed) == 2


@pytest.mark.parametrize("point", ["the rules' file", "the record", "the layers"])
def test_killed_it_leaves_old_or_new_and_a_rerun_finishes(
    node: Node, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as broken:
        target = {
            "the rules' file": (cli, "replace"),
            "the record": (cli, "write"),
            "the layers": (layers, "close"),
        }[point]
        broken.setattr(*target, killed)
        with pytest.raises(Killed):
            main(["suspend", "co", *REASON])
    recorded = node.record.exists()
    assert recorded == (point == "the layers")
    assert status(node.seen()) == ("suspended" if recorded else "live")
    # Whatever loads the rules has at least what the record closes.
    assert not recorded or node.rules.read_text() == suspended.text(node.seen())
    assert main(["suspend", "co", *REASON]) == 0
    assert status(node.seen()) == "suspended"
    assert node.closed == [node.seen()]


def test_a_layer_that_did_not_close_is_refused_and_the_record_stands(
    node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    node.answers = {"nft": "closed", "charon": "failed: no answer"}
    assert main(["suspend", "co", *REASON]) == EXIT_REFUSED
    assert "PAR-0745" in capsys.readouterr().err
    assert status(node.seen()) == "suspended"


def test_what_is_lifted_stays_closed_until_a_controller_applies(node: Node) -> None:
    main(["suspend", "co", *REASON])
    assert main(["suspend", "co", "--lift"]) == 0
    assert read_suspensions(node.record).entries == ()
    assert status(node.seen()) == "suspended"
    node.view.write_text(json.dumps(view("pe", "all-live")))
    assert status(node.seen()) == "live"


@pytest.mark.parametrize("point", ["keep_closed", "write"])
def test_a_lift_that_is_killed_opens_nothing(
    node: Node, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    def killed(*_: object) -> None:
        raise Killed

    main(["suspend", "co", *REASON])
    with monkeypatch.context() as broken:
        broken.setattr(cli, point, killed)
        with pytest.raises(Killed):
            main(["suspend", "co", "--lift"])
    assert status(node.seen()) == "suspended"
    assert main(["suspend", "co", "--lift"]) == 0
    assert status(node.seen()) == "suspended"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("co",), "PAR-0747"),
        (("xx", *REASON), "PAR-0741"),
        (("co", "--service", "x", *REASON), "PAR-0742"),
        (("co", "--lift"), "PAR-0743"),
    ],
)
def test_what_is_refused_writes_nothing(
    node: Node, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: str
) -> None:
    assert main(["suspend", *words]) == EXIT_REFUSED
    assert code in capsys.readouterr().err
    assert (node.record.exists(), node.rules.exists(), node.closed) == (False, False, [])


@pytest.mark.parametrize("more", [REASON, ("--lift",)])
def test_a_record_that_cannot_be_read_is_not_written_over(
    node: Node, capsys: pytest.CaptureFixture[str], more: tuple[str, ...]
) -> None:
    node.record.write_text("{")
    assert main(["suspend", "co", *more]) == EXIT_REFUSED
    assert "PAR-0744" in capsys.readouterr().err
    assert node.record.read_text() == "{"
    assert status(node.seen()) == "suspended"


def test_without_root_it_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert main(["suspend", "co", *REASON]) == EXIT_REFUSED
    assert "PAR-0690" in capsys.readouterr().err


def test_the_list_is_shown(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    main(["suspend", "co>pe", *REASON])
    capsys.readouterr()
    assert main(["suspend", "--list"]) == 0
    assert "co>pe *" in capsys.readouterr().out
