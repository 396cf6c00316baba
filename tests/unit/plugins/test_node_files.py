"""The engine of node_files on a throw-away root: swap, kill, roll back, check mode, diff."""

from __future__ import annotations

import contextlib
import grp
import json
import os
import pwd
import stat
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from plugins.action.node_files import entry, moved, pack, service
from plugins.module_utils.paranal_activate import Report
from plugins.module_utils.paranal_files import Application
from plugins.module_utils.paranal_node import (
    Node,
    Outcome,
    Refused,
    Run,
    collect_changes,
    run_command,
)
from plugins.module_utils.paranal_probe import probe_owners, probe_units
from plugins.module_utils.paranal_tree import decode_payload

ME = pwd.getpwuid(os.getuid()).pw_name
GROUP = grp.getgrgid(os.getgid()).gr_name
Contents = dict[str, str]


@pytest.fixture
def node(tmp_path: Path) -> Node:
    (tmp_path / "etc").mkdir()
    return Node(tmp_path)


def test_a_directory_that_is_named_only_on_the_node_is_moved_with_all_below_it() -> None:
    places = {"/etc/postgresql/MAJOR": "/etc/postgresql/18"}
    assert moved("/etc/postgresql/MAJOR/main/x", places) == "/etc/postgresql/18/main/x"
    assert moved("/etc/postgresql/MAJORITY", places) == "/etc/postgresql/MAJORITY"


def desired(contents: Contents, mode: str = "0644", secret: bool = False) -> dict[str, Any]:
    return {p: entry("file", t.encode(), mode, ME, GROUP, secret) for p, t in contents.items()}


def request(entries: dict[str, Any], **options: object) -> dict[str, Any]:
    empty: dict[str, Any] = {"absent": [], "validate": [], "activate": [], "services": []}
    whole = {"entries": entries, "roots": ["/etc"], **empty, **options}
    return decode_payload(pack(whole))


def apply(
    node: Node,
    contents: Contents | dict[str, Any],
    *,
    check: bool = False,
    owner: str = "demo",
    run: Run = run_command,
    step: Callable[[str], None] = lambda _: None,
    **options: object,
) -> Report:
    entries = {p: desired({p: v})[p] if isinstance(v, str) else v for p, v in contents.items()}
    whole = request(entries, **options)
    return Application(node, owner, whole, run=run, step=step).apply(check=check)


def activation(
    *command: str, paths: str = "*", check: Sequence[str] = (), due: bool = False
) -> dict[str, Any]:
    times = {"seconds": 0.5, "due": due}
    return {"paths": [paths], "command": list(command), "check": list(check), **times}


def validator(*command: str, paths: str = "*", needs: Sequence[str] = ()) -> dict[str, Any]:
    return {"paths": [paths], "command": list(command), "needs": list(needs)}


def owned(node: Node) -> Contents:
    """Everything below the root but our own state, by path; temporary names included."""
    files = [p for p in node.root.rglob("*") if p.is_file() and "var/lib" not in str(p)]
    return {f"/{p.relative_to(node.root)}": p.read_text() for p in files}


# --- swap and manifest --------------------------------------------------------------------------


def test_files_are_created_with_their_modes_and_the_second_run_changes_nothing(node: Node) -> None:
    entries = desired({"/etc/a/secret": "s"}, "0600") | desired({"/etc/b": "b"})
    first = apply(node, entries)
    assert first.plan.created == ["/etc/a/secret", "/etc/b"]
    assert stat.S_IMODE(node.real("/etc/a/secret").stat().st_mode) == 0o600
    assert owned(node) == {"/etc/a/secret": "s", "/etc/b": "b"}
    assert not apply(node, entries).changed


def test_a_file_the_owner_no_longer_declares_goes_with_the_directory_made_for_it(
    node: Node,
) -> None:
    apply(node, {"/etc/x/y/one": "1", "/etc/two": "2"})
    report = apply(node, {"/etc/two": "2"})
    assert report.plan.removed == ["/etc/x/y/one"]
    assert owned(node) == {"/etc/two": "2"}
    assert not node.real("/etc/x").exists()


