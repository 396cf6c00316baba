"""Add, change, credentials, remove: what is done to which connection, and what is left alone."""

from __future__ import annotations

import copy
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from paranal.agreement.connections import connections, to_swanctl
from paranal.messages import Refusal
from paranal.tunnels import reconcile as subject
from paranal.tunnels.charon import CharonError
from paranal.tunnels.plan import Step
from paranal.tunnels.reconcile import Result, preview, reconcile, signs_only_with, survey
from paranal.tunnels.record import Declared, Paths, read_record
from paranal.tunnels.upkeep import (
    SETTLED_SECONDS,
    ask_again,
    end_duplicates,
    renew,
    renew_lately_changed,
    settle,
)
from tests.unit.agreement.views import view
from tests.unit.tunnels.fake_charon import ANCHORS, FakeCharon
from tests.unit.tunnels.sas import child_sa, ike_sa


@pytest.fixture
def charon() -> FakeCharon:
    return FakeCharon()


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    (tmp_path / "x509ca").mkdir(parents=True)
    (tmp_path / "x509").mkdir()
    (tmp_path / "x509" / "ike.pem").write_text("leaf")
    for code in ANCHORS:
        (tmp_path / "x509ca" / f"{code}-root.pem").write_text(code)
    return Paths(tmp_path, tmp_path / "state")


class Clock:
    """Time that passes only while somebody sleeps: a busy machine decides nothing."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock.monotonic)
    monkeypatch.setattr(time, "sleep", clock.sleep)


def declare(view: dict[str, Any]) -> list[Declared]:
    return [
        {"connection": one, "text": to_swanctl(one) + "\n"} for one in connections(view, ANCHORS)
    ]


def apply(charon: FakeCharon, declared: list[Declared], paths: Paths) -> Result:
    charon.calls.clear()
    return reconcile(charon, declared, paths, {}, wait_seconds=12, load_credentials=lambda: None)


def actions(result: Result) -> dict[str, str]:
    return {step.name: step.action for step in result.plan.steps}


def section_of(name: str, text: str) -> str:
    return text.split(f"  {name} {{")[1].split("\n  }\n")[0]


def name_of(declared: list[Declared], peer: str) -> str:
    return next(e["connection"]["name"] for e in declared if e["connection"]["peer"] == peer)


def moved(member: str, peer: str, address: str = "192.0.2.99") -> dict[str, Any]:
    """The same member's view, but ``peer`` has a new address."""
    changed = view(member)
    for other in changed["peers"]:
        if other["code"] == peer:
            other["wan_address"] = address
    return changed


def test_a_new_node_adds_everything_and_writes_what_it_loaded(
    charon: FakeCharon, paths: Paths
) -> None:
    declared = declare(view("co"))
    result = apply(charon, declared, paths)
    assert set(actions(result).values()) == {"add"}
    assert set(charon.loaded) == {entry["connection"]["name"] for entry in declared}
    text = paths.file.read_text()
    assert all(entry["text"] in text for entry in declared)
    assert paths.file.stat().st_mode & 0o777 == 0o600
    assert result.states[name_of(declared, "pe")] == "up"
    assert result.states[name_of(declared, "cl")] == "loaded"


def test_the_second_run_does_nothing(charon: FakeCharon, paths: Paths) -> None:
    declared = declare(view("co"))
    apply(charon, declared, paths)
    before = paths.file.stat().st_mtime_ns
    result = apply(charon, declared, paths)
    assert not result.plan.changes
    assert charon.calls == []
    assert paths.file.stat().st_mtime_ns == before


def test_check_mode_says_the_same_and_does_nothing(charon: FakeCharon, paths: Paths) -> None:
    declared = declare(view("co"))
    planned = preview(charon, declared, paths, {})
    assert charon.calls == []
    assert not paths.file.exists()
    done = apply(charon, declared, paths)
    assert actions(planned) == actions(done)
    assert planned.file_after == done.file_after


