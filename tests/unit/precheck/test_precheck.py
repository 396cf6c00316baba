"""What a precheck says and concludes, without a line: packets, knowledge, verdicts."""

from __future__ import annotations

import argparse
import random
from pathlib import Path
from typing import Any

import pytest

from paranal.agreement import load
from paranal.messages import Refusal
from paranal.precheck import report
from paranal.precheck.cli import Ends, ends
from paranal.precheck.judge import FAIL, NOT_TESTED, PASS, UNKNOWN, judge, verdict
from paranal.precheck.knowledge import (
    LONGEST_PACKET,
    NANOSECONDS,
    TRIES,
    Clock,
    Knowledge,
    clock,
    next_octets,
)
from paranal.precheck.message import LARGEST, NOBODY, Carrier, Message, decode, encode, headers

REPOSITORY = Path(__file__).parents[3]
OURS, THEIRS = b"ourselves", b"them"
BOTH = (Carrier.IKE, Carrier.NAT)
ALL = tuple(Carrier)
PEER = "203.0.113.34"
DEFAULTS = REPOSITORY / "roles" / "firewall" / "defaults" / "main.yml"


def session(name: bytes) -> bytes:
    return name.ljust(8, b".")[:8]


def known(carriers: tuple[Carrier, ...] = BOTH) -> Knowledge:
    return Knowledge(session(OURS), carriers)


def said(carrier: Carrier, **more: Any) -> Message:  # noqa: ANN401 - a message's fields
    return Message(carrier, session(THEIRS), **{"sent_at": 0, **more})


def well(carriers: tuple[Carrier, ...] = BOTH) -> Knowledge:
    """Return what an end knows of a line that serves."""
    made = known(carriers)
    bits = sum(carrier.bit for carrier in carriers)
    for carrier in carriers:
        report = {"heard": bits, "peer_session": session(OURS), "largest": 1500, "found": 1500}
        made.take(said(carrier, **report, settled=True), 1500, 1000)
    return made


def found(made: Knowledge, **more: Any) -> dict[tuple[str, str], str]:  # noqa: ANN401
    checks = judge(made, PEER, more.get("without_esp"), more.get("unsent", {}))
    return {(check.name, check.way): check.verdict for check in checks}


# --- packets --------------------------------------------------------------------------------------


@pytest.mark.parametrize("carrier", ALL)
@pytest.mark.parametrize("octets", [0, 300, 1472])
def test_a_packet_says_what_was_put_into_it_and_by_its_own_carrier_only(
    carrier: Carrier, octets: int
) -> None:
    sent = Message(
        carrier, session(OURS), -5, 7, True, session(THEIRS), 2**62, -(2**62), 1500, 1280
    )
    payload = encode(sent, 3, octets)
    assert len(payload) == octets or not octets
    assert [decode(payload, each) for each in ALL if each is not carrier] == [None, None]
    assert decode(payload, carrier) == sent


@pytest.mark.parametrize("carrier", ALL)
def test_what_is_not_exactly_a_packet_is_none(carrier: Carrier) -> None:
    payload = encode(said(carrier), 1, 200)
    chance = random.Random(1)  # noqa: S311 - repeatable, not secret
    framing = payload.index(b"PARANAL1")
    for at in (*range(framing, framing + 12), framing + 80, len(payload) - 1):
        broken = bytearray(payload)
        broken[at] ^= 0xF8
        assert decode(bytes(broken), carrier) is None, at
    for length in (*range(len(encode(said(carrier), 1))), LARGEST + 1):
        assert decode(payload.ljust(length, b"\0")[:length], carrier) is None, length
    for _ in range(500):
        assert decode(chance.randbytes(chance.randrange(300)), carrier) is None
    assert decode(encode(Message(carrier, NOBODY, 0), 1), carrier) is None


