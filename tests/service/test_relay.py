"""The relay on a real kernel: what passes a WAN is late by what was asked, in both families."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from paranal.lab import relay

ENDS = {4: ("198.51.100.18", "203.0.113.18"), 6: ("2001:db8:1::18", "2001:db8:2::18")}
ROUTERS = {4: ("198.51.100.17", "203.0.113.17"), 6: ("2001:db8:1::17", "2001:db8:2::17")}
LENGTHS = {4: 28, 6: 64}
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
    line.settimeout(0.5)
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
In = Callable[..., str]


def _run(*words: str) -> str:
    done = subprocess.run(  # noqa: S603 - our own words
        words, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (words, done.stderr, done.stdout)
    return done.stdout


@pytest.fixture(scope="module")
def within() -> Iterator[In]:
    """Run words in ``one`` or ``other``, which reach each other through ``wan``."""
    spaces = {part: f"relay-{part}-{os.getpid()}" for part in ("one", "other", "wan")}

    def run(part: str, *words: str) -> str:
        return _run("ip", "netns", "exec", spaces[part], *words)

    for space in spaces.values():
        _run("ip", "netns", "add", space)
        _run("ip", "netns", "exec", space, "sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
    try:
        forwarding = ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        filters = ("net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0")
        run("wan", "sysctl", "-qw", *forwarding, *filters)
        for side, part in enumerate(("one", "other")):
            link = f"{relay.LINK_PREFIX}{part}"
            pair = ("type", "veth", "peer", "name", "wan", "netns", spaces[part])
            run("wan", "ip", "link", "add", link, *pair)
            run("wan", "ip", "link", "set", link, "up")
            run(part, "ip", "link", "set", "wan", "up")
            for family, bits in LENGTHS.items():
                near, far = ROUTERS[family][side], ENDS[family][side]
                nodad = ("nodad",) if family == 6 else ()
                run("wan", "ip", "address", "add", f"{near}/{bits}", "dev", link, *nodad)
                run(part, "ip", "address", "add", f"{far}/{bits}", "dev", "wan", *nodad)
                run(part, "ip", f"-{family}", "route", "add", "default", "via", near)
        yield run
    finally:
        for space in spaces.values():
            _run("ip", "netns", "del", space)


@pytest.fixture(scope="module")
def impair(within: In, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., None]]:
    """Set the line as the relay that runs in ``wan`` is told."""
    folder = tmp_path_factory.mktemp("relay")
    shutil.copy(str(relay.__file__), folder)
    space = within("wan", "ip", "netns", "identify").strip()
    control = folder / relay.SOCKET_NAME

    def set_line(**line: float) -> None:
        with socket.socket(socket.AF_UNIX) as asked:
            asked.connect(str(control))
            asked.sendall(json.dumps(line).encode() + b"\n")
            state = json.loads(asked.makefile("r", encoding="utf-8").readline())
        assert "error" not in state, state

    words = ("ip", "netns", "exec", space, sys.executable, "-I", str(folder / "relay.py"))
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


def _trips(within: In, family: int) -> list[float]:
    """Return the round trips (milliseconds) of the questions that came back, one after another."""
    target = ENDS[family][1]
    space = within("other", "ip", "netns", "identify").strip()
    words = ("ip", "netns", "exec", space, sys.executable, "-c", ECHO, target)
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as echo:  # noqa: S603 - ours
        try:
            assert echo.stdout is not None
            assert echo.stdout.readline() == "bound\n"
            told = within("one", sys.executable, "-c", ASK, target, str(TRIPS))
            found: list[float] = json.loads(told)
            return found
        finally:
            echo.terminate()


@pytest.mark.req("R6", "B4")
@pytest.mark.parametrize("family", [4, 6])
def test_each_way_is_late_by_what_was_asked_and_by_nothing_before_and_after(
    within: In, impair: Callable[..., None], family: int
) -> None:
    assert max(_trips(within, family)) < 40
    impair(delay_ms=40)
    late = _trips(within, family)
    impair()
    assert len(late) == TRIPS
    assert 80 <= min(late) < 120
    assert max(_trips(within, family)) < 40


@pytest.mark.req("R6", "B4")
@pytest.mark.parametrize("family", [4, 6])
def test_a_line_that_loses_everything_passes_nothing(
    within: In, impair: Callable[..., None], family: int
) -> None:
    impair(loss=1.0)
    assert _trips(within, family) == []
    impair()
    assert len(_trips(within, family)) == TRIPS