def test_a_changed_pair_gets_a_generation_beside_the_old_and_no_other_pair_is_touched(
    charon: FakeCharon, paths: Paths
) -> None:
    before = declare(view("co"))
    apply(charon, before, paths)
    kept = [sa for sa in charon.sas if "mx" in sa.name]
    after = declare(moved("co", "pe"))
    result = apply(charon, after, paths)
    old, new = name_of(before, "pe"), name_of(after, "pe")
    assert actions(result) == {new: "change"}
    assert charon.calls.index(f"load {new}") < charon.calls.index(f"unload {old}")
    assert old not in charon.loaded
    assert {sa.name for sa in charon.sas if "pe" in sa.name} == {new}
    assert [sa for sa in charon.sas if "mx" in sa.name] == kept
    assert old not in paths.file.read_text()


def test_at_the_responder_the_new_generation_is_loaded_first_so_that_it_answers(
    charon: FakeCharon, paths: Paths
) -> None:
    before, after = declare(view("pe")), declare(moved("pe", "co"))
    apply(charon, before, paths)
    charon.bring_up(name_of(before, "co"), "operational", "strategic")
    sas = list(charon.sas)
    apply(charon, after, paths)
    order = [name for name in charon.loaded if name.startswith("pe-co")]
    assert order == [name_of(after, "co"), name_of(before, "co")]
    assert charon.sas == sas


def test_at_the_initiator_the_elder_is_not_unloaded_before_its_heir_is_up(
    charon: FakeCharon, paths: Paths
) -> None:
    before, after = declare(view("co")), declare(moved("co", "pe"))
    apply(charon, before, paths)
    charon.silent = {"pe"}
    sas = list(charon.sas)
    apply(charon, after, paths)
    assert f"unload {name_of(before, 'pe')}" not in charon.calls
    assert charon.sas == sas


def test_while_the_peer_has_not_followed_the_old_generation_serves_and_the_report_says_so(
    charon: FakeCharon, paths: Paths
) -> None:
    before = declare(view("co"))
    apply(charon, before, paths)
    old = name_of(before, "pe")
    charon.silent = {"pe"}
    after = declare(moved("co", "pe"))
    new = name_of(after, "pe")
    result = apply(charon, after, paths)
    assert result.states[new] == "waiting for peer"
    assert {old, new} <= set(charon.loaded)
    assert old in {sa.name for sa in charon.sas}
    assert old in paths.file.read_text(), "a restarted charon must be able to serve the old one"
    assert not apply(charon, after, paths).plan.changes, "waiting is not a change"
    charon.silent = set()
    charon.bring_up(new, "operational", "strategic")
    result = apply(charon, after, paths)
    assert result.states[new] == "up"
    assert old not in charon.loaded
    assert old not in paths.file.read_text()


def test_an_ike_sa_born_before_the_peers_own_apply_is_renewed_and_then_complete(
    charon: FakeCharon, paths: Paths
) -> None:
    narrowed = view("co")
    for peer in narrowed["peers"]:
        if peer["code"] == "pe":
            peer["pair"]["channels"] = ["strategic"]
    apply(charon, declare(narrowed), paths)
    after = declare(view("co"))
    name = name_of(after, "pe")
    charon.silent = {"pe"}
    planned = charon.counter + 1
    charon.sas.append(replace(ike_sa(name, str(planned), ["strategic"]), established_seconds=9))
    charon.counter, charon.silent, charon.stubborn = planned, set(), {"operational": str(planned)}
    result = apply(charon, after, paths)
    assert f"reauthenticate {name}" in charon.calls
    assert result.states[name] == "up"


def test_an_ike_sa_that_carries_nothing_is_ended_instead_and_a_young_one_left(
    charon: FakeCharon,
) -> None:
    wanted = connections(view("co"), ANCHORS)
    name = next(one["name"] for one in wanted if one["peer"] == "pe")
    charon.sas = [replace(ike_sa(name, "1", []), established_seconds=5)]
    assert renew(charon, wanted, older_than=600) == []
    assert renew(charon, wanted, older_than=5) == [name]
    assert charon.calls == [f"end {name}"]


@pytest.mark.req("R12")
def test_a_channel_that_is_opened_again_before_the_peer_followed_comes_back_in_place(
    charon: FakeCharon, paths: Paths
) -> None:
    whole = declare(view("pe"))
    apply(charon, whole, paths)
    name = name_of(whole, "co")
    charon.bring_up(name, "operational", "strategic")
    narrowed = view("pe")
    for peer in narrowed["peers"]:
        if peer["code"] == "co":
            peer["pair"]["channels"] = ["strategic"]
    apply(charon, declare(narrowed), paths)
    assert list(charon.loaded[name]["children"]) == ["strategic"]
    sas = list(charon.sas)
    result = apply(charon, whole, paths)
    assert Step(name, "co", "change", "declared again") in result.plan.steps
    assert set(charon.loaded[name]["children"]) == {"operational", "strategic"}
    assert charon.sas == sas
    assert read_record(paths).held[name]["connection"] == whole[1]["connection"]


