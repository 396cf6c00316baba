"""When a packet leaves the relay: a pure function of its arrival, the line and chance."""

from __future__ import annotations

import json
from ipaddress import ip_address
from random import Random

import pytest

from paranal.lab.relay import HOLD_BACK_SECONDS, Impairment, addresses, read_settings, schedule

PERFECT = Impairment()
CHANCE = Random(1)  # noqa: S311 - a repeatable line, not a secret


WRONG = ("[]", "{", '{"lag": 1}', '{"loss": "much"}', '{"loss": 1.5}', '{"delay_ms": -1}', "7")


def _many(line: Impairment, count: int = 4000) -> list[list[float]]:
    chance = Random(7)  # noqa: S311 - a repeatable line, not a secret
    previous, all_times = 0.0, []
    for number in range(count):
        times, previous = schedule(number / 1000, previous, line, chance)
        all_times.append(times)
    return all_times


def test_a_perfect_line_delivers_at_once() -> None:
    assert PERFECT.clear
    assert schedule(5.0, 0.0, PERFECT, CHANCE) == ([5.0], 5.0)


def test_delay_is_one_way_and_exact() -> None:
    times, _ = schedule(5.0, 0.0, Impairment(delay_ms=40), CHANCE)
    assert times == [pytest.approx(5.040)]


@pytest.mark.parametrize("share", [0.0, 0.05, 0.3, 1.0])
def test_loss_takes_its_share(share: float) -> None:
    lost = sum(not times for times in _many(Impairment(loss=share))) / 4000
    assert lost == pytest.approx(share, abs=0.02)


def test_a_lost_packet_does_not_hold_up_the_next() -> None:
    _, previous = schedule(5.0, 1.0, Impairment(delay_ms=40, loss=1.0), CHANCE)
    assert previous == 1.0


def test_jitter_swings_and_keeps_the_order() -> None:
    leaves = [times[0] for times in _many(Impairment(delay_ms=40, jitter_ms=10))]
    assert leaves == sorted(leaves)
    waits = [leave - number / 1000 for number, leave in enumerate(leaves)]
    assert min(waits) >= 0.030 - 1e-9
    assert 0.045 < max(waits) <= 0.050 + 1e-9


def test_jitter_never_delivers_before_arrival() -> None:
    leaves = [times[0] for times in _many(Impairment(delay_ms=1, jitter_ms=10))]
    assert all(leave >= number / 1000 for number, leave in enumerate(leaves))


def test_reorder_lets_the_next_overtake() -> None:
    line = Impairment(delay_ms=40, reorder=0.1)
    leaves = [times[0] for times in _many(line)]
    assert leaves != sorted(leaves)
    held = sum(leave - n / 1000 > 0.040 + HOLD_BACK_SECONDS / 2 for n, leave in enumerate(leaves))
    assert held / 4000 == pytest.approx(0.1, abs=0.02)


def test_duplicate_delivers_twice() -> None:
    counts = [len(times) for times in _many(Impairment(duplicate=0.25))]
    assert set(counts) == {1, 2}
    assert counts.count(2) / 4000 == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize(
    ("first", "before", "source", "target"),
    [(0x45, 11, "203.0.113.34", "198.51.100.18"), (0x60, 7, "2001:db8:51::2", "2001:db8:56::2")],
)
def test_a_direction_is_both_addresses_of_either_family(
    first: int, before: int, source: str, target: str
) -> None:
    both = ip_address(source).packed + ip_address(target).packed
    assert addresses(bytes([first]) + bytes(before) + both + b"payload") == both


def test_settings_are_read() -> None:
    assert read_settings(json.dumps({"delay_ms": 40, "loss": 0.1})) == Impairment(40.0, loss=0.1)


@pytest.mark.parametrize("text", ["", *WRONG])
def test_wrong_settings_are_refused(text: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        read_settings(text)