def test_a_directory_made_for_us_stays_when_others_use_it(node: Node) -> None:
    apply(node, {"/etc/x/one": "1", "/etc/two": "2"})
    node.real("/etc/x/theirs").write_text("not ours")
    apply(node, {"/etc/two": "2"})
    assert owned(node) == {"/etc/two": "2", "/etc/x/theirs": "not ours"}


def test_a_file_edited_by_hand_is_put_right_and_only_that_one_is_reported(node: Node) -> None:
    apply(node, {"/etc/a": "a", "/etc/b": "b"})
    node.real("/etc/b").write_text("by hand")
    node.real("/etc/a").chmod(0o644)
    report = apply(node, {"/etc/a": "a", "/etc/b": "b"})
    assert (report.plan.created, report.plan.replaced) == ([], ["/etc/b"])
    assert owned(node)["/etc/b"] == "b"


def test_a_mode_changed_by_hand_is_put_right(node: Node) -> None:
    apply(node, {"/etc/a": "a"})
    node.real("/etc/a").chmod(0o666)
    report = apply(node, {"/etc/a": "a"})
    assert report.plan.replaced == ["/etc/a"]
    assert stat.S_IMODE(node.real("/etc/a").stat().st_mode) == 0o644
    assert "0666" in report.diff[0]["before"]


def test_a_file_that_already_is_as_desired_becomes_ours_without_a_change(node: Node) -> None:
    node.real("/etc/a").write_text("a")
    node.real("/etc/a").chmod(0o644)
    assert not apply(node, {"/etc/a": "a"}, check=True).changed
    assert probe_owners(node) == {}
    assert not apply(node, {"/etc/a": "a"}).changed
    assert list(probe_owners(node)["demo"]["entries"]) == ["/etc/a"]
    assert apply(node, {"/etc/b": "b"}).plan.removed == ["/etc/a"]


def test_a_service_declared_later_is_probed_without_a_change(node: Node) -> None:
    systemd = Systemd(a=("active", "enabled"))
    apply(node, {"/etc/a": "a"}, run=systemd)
    assert probe_units(node, systemd) == {}
    services = [wanted("a", enabled=True)]
    assert not apply(node, {"/etc/a": "a"}, services=services, run=systemd).changed
    expected = {"a.service": {"active": "active", "enabled": "enabled"}}
    assert probe_units(node, systemd) == expected


def test_links_and_directories_are_owned_like_files(node: Node) -> None:
    entries = {
        "/etc/link": entry("link", b"/dev/null"),
        "/etc/room": entry("directory", b"", "0750", ME, GROUP),
        **desired({"/etc/file": "f"}),
    }
    apply(node, entries)
    assert node.real("/etc/link").readlink() == Path("/dev/null")
    assert stat.S_IMODE(node.real("/etc/room").stat().st_mode) == 0o750
    assert not apply(node, entries).changed
    apply(node, {"/etc/file": "f"})
    assert not node.real("/etc/link").is_symlink()
    assert not node.real("/etc/room").exists()


def test_a_directory_that_was_there_before_us_stays_when_we_no_longer_declare_it(
    node: Node,
) -> None:
    node.real("/etc/theirs").mkdir()
    room = {"/etc/theirs": entry("directory", b"", "0750", ME, GROUP)}
    apply(node, {"/etc/a": "a", **room})
    apply(node, {"/etc/a": "a"})
    assert node.real("/etc/theirs").is_dir()


def test_a_file_of_others_declared_absent_goes_in_the_same_swap(node: Node) -> None:
    node.real("/etc/installer").write_text("theirs")
    report = apply(node, {"/etc/ours": "o"}, absent=["/etc/installer"])
    assert report.plan.removed == ["/etc/installer"]
    assert owned(node) == {"/etc/ours": "o"}
    assert not apply(node, {"/etc/ours": "o"}, absent=["/etc/installer"]).changed


def test_a_file_declared_absent_stays_when_the_validator_refuses_ours(node: Node) -> None:
    node.real("/etc/installer").write_text("theirs")
    with pytest.raises(Refused):
        apply(node, {"/etc/ours": "o"}, absent=["/etc/installer"], validate=[validator("false")])
    assert owned(node) == {"/etc/installer": "theirs"}