def test_what_the_initiator_changed_is_renewed_once_when_the_peer_has_settled(
    charon: FakeCharon, paths: Paths
) -> None:
    after = declare(moved("co", "pe"))
    apply(charon, declare(view("co")), paths)
    assert read_record(paths).renew == []
    apply(charon, after, paths)
    name, record = name_of(after, "pe"), read_record(paths)
    assert record.renew == [name]
    assert renew_lately_changed(charon, record, paths) == []
    charon.sas = [replace(sa, established_seconds=20) for sa in charon.sas]
    charon.calls.clear()
    assert renew_lately_changed(charon, record, paths) == [name]
    assert charon.calls == [f"reauthenticate {name}"]
    assert renew_lately_changed(charon, read_record(paths), paths) == []


def test_only_the_last_elder_is_kept(charon: FakeCharon, paths: Paths) -> None:
    charon.silent = {"pe"}
    first, second = declare(view("co")), declare(moved("co", "pe"))
    third = declare(moved("co", "pe", "192.0.2.98"))
    for declared in (first, second):
        apply(charon, declared, paths)
    result = apply(charon, third, paths)
    assert Step(name_of(first, "pe"), "pe", "remove", "superseded twice") in result.plan.steps
    kept = {name for name in charon.loaded if name.startswith("co-pe")}
    assert kept == {name_of(second, "pe"), name_of(third, "pe")}


def test_a_generation_that_carries_less_than_its_elder_does_not_replace_it(
    charon: FakeCharon, paths: Paths
) -> None:
    before, after = declare(view("co")), declare(moved("co", "pe"))
    apply(charon, before, paths)
    charon.silent = {"pe"}
    apply(charon, after, paths)
    charon.sas.append(ike_sa(name_of(after, "pe"), "99", ["operational"]))
    record = read_record(paths)
    assert settle(charon, record, paths) == []
    charon.sas[-1] = ike_sa(name_of(after, "pe"), "99", ["operational", "strategic"])
    assert settle(charon, record, paths) == [name_of(before, "pe")]


@pytest.mark.req("R12")
def test_a_closed_channel_waits_for_nobody(charon: FakeCharon, paths: Paths) -> None:
    before = declare(view("co"))
    apply(charon, before, paths)
    old = name_of(before, "pe")
    (number,) = [sa.unique_id for sa in charon.sas if sa.name == old]
    charon.silent = {"pe"}
    narrowed = view("co")
    for peer in narrowed["peers"]:
        if peer["code"] == "pe":
            peer["pair"]["channels"] = ["operational"]
    result = apply(charon, declare(narrowed), paths)
    assert Step(old, "pe", "remove", "closed: strategic") in result.plan.steps
    assert f"end child {number}.strategic" in charon.calls
    assert f"end child {number}.operational" not in charon.calls
    (elder,) = [sa for sa in charon.sas if sa.name == old]
    assert elder.installed() == {"operational"}, "what is open goes on until the heir is up"
    assert list(charon.loaded[old]["children"]) == ["operational"], "it cannot be asked for again"
    assert "10.51.2.1" not in section_of(old, paths.file.read_text())
    assert not apply(charon, declare(narrowed), paths).plan.changes


@pytest.mark.req("R12")
def test_closing_a_pair_ends_its_sas_at_once_and_leaves_a_line(
    charon: FakeCharon, paths: Paths
) -> None:
    apply(charon, declare(view("co", "all-live")), paths)
    result = apply(charon, declare(view("co")), paths)
    removed = {name for name, action in actions(result).items() if action == "remove"}
    assert len(removed) == 1
    assert removed.pop().startswith("co-cl-g")
    assert not [sa for sa in charon.sas if "cl" in sa.name]
    assert "co-cl-line" in charon.loaded
    assert {sa.name.split("-")[1] for sa in charon.sas} == {"mx", "pe"}


