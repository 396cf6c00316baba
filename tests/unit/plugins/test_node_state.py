"""The lock, the history, the probe and the checks of node_state on a throw-away root."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from paranal.agreement.suspension import Suspension, Suspensions
from paranal.messages import Refusal
from plugins.action import node_state as action
from plugins.module_utils.paranal_checks import run_checks
from plugins.module_utils.paranal_node import (
    Node,
    Outcome,
    Refused,
    append_line,
    collect_changes,
    note_change,
    read_json,
    read_lines,
    refusals,
    release_lock,
    require_lock,
    run_command,
    take_lock,
    write_atomic,
)
from plugins.module_utils.paranal_probe import (
    probe_host,
    probe_owners,
    probe_packages,
    probe_settings,
    probe_suspended,
    probe_units,
)
from plugins.modules import node_state as module
from plugins.modules.node_state import abort_node, close_node

ANA = {"id": "lima-11-1", "operator": "ana", "controller": "lima"}
LUIS = {"id": "lima-22-2", "operator": "luis", "controller": "lima"}
LEASE = 900.0
TRUSTED = [{"epoch": number, "digest": f"{number:064x}"} for number in (4, 5, 6)]


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


# --- the lock -----------------------------------------------------------------------------------


def test_a_second_operator_is_told_who_holds_the_node_since_when_and_how_to_go_on(
    node: Node,
) -> None:
    take_lock(node, ANA, LEASE, now=0)
    with pytest.raises(Refused, match="PAR-0301") as refused:
        take_lock(node, LUIS, LEASE, now=60)
    assert refused.value.params == {
        "operator": "ana",
        "controller": "lima",
        "since": "1970-01-01T00:00:00Z",
        "until": "1970-01-01T00:15:00Z",
        "run": "lima-11-1",
    }


def test_the_same_run_takes_the_node_again_and_keeps_since(node: Node) -> None:
    take_lock(node, ANA, LEASE, now=0)
    assert take_lock(node, ANA, LEASE, now=100) == ""
    held = read_json(node.state / "lock")
    assert (held["since"], held["expires"]) == (0, 1000)


def test_a_lock_past_its_lease_is_taken_over_and_one_within_is_not(node: Node) -> None:
    take_lock(node, ANA, LEASE, now=0)
    with pytest.raises(Refused, match="PAR-0301"):
        take_lock(node, LUIS, LEASE, now=899)
    assert take_lock(node, LUIS, LEASE, now=901) == "lima-11-1"


def test_every_sign_of_life_renews_the_lease(node: Node) -> None:
    take_lock(node, ANA, LEASE, now=0)
    require_lock(node, "lima-11-1", now=800)
    with pytest.raises(Refused, match="PAR-0301"):
        take_lock(node, LUIS, LEASE, now=1000)


def test_the_operator_takes_over_by_naming_the_run_and_only_that_run(node: Node) -> None:
    take_lock(node, ANA, LEASE, now=0)
    with pytest.raises(Refused, match="PAR-0301"):
        take_lock(node, LUIS, LEASE, take_over="lima-99-9", now=60)
    assert take_lock(node, LUIS, LEASE, take_over="lima-11-1", now=60) == "lima-11-1"
    with pytest.raises(Refused, match="PAR-0302"):
        require_lock(node, "lima-11-1", now=61)


def test_nothing_changes_a_node_that_nobody_opened(node: Node) -> None:
    with pytest.raises(Refused, match="PAR-0302"):
        require_lock(node, "lima-11-1")


def test_a_run_gives_back_only_its_own_lock(node: Node) -> None:
    take_lock(node, ANA, LEASE)
    release_lock(node, "lima-22-2")
    assert read_json(node.state / "lock")["operator"] == "ana"
    release_lock(node, "lima-11-1")
    assert read_json(node.state / "lock") is None


def test_of_many_runs_at_once_exactly_one_gets_the_node(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "from plugins.module_utils.paranal_node import Node, Refused, take_lock\n"
        "who = {'id': sys.argv[3], 'operator': 'x', 'controller': 'y'}\n"
        "try: take_lock(Node(Path(sys.argv[2])), who, 900)\n"
        "except Refused: sys.exit(1)\n"
    )
    root = str(Path(__file__).resolve().parents[3])
    words = [sys.executable, "-c", program, root, str(tmp_path)]
    runs = [subprocess.Popen([*words, str(number)]) for number in range(6)]  # noqa: S603
    assert sorted(run.wait() for run in runs) == [0, 1, 1, 1, 1, 1]


def test_what_a_dead_run_changed_stands_in_the_history_under_its_own_name(node: Node) -> None:
    take_lock(node, ANA, LEASE)
    note_change(node, "base", ["created /etc/x"])
    take_lock(node, LUIS, LEASE, take_over=ANA["id"])
    note_change(node, "ipsec", ["loaded pe-co"])
    close_node(node, params(LUIS), check=False)
    entries = list(read_lines(node.state / "history.jsonl"))
    assert [(one["operator"], one["result"], one["changes"]) for one in entries] == [
        ("ana", "failed", {"base": ["created /etc/x"]}),
        ("luis", "applied", {"ipsec": ["loaded pe-co"]}),
    ]
    assert LUIS["id"] in entries[0]["reason"]
    assert "lease" not in entries[0]


def test_a_dead_run_that_changed_nothing_leaves_no_entry(node: Node) -> None:
    take_lock(node, ANA, LEASE)
    take_lock(node, LUIS, LEASE, take_over=ANA["id"])
    assert list(read_lines(node.state / "history.jsonl")) == []


def test_a_module_that_outlived_its_controller_is_waited_for(node: Node) -> None:
    take_lock(node, ANA, LEASE)
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        require_lock(node, ANA["id"])
        os.write(ready[1], b"x")
        os.read(go[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    with pytest.raises(Refused, match="PAR-0319"):
        take_lock(node, LUIS, LEASE, take_over=ANA["id"], patience=0)
    assert read_json(node.state / "lock")["operator"] == "ana"
    os.write(go[1], b"x")
    os.waitpid(child, 0)
    assert take_lock(node, LUIS, LEASE, take_over=ANA["id"], patience=0) == ANA["id"]


# --- files --------------------------------------------------------------------------------------


def test_an_atomic_write_follows_no_link_and_leaves_no_rest(tmp_path: Path) -> None:
    victim, target = tmp_path / "victim", tmp_path / "target"
    victim.write_text("untouched")
    target.symlink_to(victim)
    (tmp_path / ".target.paranal").symlink_to(victim)
    write_atomic(target, b"ours")
    assert (victim.read_text(), target.read_text()) == ("untouched", "ours")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["target", "victim"]


def test_a_line_cut_short_by_a_crash_is_skipped_and_the_next_one_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    append_line(file, {"n": 1})
    with file.open("a") as stream:
        stream.write('{"n": 2, "cut')
    append_line(file, {"n": 3})
    assert [line["n"] for line in read_lines(file)] == [1, 3]


# --- close and abort ----------------------------------------------------------------------------


def params(session: dict[str, Any], **more: object) -> dict[str, Any]:
    return {"session": session, "checks": [], "reason": "", **more}


def check(*argv: str, **more: object) -> dict[str, Any]:
    defaults = {"exit": 0, "expect": "", "refuse": "", "seconds": 0, "fix": ""}
    name = {"es": "la comprobación", "en": "the check"}
    return {"name": name, "argv": list(argv), **defaults, **more}


def test_a_run_that_changed_something_is_in_the_history_with_who_and_what(node: Node) -> None:
    take_lock(node, ANA, LEASE)
    note_change(node, "base", ["created /etc/x"])
    note_change(node, "ipsec", ["loaded pe-co"])
    close_node(node, params(ANA), check=False)
    (entry,) = read_lines(node.state / "history.jsonl")
    assert entry["changes"] == {"base": ["created /etc/x"], "ipsec": ["loaded pe-co"]}
    assert (entry["operator"], entry["result"]) == ("ana", "applied")
    assert read_json(node.state / "lock") is None
    assert collect_changes(node) == {}


def test_a_run_that_changed_nothing_leaves_no_entry(node: Node) -> None:
    take_lock(node, ANA, LEASE)
    close_node(node, params(ANA), check=False)
    assert list(read_lines(node.state / "history.jsonl")) == []
    assert read_json(node.state / "lock") is None


def test_a_node_that_does_not_answer_fails_names_it_and_is_given_back(node: Node) -> None:
    take_lock(node, ANA, LEASE)
    failing = check("sh", "-c", "echo stopped; exit 3", fix="RB-001-tunel-caido")
    with pytest.raises(Refused, match="PAR-0317") as refused:
        close_node(node, params(ANA, checks=[check("true"), failing]), check=False)
    said = refused.value.params
    assert said["fix"] == "RB-001-tunel-caido"
    assert said["reason_es"].startswith("la comprobación: sh -c")
    assert said["reason_es"].endswith("código de salida 3: stopped")
    assert said["reason_en"].startswith("the check: sh -c")
    assert said["reason_en"].endswith("exit status 3: stopped")
    (entry,) = read_lines(node.state / "history.jsonl")
    assert entry["result"] == "failed"
    assert entry["reason"] == f"{said['reason_es']} | {said['reason_en']}"
    assert read_json(node.state / "lock") is None


def test_each_language_is_spoken_in_its_own_half_of_the_sentence(node: Node) -> None:
    take_lock(node, ANA, LEASE)
    several = [check("false"), check("true"), check("printf", "up", refuse="up")]
    with pytest.raises(Refused) as refused:
        close_node(node, params(ANA, checks=several), check=False)
    spanish, _, english = str(Refusal(refused.value.code, **refused.value.params)).partition(" | ")
    assert spanish.count("la comprobación: ") == english.count("the check: ") == 2
    assert "the check" not in spanish
    assert "la comprobación" not in english
    assert "aparece «up» en: up" in spanish
    assert "'up' in: up" in english


def test_checks_are_not_run_and_nothing_is_written_in_check_mode(node: Node) -> None:
    result = close_node(node, params(ANA, checks=[check("false")]), check=True)
    (item,) = result["checks"]
    assert item["result"] == "not run"
    assert item["name"].keys() == item["reason"].keys() == {"es", "en"}
    assert list(node.root.iterdir()) == []


def test_an_aborted_run_is_in_the_history_once_and_gives_the_node_back(node: Node) -> None:
    take_lock(node, ANA, LEASE)
    for _ in range(2):
        abort_node(node, params(ANA, reason="task: why"), check=False)
    (entry,) = read_lines(node.state / "history.jsonl")
    assert (entry["result"], entry["reason"]) == ("failed", "task: why")
    assert read_json(node.state / "lock") is None


def test_an_aborted_run_leaves_the_lock_of_another(node: Node) -> None:
    take_lock(node, LUIS, LEASE)
    abort_node(node, params(ANA, reason="held by another"), check=False)
    assert read_json(node.state / "lock")["operator"] == "luis"
    assert list(read_lines(node.state / "history.jsonl")) == []


def full(path: str) -> OSError:
    return OSError(28, "No space left on device", path)


@pytest.mark.parametrize("end", [close_node, abort_node])
def test_a_node_too_full_for_its_history_is_given_back_all_the_same(
    node: Node, end: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(path: Path, value: dict[str, Any]) -> None:
        raise full(str(path))

    take_lock(node, ANA, LEASE)
    note_change(node, "base", ["created /etc/x"])
    monkeypatch.setattr("plugins.module_utils.paranal_node.append_line", no_room)
    with pytest.raises(OSError, match="No space"):
        end(node, params(ANA, reason="task: why"), check=False)
    assert read_json(node.state / "lock") is None


def test_a_node_that_cannot_be_written_is_a_refusal_and_no_traceback() -> None:
    said: list[dict[str, Any]] = []

    def fail(**result: Any) -> NoReturn:  # noqa: ANN401 - a module's result
        said.append(result)
        raise SystemExit(1)

    for error, code, reason in (
        (full("/var/lib/x"), "PAR-0313", "No space left on device"),
        (OSError("odd"), "PAR-0313", "odd"),
        (Refused("PAR-0302", holder="nobody"), "PAR-0302", None),
    ):
        with pytest.raises(SystemExit), refusals(fail, "PAR-0313"):
            raise error
        refusal = said[-1]["refusal"]
        assert (refusal["code"], refusal["params"].get("reason")) == (code, reason)


def test_every_module_answers_with_a_refusal() -> None:
    modules = sorted(Path(module.__file__).parent.glob("*.py"))
    assert len(modules) == 5
    for each in modules:
        assert "with refusals(module.fail_json, " in each.read_text(encoding="utf-8"), each.name


# --- checks -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("item", "es", "en"),
    [
        (check("printf", "a\\n", expect="^b$"), "no aparece «^b$» en: a", "no '^b$' in: a"),
        (check("printf", "up\\n", refuse="up"), "aparece «up» en: up", "'up' in: up"),
        (check("false"), "código de salida 1", "exit status 1"),
        (check("no-such-program"), "program not found", "program not found"),
    ],
)
def test_a_check_says_what_is_wrong_in_both_languages(
    item: dict[str, Any], es: str, en: str
) -> None:
    (result,) = run_checks([item], run_command)
    assert result["result"] == "failed"
    assert es in result["reason"]["es"]
    assert en in result["reason"]["en"]


@pytest.mark.parametrize(
    "item", [check("printf", "a\\nb\\n", expect="^b$"), check("false", exit=1)]
)
def test_a_check_that_holds_has_nothing_to_say(item: dict[str, Any]) -> None:
    (result,) = run_checks([item], run_command)
    assert (result["result"], result["reason"]) == ("ok", {})


def test_a_declared_check_has_its_defaults() -> None:
    name = {"es": "la verdad", "en": "truth"}
    found = action.declared_check({"name": name, "argv": ["true"]})
    assert found == {
        **{"name": name, "argv": ["true"], "exit": 0, "expect": "", "refuse": ""},
        **{"seconds": 10, "fix": ""},
    }


@pytest.mark.parametrize(
    ("change", "option", "key"),
    [
        ({"argv": None}, "checks", "argv"),
        ({"wait": 3}, "checks", "wait"),
        ({"name": None}, "checks", "name"),
        ({"name": "charon answers"}, "checks.name", "es"),
        ({"name": {"en": "charon answers"}}, "checks.name", "es"),
        ({"name": {"es": "charon responde"}}, "checks.name", "en"),
        ({"name": {"es": "charon responde", "en": " "}}, "checks.name", "en"),
        ({"name": {"es": ["x"], "en": "x"}}, "checks.name", "es"),
        ({"name": {"es": "x", "en": "x", "pt": "x"}}, "checks.name", "pt"),
    ],
)
def test_a_check_of_another_shape_is_refused(change: dict[str, Any], option: str, key: str) -> None:
    good = {"name": {"es": "la verdad", "en": "truth"}, "argv": ["true"]}
    with pytest.raises(Refusal) as refused:
        action.declared_check({**good, **change})
    said = refused.value
    assert (said.code, said.params["option"], said.params["key"]) == ("PAR-0315", option, key)


def test_a_check_is_tried_until_it_holds() -> None:
    answers = iter(["starting", "starting", "ready"])

    def run(argv: Sequence[str], seconds: float) -> Outcome:
        return Outcome(0, next(answers), "")

    (result,) = run_checks([check("x", expect="ready", seconds=5)], run)
    assert result["result"] == "ok"


# --- the probe ----------------------------------------------------------------------------------


def broken(argv: Sequence[str], seconds: float) -> Outcome:
    return Outcome(127, "", f"{argv[0]}: program not found")


def test_missing_tools_are_absent_and_not_an_error(node: Node) -> None:
    (node.root / "etc").mkdir()
    (node.root / "var").mkdir()
    (node.root / "etc/os-release").write_text('ID=debian\nVERSION_ID="13"\n')
    assert probe_packages(broken) == {"absent": "dpkg-query: program not found"}
    assert probe_units(node, broken) == {}
    host = probe_host(node, broken)
    assert (host["os"]["version_id"], host["interfaces"]) == ("13", {})
    assert host["dead_ends"] == []
    assert (probe_owners(node), probe_settings(node)) == ({}, {})


def test_what_leads_nowhere_is_read_of_both_families(node: Node) -> None:
    def listed(argv: Sequence[str], seconds: float) -> Outcome:
        v6 = argv[2] == "-6"
        routes = [
            {"dst": "default", "table": "221"},
            {"dst": "fd57::/48" if v6 else "10.57.0.0/16", "metric": 4096},
        ]
        rules = [{"priority": 221, "src": "fd51::1" if v6 else "10.51.1.1", "table": "221"}]
        if "priority" in argv:
            rules = [{"priority": 5, "src": "all", "iif": "wan", "dst": "fd51::1"}] if v6 else []
        known = {"route": routes, "rule": rules, "address": []}
        return Outcome(0, json.dumps(known[argv[3] if argv[2].startswith("-") else argv[2]]), "")

    for folder in ("etc", "var"):
        (node.root / folder).mkdir()
    (node.root / "etc/os-release").write_text("ID=debian\n")
    found = probe_host(node, listed)["dead_ends"]
    four = ["default", "10.57.0.0/16", "10.51.1.1"]
    assert found == [*four, "default", "fd57::/48", "fd51::1", "wan fd51::1"]


def test_a_prober_that_breaks_does_not_stop_the_run_that_may_repair_it(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(node: Node, view: dict[str, Any]) -> None:
        raise AttributeError("module 'vici' has no attribute 'Session'")

    monkeypatch.setattr(module, "PROBERS", {"tunnels": breaks, "good": lambda node, view: 1})
    params = {"session": ANA, "view": {"member": {"code": "pe"}}, "trusted": TRUSTED}
    probe = module.open_node(node, params, check=True)["probe"]
    assert probe["good"] == 1
    assert "no attribute 'Session'" in probe["tunnels"]["absent"]


class Acting:
    """The action's view of a run whose node answers with this of what it suspended."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, found: object) -> None:
        self.action: Any = object.__new__(action.ActionModule)
        repository = Path(__file__).parents[3]
        shipped = str(repository / "agreement/all-live.yml")
        arguments = {"agreement": shipped, "allowed_signers": "x"}
        monkeypatch.setattr(action, "accepted", lambda *_: [])
        monkeypatch.setattr(action, "this_run", lambda: ANA)
        monkeypatch.setattr(self.action, "_task", SimpleNamespace(args=arguments), raising=False)
        monkeypatch.setattr(self.action, "_member", lambda _: "pe")
        monkeypatch.setattr(self.action, "_call", lambda *_: {"probe": {"suspended": found}})
        monkeypatch.setattr(self.action, "_spoken", lambda answer: answer)

    def status(self) -> tuple[str, str]:
        """Return what the roles are told of Colombia's and of Mexico's direction to us."""
        peers = {each["code"]: each for each in self.action._open({})["view"]["peers"]}
        return peers["co"]["answers"]["person"], peers["mx"]["answers"]["person"]


