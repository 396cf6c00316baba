"""What Peru suspends by itself is refused at once and at each layer alone; the others go on.

First one direction, which leaves the tunnel up; then a whole peer, with the three others out of
reach. No timer acts meanwhile: what is seen is the command's own doing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import pytest
from testinfra.host import Host

from paranal.cli import EXIT_REFUSED
from paranal.lab import faults
from paranal.lab.lab import Lab
from paranal.lab.raising import reboot
from paranal.lab.relay import Impairment
from tests.mesh.flows import ASK_AGAIN, held_query, questions
from tests.mesh.support import (
    Views,
    by_hand,
    call_alliance,
    changed_by,
    connect,
    counted,
    eventually,
    played,
    sas_with,
    spis,
    tunnels_up,
)

pytestmark = [pytest.mark.req("R12"), pytest.mark.usefixtures("unattended")]
RECORD = "/var/lib/paranal/suspended.json"
LIST = "/etc/haproxy/paranal/suspended"
SOCKET = "/run/haproxy/admin.sock"
TOLD = "python3 -I -c %s %s %s"
TELL = (
    "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); "
    "s.sendall(sys.argv[2].encode() + b'\\n'); print(s.makefile().read())"
)
DIRECTION, REASON = "co>pe", "orden 7"
FEWEST_QUERIES = 10
DELAY_MS = 40
TOLD_SECONDS = 10
AGREED_SECONDS = 60
"""Within which a suspension must hold at every layer (issue 4)."""
Opened = Callable[..., AbstractContextManager[None]]


def _suspend(node: Host, what: str, *words: str) -> dict[str, Any]:
    """Suspend here; return what the command tells, and the seconds that it took."""
    begun = time.monotonic()
    asked = ("paranal", "suspend", what, *words)
    told: dict[str, Any] = json.loads(node.check_output(" ".join(["%s"] * len(asked)), *asked))
    return {**told, "took": time.monotonic() - begun}


def _heard(node: Host) -> list[dict[str, Any]]:
    """Return what a node's status says that Peru told it has closed."""
    shown = json.loads(node.run("paranal status --json").stdout)
    closed: list[dict[str, Any]] = shown["notices"]["pe"]["notice"]["closed"]
    return closed


@pytest.fixture(scope="module")
def left_open(lab: Lab, nodes: dict[str, Host]) -> Iterator[None]:
    """Whatever a test leaves suspended is lifted at the end."""
    yield
    for code in ("cl", "co", "mx"):
        nodes["pe"].run("paranal suspend %s --lift", code)
    played(lab, "--limit", "pe")
    nodes["pe"].check_output("paranal firewall heal")


@pytest.fixture(scope="module")
def suspended(lab: Lab, nodes: dict[str, Host], views: Views, left_open: None) -> dict[str, Any]:
    """Colombia's direction to Peru is suspended under way; what was seen of it, and of Mexico."""
    played(lab, "--limit", "pe")  # what a lab's first run left to do is no doing of the suspension
    # With no delay two posts ask more than a listener takes from one.
    faults.impair(lab, Impairment(delay_ms=DELAY_MS))
    seen: dict[str, Any] = {"spis": [spis(nodes["pe"], peer) for peer in ("co", "mx")]}
    with held_query(nodes, views) as held, questions(lab, views, "mx", "pe") as asked:
        assert call_alliance(nodes, views, "co")["status"] == 200
        begun = time.monotonic()
        seen |= _suspend(nodes["pe"], DIRECTION, "--reason", REASON, "--json")
        seen["refused"] = call_alliance(nodes, views, "co", seconds=2)
        seen["seconds"] = time.monotonic() - begun
        nodes["co"].check_output(ASK_AGAIN)
        eventually(lambda: "second" in held(), 10)
        seen["held"] = held()
        seen["mexico"] = asked()
    faults.impair(lab, Impairment())
    print(json.dumps({key: seen[key] for key in ("seconds", "took", "mexico")}))  # noqa: T201 - the figures of this run
    return seen


def test_a_direction_is_refused_at_once_and_no_other(
    nodes: dict[str, Host], suspended: dict[str, Any]
) -> None:
    assert suspended["layers"] == {"nft": "closed", "haproxy": "closed", "charon": "stands"}
    assert not suspended["refused"]["reached"]
    assert suspended["seconds"] < AGREED_SECONDS
    assert suspended["held"].get("second") != 200
    assert suspended["mexico"]["failed"] == []
    assert suspended["mexico"]["answered"] >= FEWEST_QUERIES
    assert [spis(nodes["pe"], peer) for peer in ("co", "mx")] == suspended["spis"]