@pytest.mark.req("R12", "B3")
def test_an_ike_sa_that_charon_starts_once_more_while_it_is_ended_is_ended_too(
    charon: FakeCharon, paths: Paths
) -> None:
    before = declare(view("cl", "all-live"))
    apply(charon, before, paths)
    charon.crossing = {name_of(before, "pe")}
    apply(charon, declare(view("cl")), paths)
    assert charon.crossing == set()
    assert charon.sas == []


def test_a_foreign_connection_and_its_sa_are_removed(charon: FakeCharon, paths: Paths) -> None:
    declared = declare(view("co"))
    apply(charon, declared, paths)
    charon.loaded["backdoor"] = {"children": {"any": {}}}
    charon.sas.append(ike_sa("backdoor", "77", ["any"]))
    result = apply(charon, declared, paths)
    assert actions(result) == {"backdoor": "remove"}
    assert charon.calls == ["unload backdoor", "end backdoor"]
    assert "backdoor" not in {sa.name for sa in charon.sas}


def test_a_connection_altered_by_hand_is_loaded_again_and_alone(
    charon: FakeCharon, paths: Paths
) -> None:
    declared = declare(view("co"))
    apply(charon, declared, paths)
    name = name_of(declared, "pe")
    charon.loaded[name]["rekey_time"] = "0s"
    (number,) = [sa.unique_id for sa in charon.sas if sa.name == name]
    result = apply(charon, declared, paths)
    assert actions(result) == {name: "change"}
    assert charon.calls[0] == f"load {name}"
    assert number not in {sa.unique_id for sa in charon.sas}, "its SA was born of what was altered"
    assert not apply(charon, declared, paths).plan.changes


def test_a_connection_unloaded_by_hand_is_added_again(charon: FakeCharon, paths: Paths) -> None:
    declared = declare(view("co"))
    apply(charon, declared, paths)
    del charon.loaded[name_of(declared, "pe")]
    assert actions(apply(charon, declared, paths)) == {name_of(declared, "pe"): "add"}


def test_an_edited_file_is_put_back_and_nothing_else(charon: FakeCharon, paths: Paths) -> None:
    declared = declare(view("co"))
    apply(charon, declared, paths)
    good = paths.file.read_text()
    paths.file.write_text(good.replace("198.51.100.34", "192.0.2.1"))
    result = apply(charon, declared, paths)
    assert result.plan.changes
    assert paths.file.read_text() == good
    assert charon.calls == []


@pytest.mark.parametrize(
    ("changed", "peers"),
    [
        ("x509/ike.pem", {"mx", "pe"}),
        ("x509ca/pe-root.pem", {"pe"}),
        ("x509crl/mx-root.crl", {"mx"}),
    ],
)
def test_new_credentials_are_read_and_only_the_pairs_they_concern_reauthenticate(
    charon: FakeCharon, paths: Paths, changed: str, peers: set[str]
) -> None:
    declared = declare(view("co"))
    apply(charon, declared, paths)
    (paths.swanctl / changed).parent.mkdir(exist_ok=True)
    (paths.swanctl / changed).write_text("new")
    result = apply(charon, declared, paths)
    assert {call for call in charon.calls if not call.startswith("reauth")} == set()
    assert {call.split()[1].split("-")[1] for call in charon.calls} == peers
    assert {s.peer for s in result.plan.steps if s.action == "credentials"} - {"cl"} == peers
    assert not apply(charon, declared, paths).plan.changes


