"""``paranal status`` sees the truth in real parts: the log, the health checks, the active try."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from paranal.lab import people
from tests.service.nodes import Mesh, until

SEEN = """
import json, sys
from pathlib import Path
from paranal.status import exchange, probe, services
from paranal.status.facts import directions
view = json.loads(Path("/etc/paranal/view.json").read_text())
flows = [each for peer in view["peers"] for each in directions(view, peer)]
asks = {each.flow[1]: each for each in flows if each.flow[0::2] == ("asks", "person")}
log = exchange.read(view["member"]["code"], flows)
print(json.dumps({
    "log": {"/".join(flow): [str(last.last_good), str(last.last_at), last.outcome]
            for flow, last in log.items()},
    "reached": {code: probe.reach(view["member"], asks[code], seconds=3) for code in sys.argv[1:]},
    "healthy": [unit for unit, path in services.SOCKETS.items() if services.is_healthy(path)],
}))
"""
"""What the collectors see on a node, as root; no systemd runs there, so units are not asked."""


def seen(mesh: Mesh, at: str, *probed: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(mesh.nodes[at].must("python3", "-c", SEEN, *probed))
    return found


@pytest.fixture
def stopped(mesh: Mesh) -> Iterator[None]:
    """Colombia's alliance service is down, its proxy is up; afterwards that has found it again."""
    mesh.nodes["co"].stop("alliance")
    until(lambda: mesh.nodes["co"].health("alliance") is None, "co stops")
    yield
    mesh.nodes["co"].start("alliance")
    until(lambda: seen(mesh, "pe", "co")["reached"] == {"co": "answered"}, "co's proxy finds it")


def test_the_log_gives_the_last_good_question_of_each_direction(mesh: Mesh) -> None:
    mesh.ask_mrz(people.DEMO_WANTED_MRZ, "co")
    ours = seen(mesh, "pe")["log"]
    good, last, outcome = ours["asks/co/person"]
    assert (good, outcome) == (last, "GOOD")
    assert ours["asks/cl/person"][0] == "None"
    assert ours["answers/co/person"] == ["None", "None", None]
    theirs = seen(mesh, "co")["log"]
    assert theirs["answers/pe/person"][2] == "GOOD"
    assert theirs["asks/pe/person"] == ["None", "None", None]


def test_the_active_try_is_answered_and_leaves_no_question_in_the_log(mesh: Mesh) -> None:
    before = mesh.nodes["co"].value("SELECT count(*) FROM exchange.query")
    found = seen(mesh, "pe", "co", "mx")
    assert found["reached"] == {"co": "answered", "mx": "answered"}
    assert found["healthy"] == ["paranal-national.service"]
    assert mesh.nodes["co"].value("SELECT count(*) FROM exchange.query") == before


@pytest.mark.usefixtures("stopped")
def test_a_proxy_without_its_service_is_their_fault(mesh: Mesh) -> None:
    assert seen(mesh, "pe", "co")["reached"] == {"co": "http_failed"}
    assert seen(mesh, "co")["healthy"] == []
    mesh.ask_mrz(people.DEMO_CLEAN_MRZ, "co")
    good, last, outcome = seen(mesh, "pe")["log"]["asks/co/person"]
    assert outcome == "UNAVAILABLE"
    assert good != last


def test_a_try_of_another_country_in_its_place_is_not_trusted(mesh: Mesh) -> None:
    node = mesh.nodes["pe"]
    kept = {path: node.must("cat", path) for path in ("/etc/haproxy/paranal/co-ca.pem",)}
    node.put({path: node.must("cat", path.replace("co-", "mx-")) for path in kept})
    try:
        assert seen(mesh, "pe", "co", "mx")["reached"] == {"co": "tls_untrusted", "mx": "answered"}
    finally:
        node.put(kept)
