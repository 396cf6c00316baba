"""Rules that are gone are loaded again from what was confirmed; else no tunnel may serve."""

from __future__ import annotations

import fcntl
import hashlib
import json
import multiprocessing
from collections.abc import Sequence
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from paranal.agreement.suspension import Suspension, Suspensions, narrowed
from paranal.cli import EXIT_REFUSED, main
from paranal.firewall import cli, confirmed, policies, suspended
from paranal.messages import Refusal
from paranal.status.bounded import Unreadable
from paranal.status.facts import Firewall
from paranal.suspension import proxy
from tests.unit.agreement.views import view

RULES = "table inet paranal { }\n"
WHOLE = {"rules": RULES, "text": hashlib.sha256(RULES.encode()).hexdigest(), "live": "x"}
STANDS = Firewall(present=True, drops=True)
GONE = [Firewall(present=False), Firewall(present=True, drops=False)]


class Commands:
    """What was run, with its input; ``fail`` refuses it, ``held`` are the kernel's policies."""

    def __init__(self, fail: str = "", held: str = "") -> None:
        self.ran: list[tuple[str, str | None]] = []
        self.fail, self.held = fail, held

    def __call__(self, command: Sequence[str], text: str | None) -> str:
        words = " ".join(command)
        if self.fail and self.fail in words:
            raise Unreadable(f"{command[0]}: line 1: syntax error")
        if command == policies.SHOWN:
            return self.held
        self.ran.append((words, text))
        return ""


@pytest.fixture(autouse=True)
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "firewall.json"
    path.write_text(json.dumps(WHOLE))
    monkeypatch.setattr(confirmed, "RECORD", path)
    monkeypatch.setattr(confirmed, "FILE", tmp_path / "firewall.nft")
    monkeypatch.setattr(policies, "FILE", tmp_path / "drop-policies")
    monkeypatch.setattr(policies, "WORKING", tmp_path / "working")
    return path


def kernel(monkeypatch: pytest.MonkeyPatch, found: Firewall | Unreadable) -> None:
    def table(*_: object) -> Firewall:
        if isinstance(found, Unreadable):
            raise found
        return found

    monkeypatch.setattr("paranal.status.firewall.table", table)


def test_rules_that_stand_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel(monkeypatch, STANDS)
    run = Commands()
    assert not cli.heal(run)
    assert run.ran == []


@pytest.mark.req("B3")
@pytest.mark.parametrize("found", GONE, ids=["gone", "accepts"])
def test_rules_that_are_gone_are_loaded_as_they_were_confirmed(
    monkeypatch: pytest.MonkeyPatch, found: Firewall
) -> None:
    kernel(monkeypatch, found)
    run = Commands()
    assert cli.heal(run)
    assert run.ran == [("nft --file -", RULES)]


@pytest.mark.req("B3")
@pytest.mark.parametrize(
    "broken",
    ["", "{", "[]", '{"rules": 1}', json.dumps({**WHOLE, "rules": RULES + "# added\n"}), None],
)
def test_without_intact_rules_no_tunnel_serves(
    monkeypatch: pytest.MonkeyPatch, record: Path, broken: str | None
) -> None:
    kernel(monkeypatch, GONE[0])
    record.unlink() if broken is None else record.write_text(broken)
    run = Commands()
    with pytest.raises(Refusal, match="PAR-0731"):
        cli.heal(run)
    assert run.ran == [("systemctl --no-block stop strongswan.service", None)]


