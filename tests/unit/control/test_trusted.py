"""What a node says that it trusts: what charon and HAProxy both run with, fresh, or nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from paranal.control import trusted
from paranal.control.trusted import Told
from paranal.tunnels.charon import CharonError
from paranal.tunnels.record import Paths, Record

if TYPE_CHECKING:
    from tests.unit.control.conftest import Holding

OLD, NEW = b"old", b"new"
DIGEST = {one: hashlib.sha256(one).hexdigest() for one in (OLD, NEW)}
PINS = {"pe-root.pem": DIGEST[OLD], "pe-g2-root.pem": DIGEST[NEW]}
ONE, BOTH = ["pe-root.pem"], ["pe-root.pem", "pe-g2-root.pem"]


def holding(superseded: tuple[str, ...] = (), **connections: list[str]) -> Record:
    """Return the record of connections with Peru, each with the files that it pins."""
    held: Any = {
        name: {
            "connection": {"peer": "pe", "config": {"remote": {"cacerts": files}}},
            "text": "",
            "observed": "",
        }
        for name, files in connections.items()
    }
    return Record(held=held, superseded=list(superseded))


@pytest.mark.req("B5")
@pytest.mark.parametrize(
    ("record", "loaded", "certificates", "roots"),
    [
        pytest.param(holding(a=BOTH), ["a"], [OLD, NEW], {OLD, NEW}, id="both pinned"),
        pytest.param(holding(a=ONE), ["a"], [OLD, NEW], {OLD}, id="a file that none pins"),
        pytest.param(holding(a=BOTH), ["a"], [OLD], {OLD}, id="not in charon"),
        pytest.param(holding(a=BOTH), ["b"], [OLD, NEW], set(), id="not loaded"),
        pytest.param(
            holding(("a",), a=ONE, b=BOTH), ["a", "b"], [OLD, NEW], {OLD}, id="an elder is left"
        ),
        pytest.param(
            holding(("a",), a=BOTH, b=BOTH), ["b"], [OLD, NEW], {OLD, NEW}, id="an elder is going"
        ),
        pytest.param(
            holding((), a=BOTH, b=BOTH), ["a"], [OLD, NEW], set(), id="one of two is not loaded"
        ),
        pytest.param(holding((), b=BOTH, a=BOTH), ["a"], [OLD, NEW], set(), id="in whatever order"),
    ],
)
def test_charon_trusts_what_every_connection_with_the_peer_pins(
    record: Record, loaded: list[str], certificates: list[bytes], roots: set[bytes]
) -> None:
    found = trusted.in_charon(record, loaded, PINS, certificates)
    assert found == {"pe": {DIGEST[one] for one in roots}}


class Running:
    """Colombia's node as it runs: charon and HAProxy know these authorities of Peru."""

    def __init__(self, node: Holding) -> None:
        self.node = node
        self.paths = Paths(node.place.real("/etc/swanctl"), node.place.real("/var/lib/paranal/n"))
        self.paths.state.mkdir(parents=True)
        self.paths.file.parent.mkdir()
        record = holding(a=["pe-root.pem"])
        record.save(self.paths)
        self.der = node.peer.root.public_bytes(Encoding.DER)
        self.haproxy = hashlib.sha1(self.der, usedforsecurity=False).hexdigest().upper()
        self.asked: list[str] = []

    @contextmanager
    def charon(self) -> Iterator[Any]:
        certificates = [{"data": self.der}]
        yield SimpleNamespace(
            connections=lambda: {"a": {}, "other": {}}, certificates=lambda: certificates
        )

    def ask(self, command: str) -> str:
        self.asked.append(command)
        return f"Status: Used\n\nCertificate #1:\nSHA1 FingerPrint: {self.haproxy}\nSubject: /C=PE"

    def seen(self) -> dict[str, list[str]]:
        return trusted.seen(self.node.view, self.paths, self.charon, self.ask)


@pytest.fixture
def running(node: Holding) -> Running:
    return Running(node)


@pytest.mark.req("B5")
def test_a_root_counts_where_charon_and_haproxy_both_run_with_it(running: Running) -> None:
    digest = hashlib.sha256(running.der).hexdigest()
    assert running.seen() == {"pe": [digest]}
    assert running.asked == ["show ssl ca-file /etc/haproxy/paranal/pe-ca.pem"]
    running.haproxy = "0" * 40
    assert running.seen() == {"pe": []}


def test_nothing_is_trusted_where_a_restarted_charon_would_load_another_file(
    running: Running,
) -> None:
    running.paths.file.write_text("# by hand\n")
    assert running.seen() == {}


def test_it_is_told_while_it_is_fresh_and_only_of_the_member_that_asks(tmp_path: Path) -> None:
    file = tmp_path / "roots.json"
    assert trusted.told(file, "pe", 100.0) == Told()
    seen = {"at": 100.0, "roots": {"pe": ["r1", "r2"]}, "issuers": ["i1"]}
    file.write_text(json.dumps(seen))
    assert trusted.told(file, "pe", 100.0 + trusted.FRESH_SECONDS) == Told(("r1", "r2"), ("i1",))
    assert trusted.told(file, "pe", 101.0 + trusted.FRESH_SECONDS) == Told()
    assert trusted.told(file, "pe", 99.0) == Told(), "the clock was set back: nobody knows how old"
    assert trusted.told(file, "mx", 100.0) == Told((), ("i1",))
    for text in ("", "[]", "{}", '{"at": null, "roots": {}}', '{"at": 100, "roots": []}'):
        file.write_text(text)
        assert trusted.told(file, "pe", 100.0) == Told()


@pytest.mark.req("B5")
def test_the_issuers_are_of_every_leaf_and_none_while_a_rotation_is_under_way(
    tmp_path: Path,
) -> None:
    memory: dict[str, Any] = {
        "leaves": {"ike": {"issuer_sha256": "i2"}, "tls": {"issuer_sha256": "i1"}},
        "rotations": {},
    }
    file = tmp_path / "leaves.json"
    file.write_text(json.dumps(memory))
    assert trusted.issuers(file) == ["i1", "i2"]
    file.write_text(json.dumps(memory | {"rotations": {"tls": {"stage": "installed"}}}))
    assert trusted.issuers(file) == []


@pytest.mark.parametrize("problem", [CharonError("silent"), FileNotFoundError(), ValueError("x")])
def test_what_cannot_be_seen_leaves_what_was_seen_to_grow_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    monkeypatch.setattr(trusted, "FILE", tmp_path / "roots.json")
    view: Any = None
    leaves = tmp_path / "leaves.json"
    leaves.write_text('{"leaves": {}}')
    assert trusted.note(view, 7.0, lambda *_: {"pe": ["r1"]}, leaves) is None

    def fails(*_: object) -> None:
        raise problem

    refusal = trusted.note(view, 99.0, fails, leaves)
    assert refusal
    assert refusal.code == "PAR-0920"
    assert trusted.told(trusted.FILE, "pe", 8.0) == Told(("r1",))
    assert trusted.told(trusted.FILE, "pe", 7.0 + trusted.FRESH_SECONDS + 1) == Told()
    assert (trusted.FILE.stat().st_mode & 0o777) == 0o644
