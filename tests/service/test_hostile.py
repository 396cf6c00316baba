"""Hostile packets and edits on a real kernel, in namespaces of our own: client, WAN, server.

What a gateway must drop is dropped by its kernel here already; what it must put together arrives.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from paranal.lab import hostile, packets, tampering
from tests.service.namespaces import ENDS, Namespaces, routed

SRC = Path(__file__).parents[2] / "src"
COOKIE = bytes.fromhex("2100 0020 0000 4006") + bytes(range(24))
"""The notification that a request begins with once it was asked for (RFC 7296, 2.6 and 3.10)."""
RECEIVE = """
import json, socket, sys
six = ":" in sys.argv[1]
with socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM) as line:
    line.bind((sys.argv[1], 500))
    print("bound", flush=True)
    sys.stdin.read()  # until all is sent
    line.settimeout(0.1)
    seen = []
    try:
        while True:
            seen.append(line.recv(65535).hex())
    except TimeoutError:
        print(json.dumps(seen))
"""
SEND = """
import socket, sys
six = ":" in sys.argv[1]
with socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM) as line:
    line.sendto(bytes.fromhex(sys.argv[2]), (sys.argv[1], 500))
"""


@pytest.fixture(scope="module")
def spaces() -> Iterator[Namespaces]:
    with routed("hostile") as made:
        yield made


def _received(spaces: Namespaces, family: int, act: Callable[[], object]) -> list[bytes]:
    """Return the datagrams that reach the server's port 500 of what ``act`` sends."""
    words = spaces.words("server", sys.executable, "-c", RECEIVE, ENDS[family][1])
    with subprocess.Popen(  # noqa: S603 - our own words
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "bound\n"
        act()
        told, _ = server.communicate()
        return [bytes.fromhex(one) for one in json.loads(told)]


def _sent(spaces: Namespaces, family: int, octets: bytes) -> list[bytes]:
    """Return what the server receives of one datagram of the client."""
    words = (sys.executable, "-c", SEND, ENDS[family][1], octets.hex())
    return _received(spaces, family, lambda: spaces.run("client", *words))


def _attacked(
    spaces: Namespaces, family: int, folder: Path, kind: str, **asked: object
) -> list[bytes]:
    """Return what the server receives of an attack out of ``wan``."""
    source, target = ENDS[family]
    order = {"kind": kind, "target": target, "via": target, "under": [source], "seed": 1, **asked}
    program = (sys.executable, "-sm", "paranal.lab.hostile", json.dumps(order), str(folder))

    def act() -> None:
        spaces.run("wan", "env", f"PYTHONPATH={SRC}", *program)
        while hostile.running(folder):  # in the background, and bounded by itself
            time.sleep(0.02)

    return _received(spaces, family, act)


@pytest.mark.req("B4")
@pytest.mark.parametrize("family", [4, 6])
def test_only_fragments_that_make_one_datagram_are_put_together(
    spaces: Namespaces, tmp_path: Path, family: int
) -> None:
    seen = _attacked(spaces, family, tmp_path, "fragments")
    chance = random.Random(0)  # noqa: S311 - lengths only
    long, short = (len(packets.ike_sa_init(chance, padding)) for padding in (3000, 0))
    assert [len(one) for one in seen] == [long, long, short], "in order, out of order, tiny"
    report = json.loads((tmp_path / "attack.json").read_text("utf-8"))
    assert report["counted"]["overlapping"] == report["counted"]["beyond the end"] == 1


@pytest.mark.req("B4")
@pytest.mark.parametrize("family", [4, 6])
def test_a_flood_sends_what_was_asked_and_ends(
    spaces: Namespaces, tmp_path: Path, family: int
) -> None:
    seen = _attacked(spaces, family, tmp_path, "flood", rate=100, seconds=0.5)
    assert len(seen) == 50
    assert len({one[:8] for one in seen}) == 50, "each a stranger of its own"


def _with_cookie(request: bytes) -> bytes:
    """Return an IKE_SA_INIT request as it is sent again, once a cookie was asked for."""
    octets = len(request) + len(COOKIE)
    return (
        request[:16] + b"\x29" + request[17:24] + octets.to_bytes(4, "big") + COOKIE + request[28:]
    )


def _first(request: bytes, value: int, what: str) -> int:
    """Return a value, with the request's own first payload where it stands in the header."""
    return request[16] << 8 | value & 0xFF if what == "version" else value


@pytest.mark.req("B4")
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("cookie", [False, True], ids=["", "cookie"])
@pytest.mark.parametrize("what", sorted(tampering.DOWNGRADES))
def test_the_man_in_the_middle_edits_what_he_is_there_for_and_nothing_else(
    spaces: Namespaces, family: int, what: str, cookie: bool
) -> None:
    request = packets.ike_sa_init(random.Random(1))  # noqa: S311 - repeatable
    bit, before, after = tampering.DOWNGRADES[what]
    if what == "ml-kem":  # a transform that `classic` does not have
        request = request[:74] + before.to_bytes(2, "big") + request[76:]
    at = bit // 8
    if cookie:
        request = _with_cookie(request)
        at += len(COOKIE) if what != "version" else 0
    place = slice(at, at + 2)
    before, after = (_first(request, value, what) for value in (before, after))
    assert request[place] == before.to_bytes(2, "big")
    spaces.run("wan", "nft", "-f", "-", given=tampering.CLEAR)
    assert _sent(spaces, family, request) == [request]
    rules = [(f"downgrade {what}", rule) for rule in tampering.edited(what)]
    spaces.run("wan", "nft", "-f", "-", given=tampering.script(rules))
    answer = bytes([*request[:19], 0x20, *request[20:]])  # a response's flag
    assert _sent(spaces, family, answer) == [answer]
    (seen,) = _sent(spaces, family, request)
    assert seen[place] == after.to_bytes(2, "big")
    assert (
        seen[: place.start] + seen[place.stop :] == request[: place.start] + request[place.stop :]
    )
    listing = spaces.run("wan", "nft", "--json", "list", "ruleset")
    assert tampering.present(listing) == {f"downgrade {what}": 1}


@pytest.mark.req("B4")
@pytest.mark.parametrize("family", [4, 6])
def test_what_is_lost_one_way_or_too_long_is_counted_and_does_not_arrive(
    spaces: Namespaces, family: int
) -> None:
    client, server = ENDS[family]
    for rules, octets in (
        ([("lost cl se", tampering.lost(client, server))], bytes(1)),
        ([("mtu se 1280", rule) for rule in tampering.narrow(server, 1280)], bytes(1300)),
    ):
        spaces.run("wan", "nft", "-f", "-", given=tampering.CLEAR)
        assert len(_sent(spaces, family, octets)) == 1
        spaces.run("wan", "nft", "-f", "-", given=tampering.script(rules))
        assert _sent(spaces, family, octets) == []
        listing = spaces.run("wan", "nft", "--json", "list", "ruleset")
        assert tampering.present(listing) == {rules[0][0]: 1}
    back = [("lost se cl", tampering.lost(server, client))]
    spaces.run("wan", "nft", "-f", "-", given=tampering.CLEAR + tampering.script(back))
    assert len(_sent(spaces, family, bytes(1))) == 1, "only the other way"
