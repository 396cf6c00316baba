"""The renewal timer's units: systemd takes them, and they ask for nothing but what is due."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path

import pytest

from paranal import cli
from paranal.messages import Refusal
from paranal.pki import timer

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.req("B5")


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    (tmp_path / "pe").mkdir()
    (tmp_path / "pe" / "hosts.yml").write_text("members: {hosts: {pe: {}}}\n")
    return tmp_path / "pe"


def _command(text: str) -> list[str]:
    (line,) = (line for line in text.splitlines() if line.startswith("ExecStart="))
    return shlex.split(line.removeprefix("ExecStart="))


def test_systemd_takes_both_units_and_a_second_writing_changes_nothing(
    inventory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["pki", "timer", "--inventory", str(inventory), "--directory", str(tmp_path / "units")]
    assert cli.main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert [Path(path).name for path in told["changed"]] == list(timer.UNITS)
    verify = ["systemd-analyze", "verify", "--man=no", *told["changed"]]
    done = subprocess.run(verify, capture_output=True, text=True, check=False)  # noqa: S603
    assert (done.returncode, done.stderr) == (0, "")
    assert cli.main(words) == 0
    assert json.loads(capsys.readouterr().out)["changed"] == []


def test_a_unit_that_systemd_does_not_take_would_be_seen(tmp_path: Path) -> None:
    (tmp_path / "odd.timer").write_text("[Timer]\nOnCalendar=someday\n")
    verify = ["systemd-analyze", "verify", "--man=no", str(tmp_path / "odd.timer")]
    done = subprocess.run(verify, capture_output=True, text=True, check=False)  # noqa: S603
    assert "someday" in done.stderr


def test_the_run_asks_for_nothing_but_what_is_due(inventory: Path) -> None:
    units = timer.rendered(inventory, "pe@/srv/paranal/vault.sh")
    command = _command(units["paranal-renew.service"])
    assert Path(command[0]).exists()
    assert (ROOT / "playbooks/rotate_certificates.yml").is_file()
    assert command[1:] == [
        *("-i", str(inventory), "--vault-id", "pe@/srv/paranal/vault.sh"),
        *("playbooks/rotate_certificates.yml", "-e", "pki_rotate_before="),
    ]
    assert "--vault-id" not in _command(timer.rendered(inventory, "")["paranal-renew.service"])


@pytest.mark.parametrize("vault_id", ["pe@/a b", "pe@%h", "pe@$(id)", "a\nExecStart=/bin/sh"])
def test_what_is_no_plain_word_is_refused(inventory: Path, vault_id: str) -> None:
    with pytest.raises(Refusal, match="PAR-0438"):
        timer.rendered(inventory, vault_id)


def test_an_inventory_that_is_not_there_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="PAR-0438"):
        timer.install(tmp_path / "none", "", tmp_path / "units")
    assert not (tmp_path / "units").exists()