def test_the_framing_is_that_of_what_the_carrier_will_bear() -> None:
    ike = encode(said(Carrier.IKE), 9, 400)
    assert (ike[16], ike[17], ike[18]) == (43, 0x20, 240)
    assert int.from_bytes(ike[24:28], "big") == len(ike)
    for carrier in (Carrier.NAT, Carrier.ESP):
        esp = encode(said(carrier), 9)
        assert int.from_bytes(esp[:4], "big") > 255  # no IKE marker, no reserved SPI (RFC 4303)
        assert int.from_bytes(esp[4:8], "big") == 9
    sizes = [headers(each, local) for local in ("192.0.2.1", "2001:db8::1") for each in ALL]
    assert sizes == [28, 28, 20, 48, 48, 40]


# --- clocks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [-6.0, 0.0, 4.9, 7.0])
@pytest.mark.parametrize(("there", "back"), [(0.04, 0.04), (0.3, 0.0)])
def test_the_offset_is_right_within_its_uncertainty(
    ahead: float, there: float, back: float
) -> None:
    at, held = 1_000.0, 0.2
    times = [at, at + there + ahead, at + there + held + ahead, at + there + held + back]
    sent, received, answered, came = (round(each * NANOSECONDS) for each in times)
    message = said(Carrier.NAT, sent_at=answered, peer_sent_at=sent, received_at=received)
    told = clock(message, came)
    assert told is not None
    assert told.uncertainty == pytest.approx((there + back) / 2, abs=1e-6)
    assert abs(told.ahead - ahead) <= told.uncertainty + 1e-6


def test_times_that_cannot_be_are_no_clock() -> None:
    assert clock(said(Carrier.NAT, sent_at=5, peer_sent_at=10, received_at=5), 9) is None
    assert clock(said(Carrier.NAT, sent_at=4, peer_sent_at=1, received_at=5), 9) is None


@pytest.mark.req("B1")
@pytest.mark.parametrize(
    ("ahead", "uncertainty", "expected"),
    [(4.9, 0.05, PASS), (-5.2, 0.1, FAIL), (5.2, 0.1, FAIL), (4.9, 0.2, UNKNOWN), (0, 6, UNKNOWN)],
)
def test_a_clock_is_judged_only_as_far_as_it_is_certain(
    ahead: float, uncertainty: float, expected: str
) -> None:
    made = well()
    made.clock = Clock(ahead, uncertainty)
    assert found(made)["clock", ""] == expected


# --- path MTU -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*range(1270, 1290), 1000, 576, 1437, 1499, 1500])
def test_the_search_finds_every_path_with_few_packets(path: int) -> None:
    confirmed, tries, sent = 120, dict[int, int](), 0
    while (octets := next_octets(confirmed, tries)) is not None:
        tries[octets] = tries.get(octets, 0) + 1
        sent += 1
        if octets <= path:
            confirmed = max(confirmed, octets)
    assert confirmed == path
    assert sent <= TRIES * 13


def test_a_confirmation_that_comes_late_mends_the_search() -> None:
    tries = {LONGEST_PACKET: TRIES, 1280: TRIES}
    assert next_octets(1280, tries) == (1280 + LONGEST_PACKET) // 2
    assert next_octets(LONGEST_PACKET, tries) is None


def test_what_is_wanted_of_the_path_is_what_the_firewall_clamps_to() -> None:
    import yaml

    from paranal.precheck.knowledge import WANTED_PACKET

    assert yaml.safe_load(DEFAULTS.read_text())["firewall_path_octets"] == WANTED_PACKET


# --- verdicts -------------------------------------------------------------------------------------


@pytest.mark.req("B1")
def test_a_line_that_serves_passes_and_says_what_was_not_needed() -> None:
    checks = judge(well(), PEER, None, {})
    assert verdict(checks) == PASS
    assert [check.way for check in checks if check.verdict == NOT_TESTED] == ["in", "out"]
    assert well().settled
    assert "LA LÍNEA SIRVE" in list(report.lines(checks))[-1]


def test_who_only_hears_does_not_know_what_arrives() -> None:
    made = known()
    made.take(said(Carrier.IKE, peer_session=session(b"elder")), 100, 5)
    told = found(made)
    assert told["UDP 500", "in"] == PASS
    assert told["UDP 500", "out"] == UNKNOWN
    made.take(said(Carrier.IKE), 100, 6)  # the peer has heard nobody: that is a report
    assert found(made)["UDP 500", "out"] == FAIL


