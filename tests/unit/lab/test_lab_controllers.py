"""The controllers of a lab's countries: their names, and how their commands are run."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from paranal.lab import controllers, names
from paranal.lab.controllers import Controller


@pytest.fixture
def one(monkeypatch: pytest.MonkeyPatch) -> Controller:
    account = pwd.struct_passwd(("x", "x", 58001, 58002, controllers.comment("a"), "/", "/"))
    monkeypatch.setattr(pwd, "getpwnam", lambda _: account)
    return Controller("a", "pe")


def test_the_account_fits_the_system_and_differs_between_labs() -> None:
    longest = names.controller("x" * 24, "pe")
    assert len(longest) <= 32
    assert len({longest, names.controller("y" * 24, "pe"), names.controller("x" * 24, "co")}) == 3


def test_a_command_runs_without_rights_and_without_the_callers_environment(
    one: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", "/of/the/caller")
    words = one.command("id", "-u")
    assert {"--reuid=58001", "--regid=58002", "--bounding-set=-all", "--no-new-privs"} < set(words)
    assert words[words.index("env") + 1] == "-i"
    assert f"SSH_AUTH_SOCK={one.home}/.ssh/agent" in words
    assert not any("/of/the/caller" in word for word in words)
    assert words[-2:] == ["id", "-u"]


def test_only_the_accounts_of_this_lab_are_its_controllers(monkeypatch: pytest.MonkeyPatch) -> None:
    def account(name: str, said: str) -> pwd.struct_passwd:
        return pwd.struct_passwd((name, "x", 1, 1, said, "/", "/"))

    here = account(names.controller("a", "pe"), controllers.comment("a"))
    other = account(names.controller("a-b", "pe"), controllers.comment("a-b"))
    stranger = account(names.controller("a", "co"), "somebody")
    monkeypatch.setattr(pwd, "getpwall", lambda: [here, other, stranger])
    assert list(controllers.controllers("a")) == [Controller("a", "pe")]


def test_the_processes_of_a_user_are_found_and_nobody_elses() -> None:
    assert os.getpid() in controllers.processes(Path("/proc/self").stat().st_uid)
    assert controllers.processes(58999) == []


def test_an_interpreter_behind_a_closed_folder_is_told() -> None:
    with TemporaryDirectory() as folder:
        closed = Path(folder, "root")
        inner = closed / "python"
        inner.mkdir(parents=True)
        Path(folder).chmod(0o755)
        closed.chmod(0o700)
        assert controllers._closed(inner) == closed
        closed.chmod(0o755)
        assert controllers._closed(inner) == Path("/")