@pytest.fixture
def opened(nodes: dict[str, Host], views: Views) -> Opened:
    """Open some of Peru's layers by hand for the length of a block."""
    node, co = nodes["pe"], views["co"]["member"]["addresses"]["operational"]

    @contextmanager
    def nft() -> Iterator[None]:
        node.check_output("nft flush set inet paranal suspended_answers")
        yield

    @contextmanager
    def haproxy() -> Iterator[None]:
        node.check_output(TOLD, TELL, SOCKET, f"del acl {LIST} {co}")
        yield

    @contextmanager
    def application() -> Iterator[None]:
        node.check_output(f"mv {RECORD} {RECORD}.aside")
        try:
            yield
        finally:
            node.check_output(f"mv {RECORD}.aside {RECORD}")

    layers = {"nft": nft, "haproxy": haproxy, "application": application}

    @contextmanager
    def some(*names: str) -> Iterator[None]:
        try:
            with ExitStack() as stack:
                # The timer closes what it finds open: that is proved elsewhere, and races this.
                stack.enter_context(by_hand(node, "firewall-heal"))
                for name in names:
                    stack.enter_context(layers[name]())
                yield
        finally:
            node.check_output("paranal suspend --apply")

    return some


@pytest.mark.usefixtures("suspended")
def test_nft_alone_holds(nodes: dict[str, Host], views: Views, opened: Opened) -> None:
    before = counted(nodes["pe"], "dropped_input")
    with opened("haproxy", "application"):
        assert not call_alliance(nodes, views, "co", seconds=2)["reached"]
    assert counted(nodes["pe"], "dropped_input") > before


@pytest.mark.usefixtures("suspended")
def test_haproxy_alone_holds(nodes: dict[str, Host], views: Views, opened: Opened) -> None:
    with opened("nft", "application"):
        refused = call_alliance(nodes, views, "co")
    assert (refused["reached"], refused["status"]) == (True, None)


@pytest.mark.usefixtures("suspended")
def test_the_application_alone_holds(nodes: dict[str, Host], views: Views, opened: Opened) -> None:
    with opened("nft", "haproxy"):
        refused = call_alliance(nodes, views, "co")
    assert refused["status"] == 403
    assert refused["answer"]["refusal"]["code"] == "PAR-0530"


@pytest.mark.usefixtures("suspended")
def test_with_every_layer_open_it_would_answer(
    nodes: dict[str, Host], views: Views, opened: Opened
) -> None:
    with opened("nft", "haproxy", "application"):
        assert call_alliance(nodes, views, "co")["status"] == 200
    assert not call_alliance(nodes, views, "co", seconds=2)["reached"]


@pytest.mark.usefixtures("suspended")
def test_once_more_changes_nothing_and_status_tells(nodes: dict[str, Host]) -> None:
    again = _suspend(nodes["pe"], DIRECTION, "--reason", "otra", "--json")
    assert not again["changed"]
    assert set(again["layers"].values()) == {"stands"}
    (entry,) = again["suspended"]
    assert (entry["direction"], entry["reason"], entry["by"]) == (DIRECTION, REASON, "ops")
    shown = nodes["pe"].run("paranal status --json")
    assert entry in json.loads(shown.stdout)["suspended"]


@pytest.mark.usefixtures("suspended")
def test_the_peer_is_told_what_is_closed_and_not_why(nodes: dict[str, Host]) -> None:
    assert eventually(lambda: _heard(nodes["co"]) != [], TOLD_SECONDS)
    closed = _heard(nodes["co"])
    assert {one["direction"] for one in closed} == {DIRECTION}
    assert "person" in {one["service"] for one in closed}
    shown = nodes["co"].run("paranal status").stdout
    assert "PAR-0654" in shown
    assert REASON not in shown
    assert _heard(nodes["mx"]) == []


@pytest.mark.parametrize(
    ("account", "words", "code"),
    [
        ("nobody", "co --reason x", "PAR-0690"),
        ("root", "co", "PAR-0747"),
        ("root", "xx --reason x", "PAR-0741"),
        ("root", "mx --lift", "PAR-0743"),
    ],
)
@pytest.mark.usefixtures("suspended")
def test_what_is_refused_changes_nothing(
    nodes: dict[str, Host], account: str, words: str, code: str
) -> None:
    before = nodes["pe"].file(RECORD).content_string
    refused = nodes["pe"].run(f"runuser -u {account} -- paranal suspend {words}")
    assert refused.rc == EXIT_REFUSED
    assert code in refused.stderr
    assert nodes["pe"].file(RECORD).content_string == before