def test_a_reauthentication_that_did_not_happen_is_tried_again(
    charon: FakeCharon, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = declare(view("co"))
    apply(charon, declared, paths)
    (paths.swanctl / "x509" / "ike.pem").write_text("new")
    monkeypatch.setattr(charon, "reauthenticate", lambda unique_id: None)
    apply(charon, declared, paths)
    assert apply(charon, declared, paths).plan.credentials == ["x509/ike.pem"]


@pytest.mark.req("D3")
def test_a_run_killed_before_it_reauthenticates_leaves_that_to_the_next(
    charon: FakeCharon, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = killed_before_it_reauthenticates(charon, paths, monkeypatch)
    assert {s.reason for s in survey(charon, declared, paths)[1].steps} == {
        "reauthentication cut short"
    }
    charon.calls.clear()
    result = apply(charon, declared, paths)
    assert {call.split()[0] for call in charon.calls} == {"reauthenticate"}
    assert {step.peer for step in result.plan.steps} == {"mx", "pe"}
    assert not apply(charon, declared, paths).plan.changes


def test_a_restarted_charon_has_nothing_to_reauthenticate(
    charon: FakeCharon, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = killed_before_it_reauthenticates(charon, paths, monkeypatch)
    charon.start_number += 1
    assert survey(charon, declared, paths)[1].reauthenticate == []


def killed_before_it_reauthenticates(
    charon: FakeCharon, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> list[Declared]:
    """Apply, and once more with a new leaf until the run dies; return what both declared."""

    def raise_killed(unique_id: str) -> None:
        raise KeyboardInterrupt

    declared = declare(view("co"))
    apply(charon, declared, paths)
    (paths.swanctl / "x509" / "ike.pem").write_text("new")
    with monkeypatch.context() as dying:
        dying.setattr(charon, "reauthenticate", raise_killed)
        with pytest.raises(KeyboardInterrupt):
            apply(charon, declared, paths)
    return declared


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        ("nothing", ""),
        ("another key", "charon holds other keys: b2"),
        ("no key", "charon holds other keys: none"),
        ("a newer leaf", "charon has not read x509/ike.pem"),
        ("an old IKE_SA", "not reauthenticated: "),
    ],
)
def test_charon_signs_only_with_the_new_leaf_or_it_is_said_why_not(
    charon: FakeCharon, paths: Paths, spoil: str, reason: str
) -> None:
    declared = declare(view("co"))
    (paths.swanctl / "x509").mkdir(parents=True, exist_ok=True)
    (paths.swanctl / "x509" / "ike.pem").write_text("leaf")
    apply(charon, declared, paths)
    charon.held_keys = {"another key": {"a1", "b2"}, "no key": set()}.get(spoil, {"a1"})
    if spoil == "a newer leaf":
        (paths.swanctl / "x509" / "ike.pem").write_text("newer")
    if spoil == "an old IKE_SA":
        record = read_record(paths)
        record.reauthenticate = [charon.sas[0].unique_id]
        record.save(paths)
    said = signs_only_with(charon, paths, "a1")
    assert said.startswith(reason)
    assert bool(said) == bool(reason)


def test_a_list_that_came_by_control_is_no_change_once_it_counts(
    charon: FakeCharon, paths: Paths
) -> None:
    declared = declare(view("co"))
    apply(charon, declared, paths)
    text, kept = "a newer list", paths.state / "lists" / "pe-issuing.crl"
    (paths.swanctl / "x509crl").mkdir()
    (paths.swanctl / "x509crl" / kept.name).write_text(text)
    assert preview(charon, declared, paths, {}).plan.credentials == ["x509crl/pe-issuing.crl"]
    kept.parent.mkdir()
    kept.write_text(text)
    kept.with_suffix(".owed").touch()
    assert preview(charon, declared, paths, {}).plan.credentials == ["x509crl/pe-issuing.crl"]
    kept.with_suffix(".owed").unlink()
    assert not preview(charon, declared, paths, {}).plan.changes
    kept.write_text("another")
    assert preview(charon, declared, paths, {}).plan.credentials == ["x509crl/pe-issuing.crl"]


def test_refused_credentials_change_nothing(charon: FakeCharon, paths: Paths) -> None:
    def refuse() -> None:
        raise CharonError("loading 'ike.key' failed")

    charon.start_at = 0  # it started before the files were written
    with pytest.raises(Refusal, match="PAR-0703"):
        reconcile(charon, declare(view("co")), paths, {}, wait_seconds=0, load_credentials=refuse)
    assert charon.loaded == {}
    assert not paths.file.exists()


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (None, "No such file"),
        ("sleep 5", "timed out"),
        ("echo \"loading 'ike.key' failed\"; exit 1", "loading 'ike.key' failed"),
        ("exit 1", "swanctl failed"),
    ],
)
def test_a_swanctl_that_cannot_read_credentials_is_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str | None, reason: str
) -> None:
    swanctl = tmp_path / "swanctl"
    if program:
        swanctl.write_text(f"#!/bin/sh\n{program}\n")
        swanctl.chmod(0o755)
    monkeypatch.setattr(subject, "SWANCTL", str(swanctl))
    monkeypatch.setattr(subject, "SWANCTL_SECONDS", 0.3)
    with pytest.raises(CharonError, match=reason):
        subject.swanctl_load_credentials()


