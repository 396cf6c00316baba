"""Locks that vanish with their holder, and owners that are not mistaken for another process."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from paranal.lab import lock, owner
from paranal.lab.lowering import Listed

NAME = f"unit/{os.getpid()}"
HOLD = (
    "import sys, time\n"
    "from paranal.lab import lock\n"
    f"with lock.hold({NAME!r}):\n"
    "    print('held', flush=True)\n"
    "    time.sleep(60)\n"
)


def test_a_lock_is_free_again_after_its_holder() -> None:
    assert lock.holder(NAME) is None
    with lock.hold(NAME):
        assert lock.holder(NAME) == os.getpid()
        assert lock.held("unit/") >= {NAME}
    assert lock.holder(NAME) is None
    assert NAME not in lock.held("unit/")


def test_a_held_lock_names_its_holder_and_dies_with_it() -> None:
    command = [sys.executable, "-c", HOLD]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:  # noqa: S603 - our own words
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(lock.Held) as refused, lock.hold(NAME):
            pytest.fail("two held one lock")
        assert refused.value.pid == other.pid
        other.kill()
        other.wait()
        with lock.hold(NAME):
            assert lock.holder(NAME) == os.getpid()


def test_a_child_that_was_given_the_lock_keeps_it() -> None:
    with lock.hold(NAME) as descriptor:
        child = subprocess.Popen(["/bin/sleep", "60"], pass_fds=(descriptor,))
    assert lock.holder(NAME) == os.getpid()
    child.kill()
    child.wait()
    assert lock.holder(NAME) is None


def test_an_owner_is_alive_until_it_ends() -> None:
    child = subprocess.Popen(["/bin/sleep", "60"])
    mark = owner.owner(child.pid)
    assert owner.is_alive(mark)
    child.kill()
    child.wait()
    assert not owner.is_alive(mark)


def test_a_reused_process_id_is_another_owner() -> None:
    pid, start = owner.owner(os.getpid()).split(":")
    assert not owner.is_alive(f"{pid}:{int(start) + 1}")
    assert not owner.is_alive("nonsense")


@pytest.mark.parametrize(
    ("alive", "operated", "hours", "abandoned"),
    [
        (False, False, 3, True),
        (False, False, 1, False),
        (True, False, 3, False),
        (False, True, 3, False),
    ],
)
def test_abandoned(alive: bool, operated: bool, hours: int, abandoned: bool) -> None:
    now = datetime(2026, 11, 23, 12, tzinfo=UTC)
    lab = Listed("a", "/", ("pe",), 1, 1, now - timedelta(hours=hours), alive, operated)
    assert lab.abandoned(timedelta(hours=2), now) is abandoned
