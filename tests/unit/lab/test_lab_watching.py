"""When the mesh was whole, from accounts of both ends; and the pump over the loopback."""

from __future__ import annotations

import json
import subprocess
import sys
from math import inf
from typing import Any

import pytest

from paranal.lab import pump
from paranal.lab.watching import Account, Pair, whole, whole_since

PAIR = Pair("co", "pe", frozenset({"operational", "strategic"}))
OURS = [["operational", "c1", "d1"], ["strategic", "c2", "d2"]]
THEIRS = [["operational", "d1", "c1"], ["strategic", "d2", "c2"]]
RENEWED = [["operational", "c1", "d1"], ["strategic", "c3", "d3"]]


def accounts(co: list[tuple[float, Any]], pe: list[tuple[float, Any]]) -> dict[str, Account]:
    return {
        "co": Account("gw.co", [(at, {"charon": 0.0, "sas": {"gw.pe": held}}) for at, held in co]),
        "pe": Account("gw.pe", [(at, {"charon": 0.0, "sas": {"gw.co": held}}) for at, held in pe]),
    }


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        (OURS, THEIRS, True),
        (OURS, THEIRS[:1], False),
        (OURS, OURS, False),
        (RENEWED, THEIRS, False),
        ([*OURS, *RENEWED], THEIRS, True),
        ([], [], False),
    ],
)
def test_a_pair_is_whole_when_both_ends_hold_the_same_of_each_channel(
    ours: list[list[str]], theirs: list[list[str]], expected: bool
) -> None:
    assert whole(PAIR, accounts([(1, ours)], [(1, theirs)]), 2) is expected


def test_nothing_is_whole_before_anybody_said_so() -> None:
    assert not whole(PAIR, accounts([(1, OURS)], [(1, THEIRS)]), 0.5)


def test_whole_counts_from_the_later_of_two_ends() -> None:
    assert whole_since([PAIR], accounts([(1, OURS)], [(3, THEIRS)]), 0) == 3


def test_only_what_lasts_to_the_end_counts() -> None:
    flapping = accounts([(1, OURS), (5, []), (6, RENEWED), (7, OURS)], [(1, THEIRS)])
    assert whole_since([PAIR], flapping, 0) == 7
    assert whole_since([PAIR], accounts([(1, OURS), (5, [])], [(1, THEIRS)]), 0) is None


def test_what_was_whole_before_the_event_counts_from_the_event() -> None:
    assert whole_since([PAIR], accounts([(1, OURS)], [(1, THEIRS)]), 4) == 4


def test_a_daemon_is_gone_from_when_its_gateway_no_longer_finds_it() -> None:
    silent: dict[str, Any] = {"charon": None, "sas": {}}
    account = Account("gw.co", [(1, silent), (2, {"charon": 1.5, "sas": {}}), (5, silent)])
    assert [account.gone(after) for after in (0, 2, 5)] == [1, 5, inf]


def test_one_broken_pair_breaks_the_mesh() -> None:
    known = accounts([(1, OURS)], [(1, THEIRS)]) | {"mx": Account("gw.mx")}
    assert whole_since([PAIR, Pair("co", "mx", PAIR.channels)], known, 0) is None


def test_the_pump_measures_what_arrived() -> None:
    program = [sys.executable, "-I", pump.__file__]
    with subprocess.Popen(  # noqa: S603 - our own program
        [*program, json.dumps({"serve": ["127.0.0.1", 47_445]})], stdout=subprocess.PIPE
    ) as serving:
        assert serving.stdout is not None
        serving.stdout.readline()
        given = {"call": ["127.0.0.1", 47_445], "source": "127.0.0.1", "trips": 20, "seconds": 0.2}
        done = subprocess.run(  # noqa: S603 - our own program
            [*program, json.dumps(given)], capture_output=True, check=True, timeout=20
        )
    assert serving.returncode == 0
    found = json.loads(done.stdout)
    assert 0 < found["rtt_ms"] < 1000
    assert found["mbit_s"] > 1
