"""Collectors read what the node's own tools say, within a bounded time, and never guess."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from paranal.status import certificates, charon, exchange, firewall, journal, line, services
from paranal.status.bounded import Unreadable, Unseen, collect, output
from paranal.status.facts import Charon, Direction, Facts, Ike, LineCheck, directions
from paranal.tunnels.charon import CharonError

NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gw.pe.paranal.example")])
NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Path]:
    """A unix socket that accepts and never says a word."""
    path = tmp_path / "silent.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        yield path


def test_a_source_that_hangs_or_fails_is_unseen_and_holds_nobody_up() -> None:
    started = time.monotonic()
    answers = collect(
        {
            "slow": ("VICI", lambda: time.sleep(5)),
            "wrong": ("nft", lambda: output([sys.executable, "-c", "raise SystemExit('no')"])),
            "mute": ("PostgreSQL", lambda: json.loads("{}")["outcome"]),
            "fine": ("systemd", lambda: 7),
        },
        0.5,
    )
    assert time.monotonic() - started < 2
    assert answers["fine"] == 7
    assert answers["slow"] == Unseen("VICI", "0.5 s")
    assert answers["wrong"] == Unseen("nft", f"{sys.executable}: no")
    assert answers["mute"] == Unseen("PostgreSQL", "'outcome'")


def test_a_command_that_is_missing_or_slow_is_unreadable() -> None:
    with pytest.raises(Unreadable, match="No such file"):
        output(["/nonexistent/nft"])
    with pytest.raises(Unreadable, match="timed out"):
        output([sys.executable, "-c", "import time; time.sleep(5)"], seconds=0.2)
    assert output([sys.executable, "-c", "print(input())"], text="hola") == "hola\n"


def test_a_daemon_that_is_not_there_is_down_and_one_that_hangs_is_unseen(
    tmp_path: Path, listener: Path
) -> None:
    assert charon.read(str(tmp_path / "nothing.vici")).running is False
    with pytest.raises(CharonError, match="timed out"):
        charon.read(str(listener), seconds=0.2)


def test_charon_is_read_for_peers_and_data_plane(healthy: Facts) -> None:
    remote = {"class": "public key", "id": "gw.co.paranal.example"}
    loaded = {"co-pe-g1": {"local_addrs": ["203.0.113.34"], "remote-1": remote}}
    assert isinstance(healthy.charon, Charon)
    seen = charon.judge(loaded, healthy.charon.tunnels, ("openssl", "kernel-libipsec"))
    assert seen.loaded == {"gw.co.paranal.example"}
    assert (seen.running, seen.data_plane) == (True, "userspace")
    assert seen.tunnels == healthy.charon.tunnels
    assert charon.judge({}, [], ("kernel-netlink",)).data_plane == "kernel"


def rule(*matches: tuple[str, str, Any], verdict: str = "accept") -> dict[str, Any]:
    expressions: list[dict[str, Any]] = [
        {
            "match": {
                "op": "==",
                "left": {"payload": {"protocol": protocol, "field": field}},
                "right": value,
            }
        }
        for protocol, field, value in matches
    ]
    return {"rule": {"table": "paranal", "expr": [*expressions, {verdict: None}]}}


def chains(policy: str = "drop") -> list[dict[str, Any]]:
    hooks = ("input", "forward", "output")
    return [{"chain": {"name": hook, "hook": hook, "policy": policy}} for hook in hooks]


@pytest.fixture
def flow(view: dict[str, Any]) -> Direction:
    peer = next(peer for peer in view["peers"] if peer["code"] == "co")
    return next(each for each in directions(view, peer) if each.flow == ("asks", "co", "person"))


@pytest.fixture
def both(view: dict[str, Any], flow: Direction) -> list[dict[str, Any]]:
    ours, theirs = view["member"]["addresses"]["operational"], flow.peer["addresses"]["operational"]
    return [
        rule(("ip", "saddr", ours), ("ip", "daddr", theirs), ("tcp", "dport", 7443)),
        rule(("ip", "saddr", theirs), ("ip", "daddr", ours), ("tcp", "sport", {"set": [7443]})),
    ]


def test_a_direction_passes_by_its_two_rules_and_by_no_other(
    view: dict[str, Any], flow: Direction, both: list[dict[str, Any]]
) -> None:
    seen = firewall.judge([*chains(), *both], view["member"], [flow])
    assert seen.present
    assert seen.drops
    assert seen.flows == {flow.flow}
    for one in both:
        half = firewall.judge([*chains(), one], view["member"], [flow])
        assert not half.flows
        assert half.partial == {flow.flow}
    other = rule(("ip", "saddr", "10.51.1.1"), ("ip", "daddr", "10.52.1.1"), ("tcp", "dport", 7443))
    dropped = [{"rule": {**each["rule"], "expr": each["rule"]["expr"][:-1]}} for each in both]
    shut = firewall.judge([*chains(), other, *dropped], view["member"], [flow])
    assert not shut.flows
    assert not shut.partial


def test_a_chain_that_accepts_by_default_does_not_drop(
    view: dict[str, Any], both: list[dict[str, Any]], flow: Direction
) -> None:
    assert not firewall.judge([*chains("accept"), *both], view["member"], [flow]).drops
    assert not firewall.judge([*chains()[:2], *both], view["member"], [flow]).drops


@pytest.mark.req("B3")
def test_a_table_that_sleeps_does_not_drop(
    view: dict[str, Any], both: list[dict[str, Any]], flow: Direction
) -> None:
    for flags, drops in (([], True), (["dormant"], False)):
        table = {"table": {"family": "inet", "name": "paranal", "flags": flags}}
        seen = firewall.judge([table, *chains(), *both], view["member"], [flow])
        assert seen.drops is drops


def test_systemd_and_the_listening_sockets_are_read() -> None:
    shown = "ActiveState=active\nId=haproxy.service\n\nId=nft.service\nActiveState=inactive\n"
    assert services.unit_states(shown) == {"haproxy.service": "active", "nft.service": "inactive"}


def test_the_database_is_the_cluster_that_holds_our_settings(tmp_path: Path) -> None:
    assert services.database_unit(tmp_path) == "postgresql@none-main.service"
    for major in ("17", "18"):
        (tmp_path / major / "main/conf.d").mkdir(parents=True)
    (tmp_path / "17/main/conf.d/paranal.conf").touch()
    assert services.database_unit(tmp_path) == "postgresql@17-main.service"
    shown = (
        "LISTEN 0 4096 10.51.1.1:7443 0.0.0.0:*\n"
        "LISTEN 0 128 [fe80::51]%mgmt:22 [::]:*\n"
        "LISTEN 0 128 127.0.0.53%lo:53 0.0.0.0:*\n"
    )
    assert services.listeners(shown) == {("10.51.1.1", 7443), ("fe80::51", 22), ("127.0.0.53", 53)}


def test_a_service_that_does_not_answer_its_health_check_is_not_healthy(
    tmp_path: Path, listener: Path
) -> None:
    assert not services.is_healthy(tmp_path / "nothing.sock", 0.2)
    assert not services.is_healthy(listener, 0.2)


def entry(number: str, message: str, name: str = "") -> dict[str, str]:
    return {"IKE_SA_UNIQUE_ID": number, "MESSAGE": message, "IKE_SA_NAME": name}


@pytest.mark.parametrize(
    ("messages", "meaning"),
    [
        (["retransmit 2 of request with message ID 0"], Ike.NO_REPLY),
        (["retransmit 1 of request with message ID 0"], None),
        (["peer not responding, trying again (2/0)"], Ike.NO_REPLY),
        (["error writing to socket: Operation not permitted"], Ike.NOT_SENT),
        (["received AUTHENTICATION_FAILED notify error"], Ike.THEY_REFUSED_US),
        (["received NO_PROPOSAL_CHOSEN notify error"], Ike.NO_PROPOSAL),
        (["received NO_PROPOSAL_CHOSEN notify, no CHILD_SA built"], Ike.NO_PROPOSAL),
        (["received TS_UNACCEPTABLE notify, no CHILD_SA built"], Ike.SELECTORS),
        (
            [
                'no issuer certificate found for "CN=gw.co"',
                "no trusted ECDSA public key found for 'gw.co.paranal.example'",
            ],
            Ike.WE_DO_NOT_TRUST,
        ),
        (
            [
                "certificate was revoked on Nov 01 00:00:00 UTC 2026, reason: superseded",
                "no trusted ECDSA public key found for 'gw.co.paranal.example'",
            ],
            Ike.THEIRS_INVALID,
        ),
        (["no private key found for 'gw.pe.paranal.example'"], Ike.OURS_MISSING),
        (
            ["retransmit 3 of request", "IKE_SA co-pe-g1[7] established between 1...2"],
            None,
        ),
        (["sending keep alive"], None),
        (
            [
                "IKE_SA pe-co-g1[2] established between 1...2",
                "received DELETE for IKE_SA pe-co-g1[2]",
                "IKE_SA deleted",
            ],
            Ike.THEY_CLOSED,
        ),
        (["sending DELETE for IKE_SA pe-co-g1[2]", "IKE_SA deleted"], None),
        (
            [
                "received TS_UNACCEPTABLE notify, no CHILD_SA built",
                "received DELETE for IKE_SA pe-co-g1[2]",
            ],
            Ike.SELECTORS,
        ),
        (["traffic selectors 10.51.1.1/32 === 10.57.1.1/32 unacceptable"], Ike.SELECTORS),
    ],
)
def test_the_sentences_of_an_attempt_have_a_meaning(
    messages: list[str], meaning: Ike | None
) -> None:
    assert journal.meaning(messages) is meaning


def test_the_journal_tells_the_last_attempt_at_each_peer(healthy: Facts) -> None:
    lines = [
        entry("1", "received AUTHENTICATION_FAILED notify error", "pe-co-g1"),
        entry("3", "198.51.100.18 is initiating an IKE_SA"),
        entry("2", "retransmit 2 of request with message ID 0", "pe-co-g1"),
        entry("3", "received proposals unacceptable"),
        {"MESSAGE": "no attempt's line"},
        entry("9", "received AUTHENTICATION_FAILED notify error", "co-pe-g1"),
    ]
    seen = journal.judge(lines, healthy.view["peers"], "pe")
    assert seen == {"co": Ike.NO_REPLY, "cl": Ike.NO_PROPOSAL}
    again = entry("1", "error writing to socket: Operation not permitted", "pe-co-g1")
    assert journal.judge([*lines, again], healthy.view["peers"], "pe")["co"] is Ike.THEY_REFUSED_US


def test_an_attempt_of_a_charon_that_was_restarted_since_is_another_attempt(
    healthy: Facts,
) -> None:
    before, after = {"_BOOT_ID": "b", "_PID": "7"}, {"_BOOT_ID": "b", "_PID": "9"}
    lines = [
        {**entry("1", "received AUTHENTICATION_FAILED notify error", "pe-co-g1"), **before},
        {**entry("1", "retransmit 2 of request with message ID 0", "pe-mx-g1"), **after},
    ]
    seen = journal.judge(lines, healthy.view["peers"], "pe")
    assert seen == {"co": Ike.THEY_REFUSED_US, "mx": Ike.NO_REPLY}


def test_a_line_note_is_read_and_a_broken_one_is_an_error(tmp_path: Path) -> None:
    note = {"at": "2026-11-23T12:00:00+00:00", "ok": True, "reason": None}
    (tmp_path / "cl.json").write_text(json.dumps(note))
    assert line.read(tmp_path) == {"cl": LineCheck(NOON, ok=True, reason="")}
    assert line.read(tmp_path / "absent") == {}
    (tmp_path / "mx.json").write_text("{")
    with pytest.raises(ValueError, match="Expecting"):
        line.read(tmp_path)


def test_the_log_is_read_without_telling_a_hit_from_a_clean_answer() -> None:
    row = {
        "way": "asks",
        "peer": "co",
        "service": "person",
        "last_at": "2026-11-23T12:00:00.5+00:00",
        "outcome": "GOOD",
        "last_good": None,
    }
    (seen,) = exchange.judge(json.dumps(row) + "\n\n").items()
    assert seen[0] == ("asks", "co", "person")
    assert seen[1].last_good is None
    assert seen[1].last_at == NOON + timedelta(seconds=0.5)
    assert "'OK', 'RQ', 'ANT') THEN 'GOOD'" in exchange.LAST


@pytest.fixture(scope="session")
def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP384R1())


def certificate(key: ec.EllipticCurvePrivateKey) -> bytes:
    built = (
        x509.CertificateBuilder()
        .subject_name(NAME)
        .issuer_name(NAME)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOON)
        .not_valid_after(NOON + timedelta(days=90))
        .sign(key, hashes.SHA384())
    )
    return built.public_bytes(Encoding.PEM)


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
def test_leaves_and_lists_are_read_by_their_dates(
    tmp_path: Path, key: ec.EllipticCurvePrivateKey, encoding: Encoding
) -> None:
    (tmp_path / "ike.pem").write_bytes(b"# key and chain may stand beside\n" + certificate(key))
    paths = {"ike": tmp_path / "ike.pem", "asker": tmp_path / "asker.pem"}
    (leaf,) = certificates.read_leaves(paths)
    assert (leaf.name, leaf.not_after) == ("ike", NOON + timedelta(days=90))

    crl = x509.CertificateRevocationListBuilder().issuer_name(NAME).last_update(NOON)
    signed = crl.next_update(NOON + timedelta(days=7)).sign(key, hashes.SHA384())
    (tmp_path / "co-root.crl").write_bytes(signed.public_bytes(encoding))
    (seen,) = certificates.read_crls(["pe", "co"], tmp_path)
    assert (seen.country, seen.authority) == ("co", "root")
    assert (seen.this_update, seen.next_update) == (NOON, NOON + timedelta(days=7))

    (tmp_path / "pe-root.crl").write_bytes(b"")
    with pytest.raises(ValueError, match=r"error parsing|ParseError"):
        certificates.read_crls(["pe"], tmp_path)
