"""The relay on a real kernel: what passes a WAN is late by what was asked, in both families."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from paranal.lab import relay
from tests.service.namespaces import ENDS, Namespaces, routed

READY_SECONDS = 10
TRIPS = 10
ECHO = """
import socket, sys
with socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, 2) as line:
    line.bind((sys.argv[1], 9))
    print("bound", flush=True)
    while True:
        line.sendto(*line.recvfrom(64))
"""
ASK = """
import json, socket, sys, time
seen = []
with socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, 2) as line:
    line.settimeout(0.2)
    line.connect((sys.argv[1], 9))
    for number in range(int(sys.argv[2]) + 1):
        begun = time.monotonic()
        line.send(bytes([number]))
        try:
            while line.recv(64) != bytes([number]):
                pass
            seen.append((number, (time.monotonic() - begun) * 1000))
        except TimeoutError:
            pass
print(json.dumps([late for number, late in seen if number]))  # the first waits for neighbours
"""
Impair = Callable[..., None]


@pytest.fixture(scope="module")
def spaces() -> Iterator[Namespaces]:
    with routed("relay") as made:
        yield made


@pytest.fixture(scope="module")
def impair(spaces: Namespaces, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Impair]:
    """Set the line as the relay that runs in ``wan`` is told."""
    folder = tmp_path_factory.mktemp("relay")
    shutil.copy(str(relay.__file__), folder)
    control = folder / relay.SOCKET_NAME

    def set_line(**line: float) -> None:
        with socket.socket(socket.AF_UNIX) as asked:
            asked.connect(str(control))
            asked.sendall(json.dumps(line).encode() + b"\n")
            state = json.loads(asked.makefile("r", encoding="utf-8").readline())
        assert "error" not in state, state

    words = spaces.words("wan", sys.executable, "-I", str(folder / "relay.py"))
    with subprocess.Popen(words) as running:  # noqa: S603 - our own words
        try:
            deadline = time.monotonic() + READY_SECONDS
            while not control.exists():
                assert running.poll() is None, "the relay ended"
                assert time.monotonic() < deadline, "the relay does not listen"
                time.sleep(0.05)
            yield set_line
        finally:
            running.terminate()


def _trips(spaces: Namespaces, family: int) -> list[float]:
    """Return the round trips (milliseconds) of the questions that came back, one after another."""
    target = ENDS[family][1]
    words = spaces.words("server", sys.executable, "-c", ECHO, target)
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as echo:  # noqa: S603 - ours
        try:
            assert echo.stdout is not None
            assert echo.stdout.readline() == "bound\n"
            told = spaces.run("client", sys.executable, "-c", ASK, target, str(TRIPS))
            found: list[float] = json.loads(told)
            return found
        finally:
            echo.terminate()


@pytest.mark.req("R6", "B4")
@pytest.mark.parametrize("family", [4, 6])
def test_each_way_is_late_by_what_was_asked_and_by_nothing_before_and_after(
    spaces: Namespaces, impair: Impair, family: int
) -> None:
    assert max(_trips(spaces, family)) < 40
    impair(delay_ms=40)
    late = _trips(spaces, family)
    impair()
    assert len(late) == TRIPS
    assert 80 <= min(late) < 120
    assert max(_trips(spaces, family)) < 40


@pytest.mark.req("R6", "B4")
@pytest.mark.parametrize("family", [4, 6])
def test_a_line_that_loses_everything_passes_nothing(
    spaces: Namespaces, impair: Impair, family: int
) -> None:
    impair(loss=1.0)
    assert _trips(spaces, family) == []
    impair()
    assert len(_trips(spaces, family)) == TRIPS