def test_a_report_on_another_run_confirms_nothing() -> None:
    made = known()
    made.take(said(Carrier.IKE, heard=7, largest=1500, peer_session=session(b"elder")), 100, 5)
    assert (made.confirmed, made.confirmed_octets, made.clock) == (0, 0, None)


def test_a_peer_that_begins_anew_is_told_only_what_was_heard_since() -> None:
    made = well()
    made.take(Message(Carrier.NAT, session(b"again"), 7), 90, 8)
    message = made.message(Carrier.IKE, 9)
    assert (message.peer_session, message.heard, message.largest) == (
        session(b"again"),
        Carrier.NAT.bit,
        90,
    )
    assert (message.peer_sent_at, message.received_at) == (7, 8)


def test_esp_that_could_not_be_tried_is_said_and_not_well() -> None:
    reason = Refusal("PAR-1014", reason="x")
    told = found(well(), without_esp=reason)
    assert told["ESP", "out"] == UNKNOWN
    assert verdict(judge(well(), PEER, reason, {})) == UNKNOWN


def test_what_our_own_machine_holds_back_is_not_laid_on_the_line() -> None:
    made = known()
    made.take(said(Carrier.IKE), 100, 5)
    checks = judge(made, PEER, None, {Carrier.NAT: "Operation not permitted"})
    codes = {(check.name, check.way): check.finding.code for check in checks if check.finding}
    assert (codes["UDP 500", "out"], codes["UDP 4500", "out"]) == ("PAR-1021", "PAR-1029")


@pytest.mark.parametrize(
    ("octets", "exact", "expected"),
    [(1280, True, PASS), (1279, True, FAIL), (1280, False, PASS), (1200, False, UNKNOWN)],
)
def test_the_path_from_them_is_judged_by_what_came_and_by_what_they_found(
    octets: int, exact: bool, expected: str
) -> None:
    made = known()
    made.take(said(Carrier.NAT, found=octets if exact else 0), octets, 5)
    assert found(made)["MTU", "in"] == expected


# --- the ends -------------------------------------------------------------------------------------


def asked(**words: Any) -> Ends:  # noqa: ANN401 - the command's options
    given = {"local": None, "peer": None, "agreement": None, "member": None, "esp": False}
    return ends(argparse.Namespace(**{**given, **words}))


@pytest.mark.parametrize(
    ("name", "pair", "local", "esp"),
    [
        ("kernel", ("co", "pe"), None, True),
        ("kernel", ("co", "pe"), "192.0.2.7", False),
        ("kernel", ("cl", "pe"), None, False),
        ("ipv6", ("cl", "pe"), None, False),
    ],
)
def test_the_agreement_tells_both_ends_and_whether_esp_will_travel(
    name: str, pair: tuple[str, str], local: str | None, esp: bool
) -> None:
    path = REPOSITORY / "agreement" / f"{name}.yml"
    members = load(path).members
    told = asked(agreement=path, member=pair[0], peer=pair[1], local=local)
    addresses = [members[code]["wan_address"] for code in pair]
    assert told == Ends(local or addresses[0], addresses[1], esp)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ({"peer": PEER}, "PAR-1015"),
        ({"peer": PEER, "local": "198.51.100.18", "member": "pe"}, "PAR-1015"),
        ({"peer": "pe", "agreement": REPOSITORY / "agreement/ipv6.yml"}, "PAR-1015"),
        (
            {"peer": "ec", "member": "pe", "agreement": REPOSITORY / "agreement/ipv6.yml"},
            "PAR-0106",
        ),
        ({"peer": PEER, "local": PEER}, "PAR-1010"),
        ({"peer": PEER, "local": "2001:db8::1"}, "PAR-1010"),
        ({"peer": "pe", "local": "198.51.100.18"}, "PAR-1010"),
        ({"peer": "224.0.0.1", "local": "198.51.100.18"}, "PAR-1010"),
        ({"peer": PEER, "local": "0.0.0.0"}, "PAR-1010"),  # noqa: S104 - to be refused
    ],
)
def test_ends_that_are_none_are_refused(words: dict[str, Any], code: str) -> None:
    with pytest.raises(Refusal) as caught:
        asked(**words)
    assert caught.value.code == code