def test_the_previous_generation_is_kept(node: Node) -> None:
    apply(node, {"/etc/a": "old"})
    apply(node, {"/etc/a": "new"})
    previous = node.state / "generations/demo/previous"
    listing = json.loads((previous / "entries.json").read_text())
    assert (previous / listing["/etc/a"]["blob"]).read_text() == "old"


def test_what_changed_is_noted_for_the_history(node: Node) -> None:
    apply(node, {"/etc/a": "a"}, activate=[activation("true")])
    assert collect_changes(node) == {"demo": ["created /etc/a", "true"]}


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/root/x", "PAR-0303"),
        ("/etcetera/x", "PAR-0303"),
        ("/etc/../root/x", "PAR-0303"),
        ("etc/x", "PAR-0303"),
        ("/etc//x", "PAR-0303"),
        ("/etc/link/x", "PAR-0304"),
        ("/etc/file/x", "PAR-0304"),
        ("/etc/directory", "PAR-0304"),
    ],
)
def test_a_target_that_leads_elsewhere_is_refused(node: Node, path: str, code: str) -> None:
    (node.root / "elsewhere").mkdir()
    node.real("/etc/link").symlink_to(node.root / "elsewhere")
    node.real("/etc/file").write_text("")
    node.real("/etc/directory").mkdir()
    with pytest.raises(Refused, match=code):
        apply(node, {path: "x"})
    assert list((node.root / "elsewhere").iterdir()) == []


def test_a_link_standing_at_the_target_is_replaced_and_not_followed(node: Node) -> None:
    victim = node.root / "victim"
    victim.write_text("untouched")
    node.real("/etc/a").symlink_to(victim)
    apply(node, {"/etc/a": "ours"})
    assert (victim.read_text(), node.real("/etc/a").is_symlink()) == ("untouched", False)


def test_a_file_of_another_owner_is_refused(node: Node) -> None:
    apply(node, {"/etc/a": "a"}, owner="first")
    with pytest.raises(Refused, match="PAR-0305"):
        apply(node, {"/etc/a": "mine"}, owner="second")
    assert owned(node) == {"/etc/a": "a"}


def test_an_empty_tree_is_refused_instead_of_removing_everything(node: Node) -> None:
    apply(node, {"/etc/a": "a"})
    with pytest.raises(Refused, match="PAR-0308"):
        apply(node, {})
    assert owned(node) == {"/etc/a": "a"}


def test_an_account_the_node_does_not_have_is_refused_and_nothing_changed(node: Node) -> None:
    apply(node, {"/etc/a": "a"})
    stranger = {"/etc/a": entry("file", b"new", "0644", "no-such-account", GROUP)}
    with pytest.raises(Refused, match="PAR-0309"):
        apply(node, {"/etc/0": "first in order", **stranger})
    assert owned(node) == {"/etc/a": "a"}