def test_credentials_that_are_read_replace_also_the_lists_that_charon_checked_peers_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swanctl, asked = tmp_path / "swanctl", tmp_path / "asked"
    swanctl.write_text(f'#!/bin/sh\necho "$@" >> {asked}\n')
    swanctl.chmod(0o755)
    monkeypatch.setattr(subject, "SWANCTL", str(swanctl))
    subject.swanctl_load_credentials()
    assert asked.read_text().splitlines() == [
        "--load-creds --noprompt",
        "--flush-certs --type x509_crl",
    ]


def test_an_empty_declaration_is_refused(charon: FakeCharon, paths: Paths) -> None:
    apply(charon, declare(view("co")), paths)
    loaded = dict(charon.loaded)
    for attempt in (preview, lambda *args: apply(*args[:3])):
        with pytest.raises(Refusal, match="PAR-0701"):
            attempt(charon, [], paths, {})
    assert charon.loaded == loaded


def test_a_load_that_fails_leaves_file_and_daemon_as_they_were(
    charon: FakeCharon, paths: Paths
) -> None:
    apply(charon, declare(view("co")), paths)
    state = (dict(charon.loaded), list(charon.sas), paths.file.read_text())
    changed = view("co")
    for peer in changed["peers"]:
        peer["wan_address"] = peer["wan_address"].replace("203.0.113", "192.0.2")
    after = declare(changed)
    charon.refuse = name_of(after, "pe")
    with pytest.raises(Refusal, match=r"PAR-0702.*invalid value"):
        apply(charon, after, paths)
    loaded = {name: charon.loaded[name] for name in state[0]}
    assert loaded == state[0]
    assert set(charon.loaded) == set(state[0])
    assert paths.file.read_text() == state[2]
    charon.refuse = ""
    assert not [call for call in charon.calls if call.startswith("end")]


def test_a_record_that_cannot_be_written_leaves_file_and_daemon_as_they_were(
    charon: FakeCharon, paths: Paths
) -> None:
    paths.record.with_name(f".{paths.record.name}.new").mkdir(parents=True)
    with pytest.raises(Refusal, match=r"PAR-0702"):
        apply(charon, declare(view("co")), paths)
    assert charon.loaded == {}
    assert not paths.file.exists()


def test_a_missing_root_certificate_loads_nothing(charon: FakeCharon, paths: Paths) -> None:
    (paths.swanctl / "x509ca" / "mx-root.pem").unlink()
    with pytest.raises(Refusal, match="PAR-0702"):
        apply(charon, declare(view("co")), paths)
    assert charon.loaded == {}


@pytest.mark.parametrize(("touched", "changes"), [(False, False), (True, True)])
def test_after_a_restart_the_older_file_is_the_proof(
    charon: FakeCharon, paths: Paths, touched: bool, changes: bool
) -> None:
    declared = declare(view("co"))
    apply(charon, declared, paths)
    charon.start_number = 2
    if touched:
        os.utime(paths.file, (2e9, 2e9))
    _, plan = survey(charon, declared, paths)
    assert plan.changes is changes


def test_what_the_upkeep_notes_after_a_restart_leaves_the_proof_as_it_was(
    charon: FakeCharon, paths: Paths
) -> None:
    declared = declare(moved("co", "pe"))
    apply(charon, declare(view("co")), paths)
    apply(charon, declared, paths)
    charon.start_number, charon.start_at = 2, time.time() + 5
    charon.sas = [replace(sa, established_seconds=20) for sa in charon.sas]
    assert renew_lately_changed(charon, read_record(paths), paths)
    os.utime(paths.file, (charon.start_at + 20,) * 2)  # it was written just now
    assert not survey(charon, declared, paths)[1].changes
    (paths.swanctl / "x509" / "ike.pem").write_text("another")
    assert survey(charon, declared, paths)[1].credentials == ["x509/ike.pem"]


def test_without_a_record_nothing_is_believed(charon: FakeCharon, paths: Paths) -> None:
    declared = declare(view("co"))
    apply(charon, declared, paths)
    paths.record.write_text("{")
    result = apply(charon, declared, paths)
    assert set(actions(result).values()) == {"change"}


