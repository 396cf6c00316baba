"""A list takes effect: the revoked one's tunnel and connections end, and nobody else's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from paranal.control import effect, haproxy
from paranal.pki import lists
from paranal.tunnels.charon import CharonError, IkeSa
from tests.unit.pki.conftest import request
from tests.unit.tunnels.sas import ike_sa

if TYPE_CHECKING:
    from tests.unit.control.conftest import Holding

GATEWAY = "gw.pe.paranal.example"
PATH = "/etc/haproxy/paranal/pe.crl"


class Daemon:
    """A charon with one IKE_SA to Peru and one to Mexico; a reauthentication may succeed."""

    def __init__(self, leaves: list[bytes], *, renews: bool = False) -> None:
        self.leaves, self.renews = leaves, renews
        self.lists: list[bytes] = []
        self.asked: list[str] = []
        self.forgot: list[str] | None = None
        self.sas: list[IkeSa] = [
            replace(ike_sa("co-pe-g1", "1", []), remote_id=GATEWAY),
            replace(ike_sa("co-mx-g1", "2", []), remote_id="gw.mx.paranal.example"),
        ]

    def load_list(self, data: bytes) -> None:
        self.lists.append(data)

    def forget_checked_lists(self) -> None:
        assert self.lists
        self.forgot = list(self.asked)

    def certificates(self) -> list[dict[str, Any]]:
        return [{"data": data} for data in (*self.leaves, b"garbage")]

    def ike_sas(self) -> list[IkeSa]:
        return list(self.sas)

    def reauthenticate(self, unique_id: str) -> None:
        self.asked.append(f"reauthenticate {unique_id}")
        if self.renews:
            self.sas = [
                replace(sa, unique_id="3") if sa.unique_id == unique_id else sa for sa in self.sas
            ]

    def end_ike(self, unique_id: str, seconds: int) -> None:
        assert seconds < 5
        self.asked.append(f"end {unique_id}")

    @contextmanager
    def here(self) -> Iterator[Daemon]:
        yield self


class Proxy:
    """HAProxy's socket: it knows some lists, and what it was told is kept."""

    def __init__(self, *known: str, commits: str = "Success!") -> None:
        self.known, self.commits = known, commits
        self.told: list[str] = []
        self.revoked: list[str] = []

    def ask(self, command: str) -> str:
        self.told.append(command)
        word = " ".join(command.split()[:2])
        if command.startswith("show ssl crl-file"):
            return "\n".join(("# filename", *self.known))
        if word == "commit ssl":
            return f"Committing\n{self.commits}"
        if word == "show acl":
            return "\n".join(f"0x{n:x} {entry}" for n, entry in enumerate(self.revoked))
        if word == "add acl":
            self.revoked.append(command.split()[-1])
        return ""


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PAUSE_SECONDS", "RENEWED_SECONDS", "TURN_SECONDS"):
        monkeypatch.setattr(effect, name, 0.01)


def issued(node: Holding) -> tuple[int, bytes]:
    leaf = node.peer.issue(request([GATEWAY]), "ike", [GATEWAY]).certificate
    return leaf.serial_number, leaf.public_bytes(Encoding.DER)


def revoked(node: Holding, *serials: int) -> lists.News:
    for serial in serials:
        node.peer.revoke(serial, "key-compromise")
    return node.place.judge(node.issuing_of_peer(), node.view, datetime.now(UTC))


def test_the_tunnel_of_a_revoked_gateway_ends_and_no_other(node: Holding) -> None:
    serial, leaf = issued(node)
    daemon, proxy = Daemon([leaf]), Proxy(PATH)
    news = revoked(node, serial)
    added = frozenset({serial})
    assert effect.take_effect(news, added, GATEWAY, daemon.here, proxy.ask) == []
    assert daemon.asked == daemon.forgot == ["end 1"], "also what came up meanwhile is forgotten"
    assert daemon.lists == [lists.der(news.crl)]
    assert proxy.revoked == [f"pe:{haproxy._hex(serial)}"]
    assert any(told.startswith(f"set ssl crl-file {PATH} <<") for told in proxy.told)


@pytest.mark.parametrize(
    ("renews", "asked"),
    [(True, ["reauthenticate 1"]), (False, ["reauthenticate 1", "end 1"])],
)
def test_a_tunnel_that_one_of_two_leaves_made_proves_itself_or_ends(
    node: Holding, renews: bool, asked: list[str]
) -> None:
    (old, first), (_, second) = issued(node), issued(node)
    daemon = Daemon([first, second], renews=renews)
    effect.take_effect(revoked(node, old), frozenset({old}), GATEWAY, daemon.here, Proxy(PATH).ask)
    assert daemon.asked == asked


