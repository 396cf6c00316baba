"""The line before there are keys, on a real kernel: both ends run, and each fault is told."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from tests.service.namespaces import ENDS, Namespaces, routed

ROOT = Path(__file__).parents[2]
PARTS = ("client", "server")
ALL_WELL, NOT_WELL, NOT_TOLD = 0, 1, 2
END = """
import sys, time
from paranal import cli
from paranal.precheck import cli as precheck
from paranal.precheck import run
from paranal.precheck.run import exchange
run.TICK_SECONDS = 0.1
ahead = int(sys.argv.pop(1)) * 10**9
precheck.exchange = lambda *all: exchange(*all, now=lambda: time.time_ns() + ahead)
sys.exit(cli.main())
"""
"""An end in a hurry; its first argument is by how many seconds its clock is wrong."""
HOLD = """
import socket, sys
line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
line.bind(("", 4500))
print("bound", flush=True)
sys.stdin.read()
"""
GARBAGE = """
import os, socket, sys
line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
line.bind((sys.argv[1], int(sys.argv[3])))
for number in range(3000):
    line.sendto(os.urandom(number % 1400), (sys.argv[2], 500))
"""
Answer = tuple[int, dict[str, Any]]


@pytest.fixture(scope="module")
def spaces() -> Iterator[Namespaces]:
    with routed("pre") as made:
        yield made


def started(
    spaces: Namespaces, side: int, seconds: float, family: int = 4, ahead: int = 0
) -> subprocess.Popen[str]:
    local, peer = ENDS[family][side], ENDS[family][1 - side]
    where = ("--local", local, "--peer", peer, "--seconds", str(seconds))
    words = (str(ahead), "precheck", *where, "--esp", "--json")
    command = spaces.words(PARTS[side], sys.executable, "-c", END, *words)
    return subprocess.Popen(  # noqa: S603 - our own words
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )


def ended(running: subprocess.Popen[str]) -> Answer:
    said, told = running.communicate(timeout=90)
    assert said, told
    return running.returncode, json.loads(said)


def both(spaces: Namespaces, seconds: float, family: int = 4, ahead: int = 0) -> list[Answer]:
    ends = [
        started(spaces, side, seconds, family, ahead if side else 0) for side in range(len(PARTS))
    ]
    return [ended(each) for each in ends]


def verdicts(answer: Answer) -> dict[tuple[str, str | None], str]:
    return {(each["name"], each["way"]): each["verdict"] for each in answer[1]["checks"]}


def value(answer: Answer, name: str, way: str | None, key: str) -> Any:  # noqa: ANN401 - JSON
    (found,) = (
        each[key] for each in answer[1]["checks"] if (each["name"], each["way"]) == (name, way)
    )
    return found


def codes(answer: Answer) -> set[str]:
    return {each["finding"]["code"] for each in answer[1]["checks"] if each["finding"]}


@contextmanager
def dropped(spaces: Namespaces, rule: str) -> Iterator[None]:
    """Let the router between them drop what a rule names."""
    text = f"table inet lost {{ chain c {{ type filter hook forward priority 0; {rule} drop\n}}\n}}"
    spaces.run("wan", "nft", "-f", "-", given=text)
    try:
        yield
    finally:
        spaces.run("wan", "nft", "delete", "table", "inet", "lost")


@contextmanager
def narrow(spaces: Namespaces, octets: int) -> Iterator[None]:
    """Narrow the router's link to the server; the ends' own stay as wide as they were.

    What comes in by it may be four octets longer: a veth leaves room for a VLAN's tag.
    """
    spaces.run("wan", "ip", "link", "set", "w-server", "mtu", str(octets))
    try:
        yield
    finally:
        spaces.run("wan", "ip", "link", "set", "w-server", "mtu", "1500")


@contextmanager
def silent(spaces: Namespaces) -> Iterator[None]:
    """Let the router say nothing by ICMP of what does not fit."""
    rule = "icmp type destination-unreachable drop; icmpv6 type packet-too-big drop;"
    text = f"table inet silent {{ chain c {{ type filter hook output priority 0; {rule}\n}}\n}}"
    spaces.run("wan", "nft", "-f", "-", given=text)
    try:
        yield
    finally:
        spaces.run("wan", "nft", "delete", "table", "inet", "silent")


@pytest.mark.req("B1")
@pytest.mark.parametrize("family", [4, 6])
def test_a_line_that_serves_is_told_by_both_ends_at_once(spaces: Namespaces, family: int) -> None:
    for answer in both(spaces, 30, family):
        assert answer[0] == ALL_WELL, answer
        assert set(verdicts(answer).values()) == {"pass"}
        for way in ("in", "out"):
            assert value(answer, "MTU", way, "octets") == 1500
        assert abs(value(answer, "clock", None, "ahead")) < 0.1


@pytest.mark.req("B1")
@pytest.mark.parametrize(
    ("rule", "name", "family"),
    [
        ("udp dport 500", "UDP 500", 4),
        ("udp dport 4500", "UDP 4500", 6),
        ("meta l4proto esp", "ESP", 4),
        ("meta l4proto esp", "ESP", 6),
    ],
)
def test_what_is_blocked_one_way_is_told_with_its_way_by_both(
    spaces: Namespaces, rule: str, name: str, family: int
) -> None:
    with dropped(spaces, f'iifname "w-client" {rule}'):
        client, server = both(spaces, 3, family)
    assert (client[0], server[0]) == (NOT_WELL, NOT_WELL)
    for answer, way, code in ((client, "out", "PAR-1021"), (server, "in", "PAR-1020")):
        carriers = {
            key: verdict
            for key, verdict in verdicts(answer).items()
            if key[0] in ("UDP 500", "UDP 4500", "ESP")
        }
        assert carriers.pop((name, way)) == "fail"
        assert set(carriers.values()) == {"pass"}
        assert code in codes(answer)


@pytest.mark.req("B1")
def test_where_nothing_comes_back_no_end_claims_to_know_what_arrives(spaces: Namespaces) -> None:
    with dropped(spaces, 'iifname "w-client" meta l4proto { udp, esp }'):
        client, server = both(spaces, 4)
    assert (client[0], server[0]) == (NOT_WELL, NOT_WELL)
    assert {verdicts(server)[name, "in"] for name in ("UDP 500", "UDP 4500", "ESP")} == {"fail"}
    assert {verdicts(server)[name, "out"] for name in ("UDP 500", "UDP 4500")} == {"unknown"}
    assert {verdicts(client)[name, "in"] for name in ("UDP 500", "UDP 4500")} == {"pass"}
    assert {verdicts(client)[name, "out"] for name in ("UDP 500", "UDP 4500")} == {"fail"}
    assert {"PAR-1022", "PAR-1028"} <= codes(server)


@pytest.mark.req("B1")
@pytest.mark.parametrize(
    ("octets", "family", "hole"), [(1280, 4, False), (1280, 6, True), (1437, 4, True)]
)
def test_the_path_mtu_is_found_also_where_no_icmp_comes_back(
    spaces: Namespaces, octets: int, family: int, hole: bool
) -> None:
    with narrow(spaces, octets), silent(spaces) if hole else nullcontext():
        client, server = both(spaces, 30, family)
    assert (client[0], server[0]) == (ALL_WELL, ALL_WELL)
    assert value(client, "MTU", "out", "octets") == octets
    assert value(server, "MTU", "in", "octets") == octets


@pytest.mark.req("B1")
def test_a_line_too_narrow_for_a_tunnel_is_told(spaces: Namespaces) -> None:
    with narrow(spaces, 1200):
        client, server = both(spaces, 30)
    assert (client[0], server[0]) == (NOT_WELL, NOT_WELL)
    assert value(client, "MTU", "out", "octets") == 1200
    assert value(server, "MTU", "in", "octets") == 1200
    for answer in (client, server):
        assert codes(answer) == {"PAR-1025", "PAR-1026"}


@pytest.mark.req("B1")
@pytest.mark.parametrize(("ahead", "status"), [(7, NOT_WELL), (-6, NOT_WELL), (4, ALL_WELL)])
def test_a_clock_that_is_wrong_is_told_with_its_side(
    spaces: Namespaces, ahead: int, status: int
) -> None:
    client, server = both(spaces, 30, ahead=ahead)
    assert (client[0], server[0]) == (status, status)
    assert value(client, "clock", None, "ahead") == pytest.approx(ahead, abs=0.1)
    assert value(server, "clock", None, "ahead") == pytest.approx(-ahead, abs=0.1)
    assert codes(client) == ({"PAR-1023"} if status else set())


def test_it_refuses_where_somebody_holds_a_port(spaces: Namespaces) -> None:
    words = spaces.words("client", sys.executable, "-c", HOLD)
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True) as charon:  # noqa: S603 - ours
        assert charon.stdout is not None
        assert charon.stdout.readline() == "bound\n"
        status, said = ended(started(spaces, 0, 2))
        charon.communicate("")
    assert (status, said["refusal"]["code"]) == (3, "PAR-1011")


def test_an_address_that_is_not_ours_is_refused(spaces: Namespaces) -> None:
    words = ("precheck", "--local", ENDS[4][1], "--peer", "198.51.100.34", "--json")
    command = spaces.words("client", sys.executable, "-m", "paranal", *words)
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)  # noqa: S603
    assert (done.returncode, json.loads(done.stdout)["refusal"]["code"]) == (3, "PAR-1012")


def test_garbage_from_the_peer_and_from_others_changes_nothing(spaces: Namespaces) -> None:
    local, peer = ENDS[4]
    ends = [started(spaces, side, 30) for side in range(len(PARTS))]
    # The server's address from another port, and the router's own: neither is the declared peer.
    spaces.run("server", sys.executable, "-c", GARBAGE, peer, local, "5000")
    spaces.run("wan", sys.executable, "-c", GARBAGE, "198.51.100.17", local, "500")
    for running in ends:
        assert ended(running)[0] == ALL_WELL


def test_without_the_other_end_nothing_is_known_to_serve(spaces: Namespaces) -> None:
    answer = ended(started(spaces, 0, 2))
    assert answer[0] == NOT_WELL
    assert "pass" not in verdicts(answer).values()
    assert {"PAR-1022", "PAR-1028"} <= codes(answer)
