"""Each layer closes what the view suspends, says whether it had to, and never opens more."""

from __future__ import annotations

import json
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment

from paranal.agreement.suspension import Suspension, Suspensions, narrowed
from paranal.firewall import suspended
from paranal.status.bounded import Unreadable
from paranal.status.facts import directions
from paranal.status.firewall import judge
from paranal.suspension import layers, proxy
from paranal.tunnels.charon import CharonError
from tests.unit.agreement.views import REPOSITORY, view

ROLE = REPOSITORY / "roles/query_server/templates/etc/haproxy/paranal/suspended.j2"


def closed(*asked: str, service: str = "") -> dict[str, Any]:
    entries = tuple(Suspension(each, service, "", "ana", "orden 7") for each in asked)
    return narrowed(view("pe", "all-live"), Suspensions(entries))


def address(channel: str = "operational", code: str = "co") -> str:
    peers = view("pe", "all-live")["peers"]
    return next(str(each["addresses"][channel]) for each in peers if each["code"] == code)


def test_a_direction_closes_its_flows_and_leaves_the_channel() -> None:
    found = suspended.elements(closed("co>pe", service="person"))
    assert found == {
        "suspended_channels": [],
        "suspended_asks": [],
        "suspended_answers": [(address(), 7443)],
    }


def test_a_peer_closes_its_channels_too() -> None:
    found = suspended.elements(closed("co>pe", "pe>co"))
    assert found["suspended_channels"] == [(address(),), (address("strategic"),)]


def test_the_words_for_nft_empty_each_set_and_fill_what_is_suspended() -> None:
    assert suspended.text(view("pe", "all-live")).splitlines() == [
        f"flush set inet paranal {name}" for name in suspended.SETS
    ]
    assert (
        f"add element inet paranal suspended_answers {{ {address()} . 7443 }}"
        in suspended.text(closed("co>pe", service="person")).splitlines()
    )


def listing(found: suspended.Elements) -> list[dict[str, Any]]:
    """Return nft's JSON of a table that holds these elements."""
    return [
        {"set": {"name": name, "elem": [{"concat": e} if e[1:] else e[0] for e in map(list, each)]}}
        for name, each in found.items()
    ]


class Kernel:
    """An nft that holds one table, or none."""

    def __init__(self, items: list[dict[str, Any]] | None) -> None:
        self.items = items
        self.loaded: list[str | None] = []

    def __call__(self, command: Sequence[str], text: str | None) -> str:
        if self.items is None:
            raise Unreadable("Error: No such file or directory")
        if command == suspended.LIST:
            return json.dumps({"nftables": self.items})
        self.loaded.append(text)
        return ""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "suspended.nft"
    monkeypatch.setattr(suspended, "FILE", path)
    return path


def test_the_kernel_is_filled_after_the_file(file: Path) -> None:
    wanted, kernel = closed("co>pe"), Kernel(listing(suspended.elements(view("pe", "all-live"))))
    assert suspended.due(wanted)
    assert suspended.keep(wanted, kernel)
    assert kernel.loaded == [file.read_text()] == [suspended.text(wanted)]


def test_what_stands_is_left_alone(file: Path) -> None:
    wanted = closed("co>pe")
    file.write_text(suspended.text(wanted))
    kernel = Kernel(listing(suspended.elements(wanted)))
    assert not suspended.keep(wanted, kernel)
    assert kernel.loaded == []


def test_a_set_that_a_hand_emptied_is_filled_again(file: Path) -> None:
    wanted = closed("co>pe")
    file.write_text(suspended.text(wanted))
    assert suspended.keep(wanted, Kernel(listing({name: [] for name in suspended.SETS})))


def test_without_our_table_only_the_file_is_written(file: Path) -> None:
    assert suspended.keep(closed("co>pe"), Kernel(None))
    assert file.exists()
    assert not suspended.keep(closed("co>pe"), Kernel(None))


def test_a_node_that_never_suspended_has_nothing_to_keep(file: Path) -> None:
    assert not suspended.due(view("pe", "all-live"))
    file.write_text("")
    assert suspended.due(view("pe", "all-live"))


def accepting(asker: str, answerer: str, port: int) -> list[dict[str, Any]]:
    """Return nft's JSON of the two rules that open a direction."""
    ends = [
        {"saddr": asker, "daddr": answerer, "dport": port},
        {"saddr": answerer, "daddr": asker, "sport": port},
    ]
    return [
        {
            "rule": {
                "expr": [
                    *(
                        {"match": {"op": "==", "left": {"payload": {"field": f}}, "right": value}}
                        for f, value in each.items()
                    ),
                    {"accept": None},
                ]
            }
        }
        for each in ends
    ]