def test_only_the_initiator_asks_again_and_only_for_what_is_missing(charon: FakeCharon) -> None:
    ours = connections(view("co"), ANCHORS)
    theirs = connections(view("pe"), ANCHORS)
    assert ask_again(charon, theirs) == []
    charon.silent = {"mx", "pe"}
    name = next(one["name"] for one in ours if one["peer"] == "pe")
    charon.sas = [ike_sa(name, "1", ["operational"])]
    asked = ask_again(charon, ours)
    assert f"{name}/strategic" in asked
    assert f"{name}/operational" not in asked
    charon.sas = [ike_sa(name, "1", [], state="CONNECTING")]
    assert not [one for one in ask_again(charon, ours) if one.startswith(name)]


def test_the_initiator_alone_ends_duplicates_and_keeps_the_newest(charon: FakeCharon) -> None:
    for member, peer, ended in (("co", "pe", ["1", "2"]), ("pe", "co", [])):
        wanted = connections(view(member), ANCHORS)
        name = next(one["name"] for one in wanted if one["peer"] == peer)
        both = ["operational", "strategic"]
        charon.sas = [ike_sa(name, str(number), both) for number in (1, 2, 3)]
        charon.sas.append(ike_sa(name, "4", ["operational"]))  # still coming up
        assert end_duplicates(charon, wanted) == [name] * len(ended)
        left = [sa.unique_id for sa in charon.sas]
        assert left == [number for number in ("1", "2", "3", "4") if number not in ended]


def test_the_initiator_ends_what_lacks_a_channel_beside_a_complete_one(charon: FakeCharon) -> None:
    for member, peer, ended in (("co", "pe", ["2"]), ("pe", "co", [])):
        wanted = connections(view(member), ANCHORS)
        name = next(one["name"] for one in wanted if one["peer"] == peer)
        age = {"established_seconds": SETTLED_SECONDS}
        charon.sas = [
            ike_sa(name, "1", ["operational", "strategic"], **age),
            ike_sa(name, "2", ["operational"], **age),
            ike_sa(name, "3", ["operational"], established_seconds=SETTLED_SECONDS - 1),
            ike_sa(name, "4", ["operational"], busy=True, **age),
            ike_sa(name, "5", [], state="CONNECTING"),
        ]
        assert end_duplicates(charon, wanted) == [name] * len(ended)
        left = [sa.unique_id for sa in charon.sas]
        assert left == [number for number in ("1", "2", "3", "4", "5") if number not in ended]
        charon.sas = [ike_sa(name, "6", ["operational"], **age)]
        assert end_duplicates(charon, wanted) == [], "nothing carries what it carries"


def test_of_a_pair_that_a_foreign_gateway_starts_what_our_own_trap_began_is_ended(
    charon: FakeCharon,
) -> None:
    document = view("pe")
    next(peer for peer in document["peers"] if peer["code"] == "co")["gateway"] = "foreign"
    wanted = connections(document, ANCHORS)
    name = next(one["name"] for one in wanted if one["peer"] == "co")
    age, both = {"established_seconds": SETTLED_SECONDS}, ["operational", "strategic"]
    charon.sas = [
        ike_sa(name, "1", both, initiator=False, **age),
        ike_sa(name, "2", both, initiator=False, **age),
        ike_sa(name, "3", ["strategic"], initiator=False, **age),
        ike_sa(name, "4", ["strategic"], initiator=True, **age),
        ike_sa(name, "5", ["strategic"], initiator=True, established_seconds=1),
    ]
    assert end_duplicates(charon, wanted) == [name]
    assert [sa.unique_id for sa in charon.sas] == ["1", "2", "3", "5"]
    # It asks on the IKE_SA that is left for the channel that it had last on the one that went.
    twice = [*both, "strategic"]
    charon.sas = [ike_sa(name, "1", twice, initiator=False, **age)]
    assert end_duplicates(charon, wanted) == [f"{name}/strategic"]
    charon.sas = [ike_sa(name, "6", ["strategic"], initiator=True, **age)]
    assert end_duplicates(charon, wanted) == [], "nothing carries what it carries"