def test_a_gateway_that_was_revoked_before_is_not_asked_again_what_it_has_left(
    node: Holding,
) -> None:
    (old, first), (new, second) = issued(node), issued(node)
    revoked(node, old)
    daemon = Daemon([first, second])
    effect.take_effect(revoked(node, new), frozenset({new}), GATEWAY, daemon.here, Proxy(PATH).ask)
    assert daemon.asked == ["end 1"]


@pytest.mark.parametrize(
    ("renews", "asked"),
    [(True, ["reauthenticate 1"]), (False, ["reauthenticate 1", "end 1"])],
)
def test_a_revoked_leaf_that_charon_forgot_may_be_the_tunnels(
    node: Holding, renews: bool, asked: list[str]
) -> None:
    (_, leaf), (other, _) = issued(node), issued(node)
    daemon = Daemon([leaf], renews=renews)
    effect.take_effect(
        revoked(node, other), frozenset({other}), GATEWAY, daemon.here, Proxy(PATH).ask
    )
    assert daemon.asked == asked


def test_a_list_that_adds_nothing_asks_no_tunnel(node: Holding) -> None:
    (old, first), (_, second) = issued(node), issued(node)
    daemon = Daemon([first, second])
    effect.take_effect(revoked(node, old), frozenset(), GATEWAY, daemon.here, Proxy(PATH).ask)
    assert daemon.asked == []


def test_our_own_list_ends_no_tunnel_here_and_a_withdrawn_authority_every_one_of_its_own(
    node: Holding,
) -> None:
    serial, leaf = issued(node)
    news = revoked(node, serial)
    daemon = Daemon([leaf])
    effect.take_effect(news, frozenset({serial}), None, daemon.here, Proxy().ask)
    assert daemon.asked == daemon.forgot == []
    node.peer.revoke(node.peer.issuing.serial_number, "key-compromise")
    text = node.peer.lists()["root"].public_bytes(Encoding.PEM)
    root = node.place.judge(text, node.view, datetime.now(UTC))
    proxy = Proxy(PATH)
    effect.take_effect(root, frozenset(), GATEWAY, daemon.here, proxy.ask)
    assert daemon.asked == ["end 1"]
    assert "pe" in proxy.revoked


def test_what_did_not_work_is_tried_again_alone_and_then_told(node: Holding) -> None:
    serial, leaf = issued(node)
    news, proxy = revoked(node, serial), Proxy(PATH)
    tried: list[int] = []

    @contextmanager
    def absent() -> Iterator[Daemon]:
        tried.append(1)
        raise CharonError("not there")
        yield Daemon([leaf])

    (problem,) = effect.take_effect(news, frozenset({serial}), GATEWAY, absent, proxy.ask)
    assert problem == "charon: not there"
    assert len(tried) == effect.TRIES
    assert len([told for told in proxy.told if told.startswith("commit")]) == 1


def test_a_list_that_haproxy_does_not_take_is_withdrawn_and_told() -> None:
    proxy = Proxy(PATH, commits="Can't commit")
    with pytest.raises(OSError, match="Can't commit"):
        haproxy.load_list(PATH, "text", proxy.ask)
    assert proxy.told[-1] == f"abort ssl crl-file {PATH}"


def test_a_long_list_goes_by_a_reload_and_an_unknown_one_nowhere() -> None:
    reloaded: list[int] = []
    proxy = Proxy(PATH)
    text = "x" * (haproxy.PAYLOAD_MAX + 1)
    haproxy.load_list(PATH, text, proxy.ask, lambda: reloaded.append(1))
    assert (len(reloaded), len(proxy.told)) == (1, 1)
    other = Proxy("/etc/haproxy/paranal/mx.crl")
    haproxy.load_list(PATH, "text", other.ask, lambda: reloaded.append(1))
    assert (len(reloaded), len(other.told)) == (1, 1)


def test_only_what_is_missing_is_added_and_a_proxy_without_the_list_is_a_fault() -> None:
    proxy = Proxy()
    proxy.revoked = ["pe:0A"]
    haproxy.refuse(haproxy.entries("pe", [10, 0xABC], is_withdrawn=False), proxy.ask)
    assert proxy.revoked == ["pe:0A", "pe:0ABC"]
    with pytest.raises(OSError, match="Unknown"):
        haproxy.refuse([], lambda _: "Unknown ACL identifier.\n")