def test_a_full_disk_is_met_before_anything_changed(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply(node, {"/etc/a": "a"})
    real_fsync = os.fsync

    def full(handle: int) -> None:
        name = str(Path(f"/proc/self/fd/{handle}").readlink())
        if name.endswith(".b.paranal"):
            raise OSError(28, "No space left on device", name)
        real_fsync(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Refused, match=r"PAR-0313.*No space left"):
        apply(node, {"/etc/a": "new", "/etc/b": "b", "/etc/c/d": "d"})
    assert owned(node) == {"/etc/a": "a"}
    assert not node.real("/etc/c").exists()


# --- validators ---------------------------------------------------------------------------------


def test_a_validator_sees_the_whole_staged_tree_and_not_the_node(node: Node) -> None:
    check = validator("cmp", "{root}/etc/a", "{root}/etc/b")
    apply(node, {"/etc/a": "same", "/etc/b": "same"}, validate=[check])
    with pytest.raises(Refused, match="PAR-0310"):
        apply(node, {"/etc/a": "same", "/etc/b": "other"}, validate=[check])
    assert owned(node)["/etc/b"] == "same"


def test_a_validator_runs_once_for_each_changed_file_it_matches(node: Node) -> None:
    apply(node, {"/etc/a": "good", "/etc/b": "good"})
    check = validator("grep", "-q", "good", "{staged}", paths="/etc/*")
    report = apply(node, {"/etc/a": "good", "/etc/b": "good too"}, validate=[check])
    assert [item["command"] for item in report.validators] == ["grep -q good /etc/b"]


def test_a_refusing_validator_says_why_with_the_target_path(node: Node) -> None:
    with pytest.raises(Refused) as refused:
        apply(node, {"/etc/a": "x"}, validate=[validator("cat", "{staged}", "/nowhere")])
    assert refused.value.params["path"] == "/etc/a"
    assert "/nowhere: No such file" in refused.value.params["reason"]


def test_a_refusing_validator_of_a_secret_withholds_its_output(node: Node) -> None:
    secret = desired({"/etc/key": "hunter2"}, secret=True)
    with pytest.raises(Refused) as refused:
        apply(node, secret, validate=[validator("grep", "-v", "nothing", "{staged}", "/nowhere")])
    assert "hunter2" not in str(refused.value)


def test_a_missing_validator_is_not_run_in_check_mode_and_a_refusal_otherwise(node: Node) -> None:
    check = validator("no-such-program")
    report = apply(node, {"/etc/a": "a"}, validate=[check], check=True)
    assert report.validators[0]["result"] == "not run"
    with pytest.raises(Refused, match=r"PAR-0310.*program not found"):
        apply(node, {"/etc/a": "a"}, validate=[check])


def test_a_validator_whose_needs_are_not_there_yet_is_not_run_in_check_mode(node: Node) -> None:
    check = validator("false", needs=["/etc/key"])
    report = apply(node, {"/etc/a": "a"}, validate=[check], check=True)
    assert report.validators[0]["reason"] == "/etc/key is not there yet"
    node.real("/etc/key").write_text("")
    with pytest.raises(Refused, match="PAR-0310"):
        apply(node, {"/etc/a": "a"}, validate=[check], check=True)


# --- activation ---------------------------------------------------------------------------------


def test_only_activations_of_changed_paths_run_in_their_order(node: Node) -> None:
    log = node.root / "log"
    steps = [
        activation("sh", "-c", f"echo two >>{log}", paths="/etc/b"),
        activation("sh", "-c", f"echo one >>{log}", paths="/etc/a"),
    ]
    apply(node, {"/etc/a": "a", "/etc/b": "b"}, activate=steps)
    assert log.read_text() == "two\none\n"
    apply(node, {"/etc/a": "changed", "/etc/b": "b"}, activate=steps)
    assert log.read_text() == "two\none\none\n"


def test_a_removed_file_activates_too(node: Node) -> None:
    apply(node, {"/etc/a": "a", "/etc/b": "b"})
    report = apply(node, {"/etc/a": "a"}, activate=[activation("true", paths="/etc/b")])
    assert report.activated == ["true"]


def test_an_activation_that_is_due_runs_without_a_changed_file_and_is_reported(node: Node) -> None:
    apply(node, {"/etc/a": "a"})
    due: dict[str, Any] = {"activate": [activation("true", due=True), activation("false")]}
    said = apply(node, {"/etc/a": "a"}, check=True, **due)
    done = apply(node, {"/etc/a": "a"}, **due)
    assert (done.changed, done.plan.paths, done.activated) == (True, [], ["true"])
    assert said == done


def test_a_failed_activation_puts_the_old_content_back_and_activates_it_again(node: Node) -> None:
    loaded = node.root / "loaded"
    # A daemon that takes any content but "bad".
    load = activation(
        "sh", "-c", f"cp {node.real('/etc/a')} {loaded} && ! grep -q bad {loaded}", paths="/etc/a"
    )
    apply(node, {"/etc/a": "good"}, activate=[load])
    with pytest.raises(Refused, match="PAR-0311"):
        apply(node, {"/etc/a": "bad", "/etc/new": "n"}, activate=[load])
    assert owned(node) == {"/etc/a": "good", "/loaded": "good"}
    assert not apply(node, {"/etc/a": "good"}, activate=[load]).changed


def test_a_directory_that_is_put_back_goes_with_what_was_made_in_it(node: Node) -> None:
    entries = {
        "/etc/room": entry("directory", b"", "0750", ME, GROUP),
        **desired({"/etc/room/made/file": "f", "/etc/room/other": "o"}),
    }
    with pytest.raises(Refused, match="PAR-0311"):
        apply(node, entries, activate=[activation("false")])
    assert list(node.real("/etc").iterdir()) == []
    apply(node, entries)
    assert owned(node) == {"/etc/room/made/file": "f", "/etc/room/other": "o"}
    assert stat.S_IMODE(node.real("/etc/room").stat().st_mode) == 0o750


def test_a_check_that_never_holds_rolls_back(node: Node) -> None:
    with pytest.raises(Refused, match=r"PAR-031[12]"):
        apply(node, {"/etc/a": "a"}, activate=[activation("true", check=["false"])])
    assert owned(node) == {}


def test_a_check_is_tried_again_until_it_holds(node: Node) -> None:
    flag = node.root / "flag"
    slow = activation("sh", "-c", f"(sleep 0.1; touch {flag}) &", check=["test", "-e", str(flag)])
    assert apply(node, {"/etc/a": "a"}, activate=[slow]).activated


def test_old_content_that_does_not_activate_either_is_said_and_tried_again(node: Node) -> None:
    switch = node.root / "switch"
    load = activation("test", "!", "-e", str(switch))
    apply(node, {"/etc/a": "old"}, activate=[load])
    switch.write_text("broken")
    with pytest.raises(Refused, match="PAR-0312"):
        apply(node, {"/etc/a": "new"}, activate=[load])
    assert owned(node)["/etc/a"] == "old"
    assert probe_owners(node)["demo"]["pending"] == ["/etc/a"]
    switch.unlink()
    assert apply(node, {"/etc/a": "old"}, activate=[load]).activated
    assert probe_owners(node)["demo"]["pending"] == []


# --- services -----------------------------------------------------------------------------------


class Systemd:
    """A stand-in for systemctl: units with a state, and a log of the verbs."""

    def __init__(self, **units: tuple[str, str]) -> None:
        self.units = {f"{name}.service": list(state) for name, state in units.items()}
        self.log: list[str] = []
        self.fail = ""

    def __call__(self, argv: Sequence[str], seconds: float) -> Outcome:
        if argv[0] != "systemctl":
            return run_command(argv, seconds)
        if argv[1] == "show":
            return Outcome(0, "\n\n".join(map(self._show, argv[4:])), "")
        verb, *names = argv[1:]
        self.log.append(" ".join(argv[1:]))
        failed = [name for name in names if f"{verb} {name}" == self.fail]
        for name in names:
            if name not in failed:
                self._set(verb, self.units.setdefault(name, ["inactive", "disabled"]))
        return Outcome(1, "", "did not start") if failed else Outcome(0, "", "")

    def _show(self, name: str) -> str:
        if name not in self.units:
            return "LoadState=not-found\nActiveState=inactive\nUnitFileState="
        active, enabled = self.units[name]
        return f"LoadState=loaded\nActiveState={active}\nUnitFileState={enabled}"

    @staticmethod
    def _set(verb: str, unit: list[str]) -> None:
        actives = {"start": "active", "stop": "inactive"}
        enableds = {"enable": "enabled", "disable": "disabled", "mask": "masked"}
        unit[0] = actives.get(verb, unit[0])
        unit[1] = enableds.get(verb, unit[1])


def wanted(name: str, state: str = "started", enabled: bool | str = "") -> dict[str, Any]:
    return service({"name": f"{name}.service", "state": state, "enabled": enabled})


def test_services_become_what_is_declared_and_stay_so(node: Node) -> None:
    systemd = Systemd(a=("inactive", "disabled"), b=("active", "enabled"), c=("active", "enabled"))
    services = [wanted("a", enabled=True), wanted("b", "stopped", False), wanted("c", "masked")]
    report = apply(node, {"/etc/x": "x"}, services=services, run=systemd)
    assert report.services == [
        *("enable a.service", "disable b.service", "mask c.service"),
        *("start a.service", "stop b.service", "stop c.service"),
    ]
    assert not apply(node, {"/etc/x": "x"}, services=services, run=systemd).changed


def test_a_service_stopped_by_hand_is_started_and_nothing_else_happens(node: Node) -> None:
    systemd = Systemd(a=("active", "enabled"))
    keep: dict[str, Any] = {"services": [wanted("a", enabled=True)], "run": systemd}
    apply(node, {"/etc/x": "x"}, **keep)
    systemd.units["a.service"][0] = "inactive"
    report = apply(node, {"/etc/x": "x"}, **keep)
    assert (report.plan.paths, report.services) == ([], ["start a.service"])


def test_a_changed_unit_file_reloads_systemd_before_anything_else(node: Node) -> None:
    systemd = Systemd(a=("inactive", "disabled"))
    unit = {"/etc/systemd/system/a.service": "[Service]"}
    apply(node, unit, services=[wanted("a", enabled=True)], run=systemd)
    assert systemd.log == ["daemon-reload", "enable a.service", "start a.service"]


def test_one_call_serves_all_units_that_need_the_same(node: Node) -> None:
    systemd = Systemd(a=("inactive", "disabled"), b=("inactive", "disabled"))
    services = [wanted("a", enabled=True), wanted("b", enabled=True)]
    apply(node, {"/etc/x": "x"}, services=services, run=systemd)
    assert systemd.log == ["enable a.service b.service", "start a.service b.service"]


def test_a_service_that_does_not_start_rolls_everything_back(node: Node) -> None:
    before = {f"{name}.service": ["inactive", "disabled"] for name in "ab"}
    systemd = Systemd(a=("inactive", "disabled"), b=("inactive", "disabled"))
    systemd.fail = "start a.service"
    services = [wanted("a", enabled=True), wanted("b", enabled=True)]
    with pytest.raises(Refused, match=r"PAR-0311.*did not start"):
        apply(node, {"/etc/x": "x"}, services=services, run=systemd)
    assert owned(node) == {}
    assert systemd.units == before


# --- check mode and diff ------------------------------------------------------------------------


def everything(node: Node) -> dict[str, tuple[int, int, bytes]]:
    found = {}
    for path in sorted(node.root.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found[str(path)] = (status.st_mode, status.st_mtime_ns, content)
    return found


def test_check_mode_says_exactly_what_the_run_then_does_and_writes_nothing(node: Node) -> None:
    apply(node, {"/etc/a": "a", "/etc/b": "b", "/etc/c": "c"})
    new = {"/etc/a": "a", "/etc/b": "changed", "/etc/d/e": "new"}
    options: dict[str, Any] = {"activate": [activation("true")], "validate": [validator("true")]}
    before = everything(node)
    said = apply(node, new, check=True, **options)
    assert everything(node) == before
    done = apply(node, new, **options)
    assert said == done
    assert said.changed


def test_check_mode_works_on_a_node_never_touched_before(tmp_path: Path) -> None:
    node = Node(tmp_path)
    report = apply(node, {"/etc/a/b": "text\n"}, check=True)
    assert report.plan.created == ["/etc/a/b"]
    assert report.diff[0]["after"] == "text\n"
    assert list(tmp_path.iterdir()) == []


def test_the_diff_never_shows_a_secret_but_says_that_it_changed(node: Node) -> None:
    apply(node, desired({"/etc/key": "old-secret"}, secret=True))
    report = apply(node, desired({"/etc/key": "new-secret"}, secret=True))
    assert "secret content" in report.diff[0]["before"]
    assert report.diff[0]["before"] != report.diff[0]["after"]
    report = apply(node, {"/etc/other": "o"})
    assert "-secret" not in json.dumps(report.diff)
    assert [item["before_header"].split(" ")[0] for item in report.diff] == [
        "/etc/key",
        "/etc/other",
    ]


def test_the_diff_of_a_binary_names_its_digest(node: Node) -> None:
    report = apply(node, {"/etc/blob": entry("file", b"\x00\xff", "0644", ME, GROUP)})
    assert report.diff[0]["after"].startswith("(binary, 2 bytes, sha256 ")


# --- killed at any moment -----------------------------------------------------------------------


def killed_after(steps: int) -> Callable[[str], None]:
    """Return a step hook that ends the process, as a power cut would, after so many effects."""
    left = [steps]

    def step(_name: str) -> None:
        left[0] -= 1
        if left[0] == 0:
            os._exit(9)

    return step


def in_child(work: Callable[[], object]) -> int:
    """Run ``work`` in a forked process; return its exit status: 0 done, 1 refused, 9 killed."""
    child = os.fork()
    if child == 0:
        status = 0
        try:
            with contextlib.suppress(BaseException):
                status = 1
                work()
                status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


OLD = {"/etc/a": "old a", "/etc/b": "old b", "/etc/gone": "old gone"}
NEW = {"/etc/a": "new a", "/etc/b": "old b", "/etc/new/c": "new c"}
ROOM = {"/etc/room": entry("directory", b"", "0750", ME, GROUP)}


def test_a_run_killed_at_any_step_is_undone_or_finished_by_the_next(tmp_path: Path) -> None:
    loaded = tmp_path / "loaded"

    def load(root: Path) -> dict[str, Any]:
        return activation("sh", "-c", f"cat {root}/etc/a {root}/etc/new/c >{loaded} || true")

    counter = Node(tmp_path / "count")
    apply(counter, OLD, activate=[load(counter.root)])
    steps: list[str] = []
    apply(counter, NEW, activate=[load(counter.root)], step=steps.append)
    assert len(steps) > 10

    for kill in range(1, len(steps) + 1):
        node = Node(tmp_path / str(kill))
        options: dict[str, Any] = {"activate": [load(node.root)]}
        apply(node, OLD, **options)
        step = killed_after(kill)
        assert in_child(partial(apply, node, NEW, step=step, **options)) == 9
        # Whatever the moment, a reader finds each file whole: the old one or the new one.
        for path, text in owned(node).items():
            if not path.endswith(".paranal"):
                assert text in (OLD.get(path), NEW.get(path)), (steps[kill - 1], path)
        before = everything(node)
        said = apply(node, NEW, check=True, **options)
        assert everything(node) == before, steps[kill - 1]
        done = apply(node, NEW, **options)
        assert said == done, steps[kill - 1]
        assert owned(node) == NEW, steps[kill - 1]
        assert loaded.read_text() == "new anew c", steps[kill - 1]
        assert not apply(node, NEW, **options).changed, steps[kill - 1]
        state = {p.name for p in (node.state / "generations/demo").iterdir()}
        assert state == {"previous"}, steps[kill - 1]


def test_a_killed_run_is_undone_when_the_operator_goes_back_to_the_old(tmp_path: Path) -> None:
    new = {**NEW, **ROOM, "/etc/room/made/d": "new d"}
    counter = Node(tmp_path / "count")
    apply(counter, OLD)
    steps: list[str] = []
    apply(counter, new, step=steps.append)
    for kill in range(1, len(steps) + 1):
        node = Node(tmp_path / str(kill))
        apply(node, OLD)
        assert in_child(partial(apply, node, new, step=killed_after(kill))) == 9
        apply(node, OLD)
        assert owned(node) == OLD, steps[kill - 1]
        assert not node.real("/etc/new").exists(), steps[kill - 1]
        assert not node.real("/etc/room").exists(), steps[kill - 1]
        assert not apply(node, OLD).changed


def test_a_rollback_killed_at_any_step_is_finished_by_the_next(tmp_path: Path) -> None:
    def options(root: Path) -> dict[str, Any]:
        # Takes the old content, refuses the new one.
        return {"activate": [activation("grep", "-q", "old", f"{root}/etc/a")]}

    counter = Node(tmp_path / "count")
    apply(counter, OLD, **options(counter.root))
    steps: list[str] = []
    with pytest.raises(Refused, match="PAR-0311"):
        apply(counter, NEW, step=steps.append, **options(counter.root))
    for kill in range(1, len(steps) + 1):
        node = Node(tmp_path / str(kill))
        apply(node, OLD, **options(node.root))
        step = killed_after(kill)
        work = partial(apply, node, NEW, step=step, **options(node.root))
        assert in_child(work) == 9, steps[kill - 1]
        with pytest.raises(Refused, match="PAR-0311"):
            apply(node, NEW, **options(node.root))
        assert owned(node) == OLD, steps[kill - 1]
        apply(node, OLD, **options(node.root))
        assert not apply(node, OLD, **options(node.root)).changed, steps[kill - 1]
        assert probe_owners(node)["demo"]["pending"] == []