def test_the_initiator_ends_the_older_of_a_channel_that_is_there_twice(
    charon: FakeCharon,
) -> None:
    twice = [
        child_sa("strategic", "8", state="REKEYED"),
        child_sa("operational", "9"),
        child_sa("operational", "11"),
        child_sa("strategic", "12"),
    ]
    for member, peer, age, busy, ended in (
        ("co", "pe", SETTLED_SECONDS, False, ["9"]),
        ("co", "pe", SETTLED_SECONDS - 1, False, []),
        ("co", "pe", SETTLED_SECONDS, True, []),
        ("pe", "co", SETTLED_SECONDS, False, []),
    ):
        wanted = connections(view(member), ANCHORS)
        name = next(one["name"] for one in wanted if one["peer"] == peer)
        charon.sas = [ike_sa(name, "1", twice, established_seconds=age, busy=busy)]
        assert end_duplicates(charon, wanted) == [f"{name}/operational"] * len(ended)
        left = {child.unique_id for child in charon.sas[0].children}
        assert left == {"8", "9", "11", "12"} - set(ended)


def test_a_new_telephone_number_changes_the_file_and_not_the_tunnel(
    charon: FakeCharon, paths: Paths
) -> None:
    declared = declare(view("co"))
    apply(charon, declared, paths)
    spoken = copy.deepcopy(declared)
    spoken[-1]["text"] = "  # 24/7: +51 1 5550 0000\n" + spoken[-1]["text"]
    result = apply(charon, spoken, paths)
    assert [step.reason for step in result.plan.steps] == ["comment only"]
    assert charon.calls == []
    assert "5550 0000" in paths.file.read_text()
    assert not apply(charon, spoken, paths).plan.changes


BOTH = {"pe-g2-root.pem": "b" * 64, "pe-root.pem": ANCHORS["pe"]}


def pinned(member: str, roots: dict[str, str]) -> list[Declared]:
    """What ``member`` declares while Peru's authority is relieved."""
    declared = connections(view(member), {**ANCHORS, "pe": roots})
    return [{"connection": one, "text": to_swanctl(one) + "\n"} for one in declared]


@pytest.mark.req("B5")
@pytest.mark.parametrize("member", ["co", "mx"])
def test_a_second_root_is_a_generation_beside_the_elder_and_leaves_the_others_alone(
    charon: FakeCharon, paths: Paths, member: str
) -> None:
    declared = declare(view(member))
    apply(charon, declared, paths)
    (paths.swanctl / "x509ca" / "pe-g2-root.pem").write_text("new")
    later = pinned(member, BOTH)
    charon.silent.add("pe")
    result = apply(charon, later, paths)
    assert actions(result)[name_of(later, "pe")] == "change"
    assert {name_of(declared, "pe"), name_of(later, "pe")} <= set(charon.loaded)
    assert section_of(name_of(declared, "pe"), paths.file.read_text()).count("pe-root.pem") == 1
    for other in {"cl", "co", "mx"} - {member}:
        assert name_of(later, other) == name_of(declared, other)


@pytest.mark.req("B5")
@pytest.mark.parametrize("refused", [False, True])
def test_an_elder_loses_the_removed_root_whose_file_is_gone_and_stays_loadable(
    charon: FakeCharon, paths: Paths, monkeypatch: pytest.MonkeyPatch, refused: bool
) -> None:
    """Of a responder, which loads its elder again: charon must find no file missing, ever."""
    responder = {**view("co"), "peers": [responding(each) for each in view("co")["peers"]]}
    monkeypatch.setattr(f"{__name__}.view", lambda _: responder)
    (paths.swanctl / "x509ca" / "pe-g2-root.pem").write_text("new")
    declared = pinned("co", BOTH)
    apply(charon, declared, paths)
    (paths.swanctl / "x509ca" / "pe-root.pem").unlink()
    later = pinned("co", {"pe-g2-root.pem": BOTH["pe-g2-root.pem"]})
    elder, heir = name_of(declared, "pe"), name_of(later, "pe")
    if refused:
        charon.refuse = heir
        with pytest.raises(Refusal, match="PAR-0702"):
            apply(charon, later, paths)
        assert elder in charon.loaded
        return
    apply(charon, later, paths)
    text = section_of(elder, paths.file.read_text())
    assert '"pe-g2-root.pem"' in text
    assert "pe-root.pem" not in text.replace("pe-g2-root.pem", "")
    assert {elder, heir} <= set(charon.loaded)


def responding(peer: dict[str, Any]) -> dict[str, Any]:
    return {**peer, "pair": {**peer["pair"], "initiates": False}}