def test_a_controller_keeps_what_the_node_suspended(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = node.real("/var/lib/paranal/suspended.json")
    assert Acting(monkeypatch, probe_suspended(node)).status() == ("live", "live")
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(Suspensions((Suspension("co>pe", "", "", "ana", "orden 7"),)).text())
    assert Acting(monkeypatch, probe_suspended(node)).status() == ("suspended", "live")


@pytest.mark.parametrize("found", [None, {}, {"absent": "PermissionError"}, {"text": "{"}])
def test_a_node_that_cannot_tell_what_it_suspended_is_given_nothing_open(
    monkeypatch: pytest.MonkeyPatch, found: object
) -> None:
    assert Acting(monkeypatch, found).status() == ("suspended", "suspended")


# --- the agreement that the node has ------------------------------------------------------------


def opened(node: Node, held: dict[str, Any] | None, *, check: bool) -> str:
    """Open a node that holds a view (None: none); return the code that refused it, or nothing."""
    if held is not None:
        view = node.real("/etc/paranal/view.json")
        view.parent.mkdir(parents=True, exist_ok=True)
        view.write_text(json.dumps(held))
    params = {
        "session": ANA,
        "lease_seconds": LEASE,
        "take_over": "",
        "view": {"member": {"code": "pe"}},
        "trusted": TRUSTED,
    }
    try:
        module.open_node(node, params, check=check)
    except Refused as refused:
        return refused.code
    return ""


@pytest.mark.req("B2")
@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize(
    ("held", "code"),
    [
        (None, ""),
        ({"epoch": 6, "digest": f"{6:064x}"}, ""),
        ({"epoch": 4, "digest": f"{4:064x}"}, ""),
        ({"epoch": 3, "digest": "older than what everybody signed"}, ""),
        ({"epoch": 7, "digest": f"{7:064x}"}, "PAR-0154"),
        ({"epoch": 5, "digest": f"{9:064x}"}, "PAR-0155"),
        ({"epoch": 6, "digest": f"{9:064x}"}, "PAR-0155"),
        ({"epoch": "broken by hand"}, ""),
    ],
)
def test_a_node_never_goes_back_and_never_sideways(
    node: Node,
    monkeypatch: pytest.MonkeyPatch,
    held: dict[str, Any] | None,
    code: str,
    check: bool,
) -> None:
    monkeypatch.setattr(module, "PROBERS", {"good": lambda node, view: 1})
    assert opened(node, held, check=check) == code
    locked = read_json(node.state / "lock") is not None
    assert locked == (not code and not check), "who is refused holds nothing"


def test_settings_are_the_live_values_of_what_our_file_declares(node: Node) -> None:
    file = node.real("/etc/sysctl.d/90-paranal.conf")
    file.parent.mkdir(parents=True)
    file.write_text("# comment = 1\n-net.ipv4.ip_forward = 0\n-net.ipv4.gone = 1\n")
    live = node.real("/proc/sys/net/ipv4/ip_forward")
    live.parent.mkdir(parents=True)
    live.write_text("1\n")
    assert probe_settings(node) == {"net.ipv4.ip_forward": "1"}


# --- who runs -----------------------------------------------------------------------------------


def test_a_run_is_dead_when_its_process_is_and_not_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("platform.node", lambda: "host-with-dashes")
    place = f"host-with-dashes-{action.here()}"
    assert not action.died_here(f"{place}-{os.getpid()}-{action.started(os.getpid())}")
    assert action.died_here(f"{place}-{os.getpid()}-1")
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert action.died_here(f"{place}-{child.pid}-1")


def test_nobody_judges_the_run_of_another_controller_by_its_own_processes() -> None:
    name, mine = os.uname().nodename, action.here()
    assert not action.died_here(f"elsewhere-{mine}-1-0")
    # Of the same name, as many machines are, and in another boot or container.
    assert not action.died_here(f"{name}-00000000-1-0")
    assert action.died_here(f"{name}-{mine}-1-0")


def test_the_name_of_a_run_is_the_same_in_every_task_of_it() -> None:
    assert action.this_run()["id"] == action.this_run()["id"]
    assert not action.died_here(action.this_run()["id"])


def test_a_tree_without_git_has_no_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert action.revision() == {"commit": "", "dirty": False}


def test_the_commit_is_the_repository_s() -> None:
    revision = action.revision()
    assert len(revision["commit"]) in (0, 40)
    assert isinstance(revision["dirty"], bool)


def test_services_pass_to_what_is_suspended_and_not_to_the_state_whatever_the_umask_was(
    tmp_path: Path,
) -> None:
    before = os.umask(0o077)
    try:
        Node(tmp_path).prepare()
    finally:
        os.umask(before)
    state = Node(tmp_path).state
    assert [path.stat().st_mode & 0o777 for path in (state.parent, state)] == [0o755, 0o700]