@pytest.mark.usefixtures("suspended")
def test_the_next_run_a_restart_and_a_boot_keep_it(
    lab: Lab, nodes: dict[str, Host], views: Views
) -> None:
    changed = changed_by(played(lab, "--limit", "pe"))
    assert changed.get("pe", set()) <= {"base", "firewall", "query_server"}
    assert not call_alliance(nodes, views, "co", seconds=2)["reached"]
    assert changed_by(played(lab, "--limit", "pe")) == {}
    services = "haproxy.service paranal-alliance.service"
    nodes["pe"].check_output(f"systemctl restart {services}")
    nodes["pe"].check_output("systemctl reload paranal-firewall.service")
    assert not call_alliance(nodes, views, "co", seconds=2)["reached"]
    reboot(lab, "pe")
    nodes["pe"] = connect(lab, "pe")
    assert eventually(lambda: tunnels_up(nodes["pe"], ["co", "mx"]), AGREED_SECONDS)
    assert not call_alliance(nodes, views, "co", seconds=2)["reached"]
    assert eventually(lambda: call_alliance(nodes, views, "mx")["status"] == 200, 30)


@pytest.mark.usefixtures("suspended")
def test_what_is_lifted_opens_with_the_next_run_and_not_before(
    lab: Lab, nodes: dict[str, Host], views: Views
) -> None:
    _suspend(nodes["pe"], DIRECTION, "--lift", "--json")
    nodes["pe"].check_output("paranal firewall heal")
    nodes["pe"].check_output("paranal tunnels heal")
    assert not call_alliance(nodes, views, "co", seconds=2)["reached"]
    played(lab, "--limit", "pe")
    nodes["pe"].check_output("paranal firewall heal")
    assert call_alliance(nodes, views, "co")["status"] == 200
    assert eventually(lambda: _heard(nodes["co"]) == [], TOLD_SECONDS)


@pytest.mark.usefixtures("left_open")
def test_a_peer_whose_control_closes_is_told_before(lab: Lab, nodes: dict[str, Host]) -> None:
    told = _suspend(nodes["pe"], "mx", "--reason", REASON, "--json")
    assert told["told"] == {"mx": ""}
    assert {one["direction"] for one in _heard(nodes["mx"])} == {"pe>mx", "mx>pe"}
    _suspend(nodes["pe"], "mx", "--lift", "--json")
    played(lab, "--limit", "pe")
    nodes["pe"].check_output("paranal firewall heal")
    nodes["mx"].check_output("paranal tunnels heal")
    assert eventually(lambda: _heard(nodes["mx"]) == [], AGREED_SECONDS)


@pytest.fixture
def out_of_reach(lab: Lab) -> Iterator[Callable[[], None]]:
    """Nobody reaches Peru, nor Peru anybody; what is yielded ends that."""
    faults.isolate(lab, "pe")
    yield lambda: faults.clear(lab)
    faults.clear(lab)


@pytest.mark.usefixtures("left_open")
def test_a_peer_is_closed_with_the_other_three_out_of_reach(
    lab: Lab, nodes: dict[str, Host], views: Views, out_of_reach: Callable[[], None]
) -> None:
    told = _suspend(nodes["pe"], "co", "--reason", REASON, "--json")
    print(json.dumps({key: told[key] for key in ("took", "layers")}))  # noqa: T201 - the figures of this run
    assert told["took"] < AGREED_SECONDS
    assert told["told"]["co"], "nobody could be told"
    assert set(told["layers"].values()) == {"closed"}
    assert not any(sa.get("child-sas") for sa in sas_with(nodes["pe"], "co"))
    out_of_reach()
    # Peru may still show the SA that Mexico has given up meanwhile: what counts is an answer.
    assert eventually(lambda: call_alliance(nodes, views, "mx")["status"] == 200, AGREED_SECONDS)
    nodes["co"].check_output("paranal tunnels heal")
    assert not any(sa.get("child-sas") for sa in sas_with(nodes["pe"], "co"))
    assert not call_alliance(nodes, views, "co", seconds=2)["reached"]
    _suspend(nodes["pe"], "co", "--lift", "--json")
    played(lab, "--limit", "pe")
    nodes["pe"].check_output("paranal firewall heal")
    nodes["co"].check_output("paranal tunnels heal")  # what its timer does
    assert eventually(lambda: tunnels_up(nodes["pe"], ["co"]), AGREED_SECONDS)
    assert eventually(lambda: call_alliance(nodes, views, "co")["status"] == 200, 10)