@pytest.mark.parametrize("asked", [("co>pe",), ("co>pe", "pe>co")])
def test_status_takes_a_suspended_flow_for_closed(asked: tuple[str, ...]) -> None:
    found = view("pe", "all-live")
    peer = next(each for each in found["peers"] if each["code"] == "co")
    flow = ("answers", "co", "person")
    ways = [each for each in directions(found, peer) if each.flow == flow]
    accepts = accepting(address(), found["member"]["addresses"]["operational"], 7443)
    assert judge(accepts, found["member"], ways).flows == {flow}
    shut = judge([*accepts, *listing(suspended.elements(closed(*asked)))], found["member"], ways)
    assert not shut.flows
    assert not shut.partial


def test_the_role_and_the_command_write_the_same_list() -> None:
    render = Environment(trim_blocks=True, keep_trailing_newline=True).from_string(  # noqa: S701 - no HTML
        ROLE.read_text()
    )
    for asked in ((), ("co>pe",), ("co>pe", "mx>pe"), ("pe>co",)):
        assert render.render(node_view=closed(*asked)) == proxy.text(closed(*asked))
    both = [address(), address("strategic")]
    assert proxy.text(closed("co>pe")).splitlines() == [proxy.HEADING, *both]
    assert proxy.text(closed("pe>co")).splitlines() == [proxy.HEADING]


class Running:
    """A HAProxy that knows some addresses and holds some connections."""

    def __init__(self, known: list[str], sessions: str = "", has_list: bool = True) -> None:
        self.known, self.held, self.has_list = known, sessions, has_list
        self.told: list[str] = []

    def __call__(self, command: str) -> str:
        if command == "show acl":
            return f"0 ({proxy.FILE}) pattern loaded from file\n" if self.has_list else "# id\n"
        if command.startswith("show acl"):
            return "".join(f"0x55 {each}\n" for each in self.known)
        if command == "show sess":
            return self.held
        self.told.append(command)
        return ""


@pytest.fixture
def known_to_haproxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "suspended"
    path.write_text("")
    monkeypatch.setattr(proxy, "FILE", path)
    return path


def test_a_running_haproxy_is_told_and_what_it_held_is_ended(known_to_haproxy: Path) -> None:
    held = (
        f"0x7f01: proto=tcpv4 src={address()}:40001 fe=alliance be=alliance\n"
        f"0x7f02: proto=tcpv4 src={address(code='mx')}:40002 fe=alliance be=alliance\n"
        f"0x7f03: proto=tcpv4 src={address()}:40003 fe=national be=national\n"
        "0x7f04: proto=unix_stream src=unix:1 fe=GLOBAL be=<NONE>\n"
    )
    running = Running([], held)
    assert proxy.close(closed("co>pe"), running)
    assert running.told == [
        f"add acl {known_to_haproxy} {address()}",
        f"add acl {known_to_haproxy} {address('strategic')}",
        "shutdown session 0x7f01",
    ]
    assert known_to_haproxy.read_text() == proxy.text(closed("co>pe"))


def test_a_haproxy_that_knows_is_told_nothing(known_to_haproxy: Path) -> None:
    known_to_haproxy.write_text(proxy.text(closed("co>pe")))
    running = Running([address(), address("strategic")])
    assert not proxy.close(closed("co>pe"), running)
    assert running.told == []


def test_what_is_suspended_no_more_leaves_the_running_list_too(known_to_haproxy: Path) -> None:
    running = Running([address(), address("strategic"), address(code="mx")])
    assert proxy.close(closed("co>pe"), running)
    assert running.told == [f"del acl {known_to_haproxy} {address(code='mx')}"]


def test_a_haproxy_without_the_listener_has_no_list(known_to_haproxy: Path) -> None:
    running = Running([], has_list=False)
    assert proxy.close(closed("co>pe"), running)
    assert not proxy.close(closed("co>pe"), running)
    assert running.told == []


def test_a_node_without_haproxy_has_nothing_to_close(known_to_haproxy: Path) -> None:
    known_to_haproxy.unlink()
    assert not proxy.close(closed("co>pe"), Running([]))
    assert not known_to_haproxy.exists()


def test_ipv6_connections_are_found() -> None:
    shown = "0x1: proto=tcpv6 src=3fff:57:0:2::1:443 fe=alliance be=a\n"
    assert proxy.sessions(shown, ["3fff:57:0:2::1"]) == ["0x1"]
    assert ip_address("3fff:57:0:2::1").version == 6


def test_a_layer_that_fails_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> bool:
        raise CharonError("no answer")

    monkeypatch.setattr(
        layers, "LAYERS", {"charon": broken, "nft": lambda _: True, "haproxy": lambda _: False}
    )
    assert layers.close({}) == {
        "charon": "failed: no answer",
        "nft": "closed",
        "haproxy": "stands",
    }
