"""The one command: its words, its exit statuses, and what it says when a word is not here."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from paranal import __version__, cli
from paranal.messages import Refusal

ROOT = Path(__file__).parents[2]


@pytest.fixture
def word(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A word ``try`` whose module does what a test tells it to."""
    module = ModuleType("word_of_the_test")

    def configure(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true")

    vars(module).update(configure=configure, run=lambda args: 7)
    monkeypatch.setitem(sys.modules, "word_of_the_test", module)
    monkeypatch.setitem(cli.COMMANDS, "try", ("word_of_the_test", "a word"))
    return module


def test_a_word_returns_its_own_status(word: ModuleType) -> None:
    assert cli.main(["try"]) == 7


def test_a_refusal_is_told_once_on_stderr_and_as_data(
    word: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(args: argparse.Namespace) -> int:
        raise Refusal("PAR-0690", command="try")

    vars(word).update(run=refuse)
    assert cli.main(["try"]) == cli.EXIT_REFUSED
    said = capsys.readouterr()
    assert said.err.startswith("PAR-0690: ")
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert cli.main(["try", "--json"]) == cli.EXIT_REFUSED
    assert json.loads(capsys.readouterr().out)["refusal"]["code"] == "PAR-0690"


def test_a_word_that_is_not_installed_is_refused_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(cli.COMMANDS, "try", ("paranal.nothing_here", "a word"))
    assert cli.main(["try"]) == cli.EXIT_REFUSED
    assert "paranal.nothing_here" in capsys.readouterr().err


def test_an_interruption_is_said_and_has_its_own_status(
    word: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(args: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    vars(word).update(run=interrupted)
    assert cli.main(["try"]) == 130
    assert "interrumpido" in capsys.readouterr().err


def test_a_file_that_cannot_be_read_is_a_refusal_and_no_traceback(
    word: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    def unreadable(args: argparse.Namespace) -> int:
        return os.open("/dev/full/nothing", os.O_RDONLY)

    vars(word).update(run=unreadable)
    assert cli.main(["try"]) == cli.EXIT_REFUSED
    said = capsys.readouterr().err
    assert said.startswith("PAR-0002: /dev/full/nothing: ")
    assert said.count("\n") == 1


def _view(output: int) -> tuple[int, str]:
    command = [sys.executable, "-m", "paranal", "agreement", "view", "--member", "pe"]
    done = subprocess.run(  # noqa: S603 - our own command
        command, stdout=output, stderr=subprocess.PIPE, check=False, cwd=ROOT, text=True
    )
    os.close(output)
    return done.returncode, done.stderr


def test_a_reader_that_has_gone_is_no_traceback() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    assert _view(writer) == (141, "")


def test_a_failure_without_a_file_is_told_as_data_too() -> None:
    """In a process of its own: what is lost at its end is not seen from inside."""
    program = (
        "import sys, types\n"
        "from paranal import cli\n"
        "def run(args): raise ConnectionRefusedError(111, 'Connection refused')\n"
        "module = types.ModuleType('word_of_the_test')\n"
        "module.configure = lambda parser: parser.add_argument('--json', action='store_true')\n"
        "module.run = run\n"
        "sys.modules['word_of_the_test'] = module\n"
        "cli.COMMANDS['try'] = ('word_of_the_test', 'a word')\n"
        "sys.exit(cli.main(['try', '--json']))\n"
    )
    buffered = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-c", program], capture_output=True, check=False, text=True, env=buffered
    )
    assert done.returncode == cli.EXIT_REFUSED
    assert json.loads(done.stdout)["refusal"]["code"] == "PAR-0002"


def test_output_that_cannot_be_written_is_told_once() -> None:
    status, said = _view(os.open("/dev/full", os.O_WRONLY))
    assert (status, said.count("\n")) == (cli.EXIT_REFUSED, 1)
    assert said.startswith("PAR-0002: agreement: ")


@pytest.mark.parametrize("argv", [[], ["nothing"], ["try", "--unknown"]])
def test_wrong_usage_exits_with_two(word: ModuleType, argv: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(argv)
    assert caught.value.code == 2


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"paranal {__version__}\n"


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_every_word_can_be_configured_and_has_help(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([name, "--help"])
    assert caught.value.code == 0
    assert cli.COMMANDS[name][1] in " ".join(capsys.readouterr().out.split())