@pytest.mark.req("B3")
def test_rules_that_nft_refuses_stop_the_tunnels_too(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel(monkeypatch, GONE[0])
    run = Commands(fail="nft")
    with pytest.raises(Refusal, match=r"PAR-0731.*syntax error"):
        cli.heal(run)
    assert [words for words, _ in run.ran] == ["systemctl --no-block stop strongswan.service"]


def test_a_kernel_that_cannot_be_asked_is_no_reason_to_stop_anything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel(monkeypatch, Unreadable("nft: 5 s"))
    run = Commands()
    with pytest.raises(Refusal, match="PAR-0732"):
        cli.heal(run)
    assert run.ran == []


def test_what_was_done_is_told_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    kernel(monkeypatch, STANDS)
    assert main(["firewall", "heal"]) == 0
    assert capsys.readouterr().err == ""
    kernel(monkeypatch, GONE[0])
    monkeypatch.setattr(cli, "output", Commands())
    assert main(["firewall", "heal"]) == 0
    assert capsys.readouterr().err.startswith("PAR-0730")
    monkeypatch.setattr(cli, "output", Commands(fail="nft"))
    assert main(["firewall", "heal"]) == EXIT_REFUSED


@pytest.mark.parametrize(
    ("file", "boots"), [(RULES, True), (RULES + "#\n", False), ("", False), (None, False)]
)
def test_a_boot_file_is_the_confirmed_one_or_refused(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    file: str | None,
    boots: bool,
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    if file is not None:
        confirmed.FILE.write_text(file)
    assert confirmed.boots_confirmed() is boots
    assert main(["firewall", "check"]) == (0 if boots else EXIT_REFUSED)
    assert ("PAR-0733" in capsys.readouterr().err) is not boots


LETS_IN = "xfrm policy update dir in src 3fff:56::/48 mark 0x50 priority 1 action allow\n"
APPLIED = """# Managed by Paranal
xfrm policy update dir out dst 10.51.0.0/16 priority 4294967295 action block
xfrm policy update dir in src 10.51.0.0/16 priority 4294967295 action block
"""
HELD = """src 0.0.0.0/0 dst 10.51.0.0/16
\tdir out action block priority 4294967295 ptype main
src 10.51.0.0/16 dst 0.0.0.0/0
\tdir in action block priority 4294967295 ptype main
"""
ONE_HELD = "".join(HELD.splitlines(keepends=True)[:2])


@pytest.mark.req("B3")
@pytest.mark.parametrize("held", ["", ONE_HELD], ids=["flushed", "one left"])
def test_drop_policies_that_are_gone_come_back_and_charon_starts_afresh(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], held: str
) -> None:
    policies.FILE.write_text(APPLIED)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    kernel(monkeypatch, STANDS)
    run = Commands(held=held)
    monkeypatch.setattr(cli, "output", run)
    assert main(["firewall", "heal"]) == 0
    assert capsys.readouterr().err.startswith("PAR-0736")
    assert [words for words, _ in run.ran] == [
        "systemctl restart paranal-drop-policies.service",
        "systemctl --no-block try-restart strongswan.service",
    ]


@pytest.mark.parametrize(
    ("applied", "held"),
    [(APPLIED, HELD), (APPLIED + LETS_IN, HELD), ("# Managed\n", ""), (None, "")],
    ids=["all there", "and one that lets in", "of nobody", "userspace"],
)
def test_drop_policies_that_stand_are_left_alone(applied: str | None, held: str) -> None:
    if applied is not None:
        policies.FILE.write_text(applied)
    run = Commands(held=held)
    assert not cli.heal_policies(run)
    assert run.ran == []


@pytest.mark.parametrize("refused", ["ip xfrm", "restart paranal-drop"])
def test_a_kernel_that_does_not_take_the_policies_is_told(refused: str) -> None:
    policies.FILE.write_text(APPLIED)
    run = Commands(fail=refused)
    with pytest.raises(Refusal, match=r"PAR-0732.*syntax error"):
        cli.heal_policies(run)
    assert run.ran == []


def _at_work(path: Path, ready: Event, done: Event) -> None:
    with path.open("wb") as working:
        fcntl.lockf(working, fcntl.LOCK_EX)
        ready.set()
        done.wait()


def test_drop_policies_are_a_runs_own_business_while_it_changes_the_node() -> None:
    policies.FILE.write_text(APPLIED)
    run, other = Commands(), multiprocessing.get_context("spawn")
    ready, done = other.Event(), other.Event()
    module = other.Process(target=_at_work, args=(policies.WORKING, ready, done))
    module.start()
    assert ready.wait(30)
    assert not cli.heal_policies(run)
    assert run.ran == []
    done.set()
    module.join()
    assert cli.heal_policies(run), "the control: it has ended"


@pytest.fixture
def suspending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node whose record closes a direction that nothing has closed yet."""
    found = view("pe", "all-live")
    closed = narrowed(found, Suspensions((Suspension("co>pe", "", "", "ana", "orden 7"),)))
    monkeypatch.setattr(cli, "read_view", lambda: closed)
    monkeypatch.setattr(suspended, "FILE", tmp_path / "suspended.nft")
    monkeypatch.setattr(proxy, "FILE", tmp_path / "suspended")
    return tmp_path


class Listed(Commands):
    """The kernel holds our sets, empty."""

    def __call__(self, command: Sequence[str], text: str | None) -> str:
        if command == suspended.LIST:
            return json.dumps({"nftables": [{"set": {"name": name}} for name in suspended.SETS]})
        return super().__call__(command, text)


def test_what_a_killed_command_left_open_is_closed(suspending: Path) -> None:
    run = Listed()
    assert cli.heal_suspended(run)
    assert run.ran == [("nft --file -", (suspending / "suspended.nft").read_text())]


def test_a_kernel_that_does_not_close_it_is_told(suspending: Path) -> None:
    with pytest.raises(Refusal, match="PAR-0732"):
        cli.heal_suspended(Listed(fail="nft --file"))
    # Whatever loads the rules from then on closes it all the same.
    assert "suspended_answers" in (suspending / "suspended.nft").read_text()


def test_a_node_that_suspended_nothing_is_left_alone(
    suspending: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "read_view", lambda: view("pe", "all-live"))
    run = Listed()
    assert not cli.heal_suspended(run)
    assert run.ran == []
    assert list(suspending.glob("suspended*")) == []
