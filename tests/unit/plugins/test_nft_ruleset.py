"""Drift is what a hand changed, never what the kernel counts; and the way back is armed first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from paranal.messages import Refusal
from plugins.action.nft_ruleset import ActionModule
from plugins.action.nft_ruleset import holds as proven
from plugins.module_utils.paranal_nft import (
    FILE,
    ROLLBACK_UNIT,
    Firewall,
    canonical,
    digest,
    probe_firewall,
)
from plugins.module_utils.paranal_node import Node, Outcome, Refused, read_json
from plugins.modules.nft_ruleset import apply, difference

RULES = "table inet paranal { }\n"


def listing(*objects: dict[str, Any]) -> str:
    return json.dumps({"nftables": [{"metainfo": {"version": "1.1.3"}}, *objects]})


def rule(handle: int, packets: int, port: int = 7443) -> dict[str, Any]:
    match = {"match": {"op": "==", "left": "tcp dport", "right": port}}
    counter = {"counter": {"packets": packets, "bytes": packets * 60}}
    place = {"family": "inet", "table": "paranal", "chain": "input", "handle": handle}
    return {"rule": {**place, "expr": [match, counter, {"accept": None}]}}


def table(**extra: object) -> dict[str, Any]:
    return {"table": {"family": "inet", "name": "paranal", "handle": 3, **extra}}


class FakeNode:
    """nft and systemd as two words: what runs, and what is armed."""

    def __init__(self, live: str | None, scratch: str) -> None:
        self.live, self.scratch = live, scratch
        self.calls: list[str] = []
        self.full: list[str] = []
        self.fail: tuple[str, ...] = ()

    def __call__(self, argv: Sequence[str], seconds: float) -> Outcome:
        call = " ".join(argv)
        if any(word in call for word in self.fail):
            return Outcome(1, "", "line 7: syntax error")
        if call.startswith("nft --json list"):
            return Outcome(0, self.live, "") if self.live else Outcome(1, "", "No such file")
        if call.startswith("unshare"):
            return Outcome(0, self.scratch, "")
        if "--check" not in call:
            self.calls.append(call.split("/")[0].strip())
            self.full.append(call)
        if call.startswith("nft --file"):
            self.live = self.scratch
        return Outcome(0, "", "")


@pytest.fixture
def node(tmp_path: Path) -> Node:
    found = Node(tmp_path)
    found.prepare()
    return found


def firewall(node: Node, run: FakeNode, tmp_path: Path) -> Firewall:
    return Firewall(node, run, tmp_path)


GOOD = listing(table(), rule(4, 10))


@pytest.mark.parametrize(
    "same",
    [
        listing(table(), rule(9, 10)),
        listing(table(), rule(4, 99999)),
        GOOD.replace('"version": "1.1.3"', '"version": "1.1.4"'),
    ],
)
def test_handles_and_counts_are_no_drift(same: str) -> None:
    assert canonical(same) == canonical(GOOD)


@pytest.mark.req("R6")
@pytest.mark.parametrize(
    "other",
    [
        listing(table(), rule(4, 10, port=22)),
        listing(table(), rule(4, 10), rule(5, 0, port=22)),
        listing(table()),
        listing(table(flags=["dormant"]), rule(4, 10)),
        listing(table(), rule(4, 10), {"chain": {"name": "input", "policy": "accept"}}),
    ],
)
def test_a_rule_changed_added_or_deleted_is_drift(other: str) -> None:
    assert canonical(other) != canonical(GOOD)
    drift = difference(canonical(other), canonical(GOOD))
    assert drift["missing"] or drift["unexpected"]


def test_the_order_of_rules_counts_and_the_order_of_a_set_does_not() -> None:
    first, second = rule(1, 0), rule(2, 0, port=22)
    assert canonical(listing(first, second)) != canonical(listing(second, first))
    one, two = ({"set": {"name": "s", "elem": elem}} for elem in (["a", "b"], ["b", "a"]))
    assert canonical(listing(one)) == canonical(listing(two))


def test_what_a_dynamic_set_learned_is_no_drift_and_what_a_plain_one_holds_is() -> None:
    def with_set(flags: list[str], elem: list[str]) -> str:
        return listing({"set": {"name": "s", "flags": flags, "elem": elem}})

    assert canonical(with_set(["dynamic"], ["x"])) == canonical(with_set(["dynamic"], []))
    assert canonical(with_set(["interval"], ["x"])) != canonical(with_set(["interval"], ["y"]))


def params(text: str = RULES) -> dict[str, Any]:
    return {"text": text, "confirm_seconds": 30}


def test_the_way_back_is_armed_before_anything_is_loaded(node: Node, tmp_path: Path) -> None:
    run = FakeNode(None, GOOD)
    result = apply(firewall(node, run, tmp_path), params(), check=False)
    assert result["changed"]
    assert result["unconfirmed"]
    armed = next(i for i, call in enumerate(run.calls) if call.startswith("systemd-run"))
    loaded = next(i for i, call in enumerate(run.calls) if call.startswith("nft --file"))
    assert armed < loaded
    assert "nft delete table inet paranal" in run.calls[armed]
    assert not node.real(FILE).exists(), "the next boot has the old rules until they are confirmed"


def test_with_rules_from_before_the_way_back_leads_to_them(node: Node, tmp_path: Path) -> None:
    node.real(FILE).parent.mkdir(parents=True)
    node.real(FILE).write_text("old")
    run = FakeNode(listing(table()), GOOD)
    apply(firewall(node, run, tmp_path), params(), check=False)
    assert _armed(run).endswith(f"nft --file {node.real(FILE)}")
    assert node.real(FILE).read_text() == "old"


@pytest.mark.req("B3")
@pytest.mark.parametrize("broken", ["", "table inet par", RULES * 2, None])
def test_the_way_back_does_not_lead_over_a_file_that_a_hand_broke(
    node: Node, tmp_path: Path, broken: str | None
) -> None:
    run = FakeNode(None, GOOD)
    ours = firewall(node, run, tmp_path)
    apply(ours, params(), check=False)
    ours.confirm(RULES)
    node.real(FILE).unlink() if broken is None else node.real(FILE).write_text(broken)
    run.full.clear()
    run.scratch = listing(table(), rule(4, 0, port=22))
    apply(ours, params("other rules\n"), check=False)
    assert _armed(run).endswith(f"nft --file {ours.way_back}")
    assert ours.way_back.read_text() == RULES


@pytest.mark.parametrize("record", ["", "[1]", '{"rules": "x", "text": "y"}'])
def test_a_damaged_record_is_no_way_back_and_no_proof(
    node: Node, tmp_path: Path, record: str
) -> None:
    run = FakeNode(None, GOOD)
    ours = firewall(node, run, tmp_path)
    apply(ours, params(), check=False)
    ours.confirm(RULES)
    ours.record.write_text(record)
    assert ours.confirmed() == ""
    assert probe_firewall(node, run) == {"text": ""}


def _armed(run: FakeNode) -> str:
    """Return the command that armed the way back."""
    return next(call for call in run.full if call.startswith("systemd-run"))


def test_a_confirmed_load_is_the_next_boots_and_disarms(node: Node, tmp_path: Path) -> None:
    run = FakeNode(None, GOOD)
    ours = firewall(node, run, tmp_path)
    apply(ours, params(), check=False)
    ours.confirm(RULES)
    assert node.real(FILE).read_text() == RULES
    assert run.calls[-1] == f"systemctl stop {ROLLBACK_UNIT}.timer {ROLLBACK_UNIT}.service"
    assert read_json(ours.record) == {
        "rules": RULES,
        "text": digest(RULES),
        "live": canonical(GOOD).digest,
    }
    again = apply(ours, params(), check=False)
    assert not again["changed"]
    assert not again["unconfirmed"]


def test_rules_that_went_back_cannot_be_confirmed(node: Node, tmp_path: Path) -> None:
    run = FakeNode(None, GOOD)
    ours = firewall(node, run, tmp_path)
    apply(ours, params(), check=False)
    run.live = listing(table())
    with pytest.raises(Refused, match="PAR-0713"):
        ours.confirm(RULES)
    assert not node.real(FILE).exists()


def test_a_timer_faster_than_its_end_is_noticed(node: Node, tmp_path: Path) -> None:
    """The node goes back between the look and the end of the timer: nothing is confirmed."""
    run = FakeNode(None, GOOD)
    ours = firewall(node, run, tmp_path)
    apply(ours, params(), check=False)

    def faster(argv: Sequence[str], seconds: float) -> Outcome:
        if argv[:2] == ["systemctl", "stop"]:
            run.live = listing(table())
        return run(argv, seconds)

    with pytest.raises(Refused, match="PAR-0713"):
        Firewall(node, faster, tmp_path).confirm(RULES)
    assert read_json(ours.record) is None


def test_a_rule_file_that_is_no_text_any_more_is_put_right(node: Node, tmp_path: Path) -> None:
    node.real(FILE).parent.mkdir(parents=True)
    node.real(FILE).write_bytes(b"table \xff")
    run = FakeNode(GOOD, GOOD)
    ours = firewall(node, run, tmp_path)
    assert probe_firewall(node, run) == {"text": ""}
    assert apply(ours, params(), check=True)["changed"]
    apply(ours, params(), check=False)
    assert node.real(FILE).read_text() == RULES


def test_check_mode_tells_all_of_a_node_that_has_no_nft_yet(node: Node, tmp_path: Path) -> None:
    def bare(argv: Sequence[str], seconds: float) -> Outcome:
        return Outcome(127, "", f"{argv[0]}: program not found")

    ours = Firewall(node, bare, tmp_path)
    result = apply(ours, params(), check=True)
    assert (result["changed"], result["unconfirmed"]) == (True, False)
    assert [(one["before"], one["after"]) for one in result["diff"]] == [("", RULES)]
    with pytest.raises(Refused, match=r"PAR-0711.*program not found"):
        apply(ours, params(), check=False)


@pytest.mark.parametrize(
    ("fail", "code"), [("--check", "0711"), ("unshare", "0711"), ("systemd-run", "0712")]
)
def test_a_refusal_leaves_everything(node: Node, tmp_path: Path, fail: str, code: str) -> None:
    run = FakeNode(listing(table()), GOOD)
    run.fail = (fail,)
    with pytest.raises(Refused, match=f"PAR-{code}"):
        apply(firewall(node, run, tmp_path), params(), check=False)
    assert not [call for call in run.calls if call.startswith("nft --file")]


def test_check_mode_compares_and_loads_nothing(node: Node, tmp_path: Path) -> None:
    run = FakeNode(listing(table()), GOOD)
    result = apply(firewall(node, run, tmp_path), params(), check=True)
    assert result["changed"]
    assert not result["unconfirmed"]
    assert run.calls == []
    assert {entry["before_header"] for entry in result["diff"]} == {
        FILE,
        "nft list table inet paranal",
    }


def test_the_probe_believes_only_what_it_can_prove(node: Node, tmp_path: Path) -> None:
    run = FakeNode(None, GOOD)
    assert probe_firewall(node, run) == {"text": ""}
    ours = firewall(node, run, tmp_path)
    apply(ours, params(), check=False)
    ours.confirm(RULES)
    assert probe_firewall(node, run) == {"text": digest(RULES)}
    run.live = listing(table(), rule(4, 10), rule(5, 0, port=22))
    assert probe_firewall(node, run) == {"text": ""}
    run.live = GOOD
    node.real(FILE).write_text(RULES + "# edited\n")
    assert probe_firewall(node, run) == {"text": ""}


def test_a_refusal_of_the_node_reaches_the_operator_in_words_and_without_a_trace() -> None:
    params = {"where": FILE, "reason": "line 7"}
    refusal = {"code": "PAR-0711", "params": params}
    action: Any = object.__new__(ActionModule)
    action._execute_module = lambda *_, **__: {
        "failed": True,
        "msg": "PAR-0711 {}",
        "exception": "PAR-0711 {}",
        "refusal": refusal,
    }
    answer = action._module({}, {})
    assert answer == {"failed": True, "msg": str(Refusal("PAR-0711", **params))}


@pytest.mark.parametrize(
    ("probed", "after", "holds"),
    [
        (digest(RULES), [], True),
        (digest(RULES), [{"changed": False}], True),
        (digest(RULES), [{"changed": True}], False),
        ("", [], False),
        (digest("other"), [], False),
    ],
)
def test_no_module_runs_only_when_the_probe_proves_it(
    probed: str, after: list[dict[str, bool]], holds: bool
) -> None:
    assert proven({"firewall": {"text": probed}}, RULES, after) is holds
