"""An ``up`` that is interrupted at any moment leaves nothing that the next run cannot clear."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from paranal.lab import Lab, engine, lock, lowering, names, raising, report
from paranal.lab.docker import Container
from paranal.lab.home import ROOT
from paranal.lab.wish import Wish

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a lab needs root")

SCRIPT = ROOT / "scripts" / "lab"
NAME = "t-break"
MEMBERS = ("pe",)


@pytest.fixture(scope="module")
def image() -> None:
    """Build the image beforehand: the moments that count are those with containers about."""
    built = Lab(NAME)
    lowering.down(built)
    raising.up(built, Wish(members=MEMBERS), os.getpid())
    lowering.down(built)


@pytest.fixture
def lab(image: None) -> Iterator[Lab]:
    broken = Lab(NAME)
    yield broken
    lowering.down(broken)
    assert not _left(broken)


def _left(lab: Lab) -> list[str]:
    docker = engine.find()
    left = sorted(docker.containers(lab.name)) if docker else []
    links = subprocess.run(["/usr/sbin/ip", "-br", "link"], capture_output=True, check=True).stdout
    if names.host_link(lab.name, "").encode() in links:
        left.append("link")
    if lab.home.folder.exists():
        left.append(str(lab.home.folder))
    return left


def _folder(lab: Lab) -> bool:
    return lab.home.folder.exists()


def _namespace(lab: Lab) -> bool:
    return names.pause(lab.name, "pe") in _present(lab)


def _node(lab: Lab) -> bool:
    node = _present(lab).get(names.container(lab.name, "pe"))
    return node is not None and node.running


def _present(lab: Lab) -> dict[str, Container]:
    docker = engine.find()
    return docker.containers(lab.name) if docker else {}


def _interrupt(lab: Lab, kind: signal.Signals, moment: Callable[[Lab], bool]) -> None:
    """Start an ``up``, and send it a signal as soon as the moment has come."""
    command = [str(SCRIPT), "--name", NAME, "up", "--members", ",".join(MEMBERS)]
    deadline = time.monotonic() + 60
    with subprocess.Popen(command, stderr=subprocess.PIPE) as up:  # noqa: S603
        while not moment(lab):
            assert up.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        up.send_signal(kind)
        up.communicate(timeout=60)
    assert up.returncode != 0
    assert _left(lab), "there was nothing to clear"


@pytest.mark.parametrize(
    ("kind", "moment"),
    [
        (signal.SIGKILL, _folder),
        (signal.SIGKILL, _namespace),
        (signal.SIGINT, _namespace),
        (signal.SIGTERM, _node),
    ],
)
def test_down_clears_what_is_left(
    lab: Lab, kind: signal.Signals, moment: Callable[[Lab], bool]
) -> None:
    _interrupt(lab, kind, moment)
    lowering.down(lab)
    assert not _left(lab)


@pytest.mark.parametrize("moment", [_namespace, _node])
def test_up_clears_what_is_left(lab: Lab, moment: Callable[[Lab], bool]) -> None:
    _interrupt(lab, signal.SIGKILL, moment)
    raising.up(lab, Wish(members=MEMBERS), os.getpid())
    assert report.status(lab)["members"]["pe"]["state"] == "running"


def test_gc_clears_what_a_dead_owner_left_and_nothing_else(lab: Lab) -> None:
    def collected(older_than: timedelta) -> list[str]:
        return lowering.collect_garbage(older_than, only=[NAME])

    with subprocess.Popen(["/bin/sleep", "600"]) as owner:
        raising.up(lab, Wish(members=MEMBERS), owner.pid)
        assert collected(timedelta(0)) == [], "its owner lives"
        owner.kill()
    assert collected(timedelta(hours=1)) == [], "it is young"
    with lock.hold(f"lab/{NAME}"):
        assert collected(timedelta(0)) == [], "someone is operating it"
    assert _left(lab)
    assert collected(timedelta(0)) == [NAME]
    assert not _left(lab)
