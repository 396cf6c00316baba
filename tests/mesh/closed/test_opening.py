"""Chile and Peru come into service: pending, on trial, live; one run each, and nobody else notices.

Both directions of the pair, at each layer. The other three countries' posts ask each other all the
time, 40 ms apart one way.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from testinfra.host import Host

from paranal.agreement import lab as ministries
from paranal.agreement import load
from paranal.agreement.changes import changes
from paranal.lab import faults
from paranal.lab.bench_rotate import asking
from paranal.lab.bench_tunnel import DELAY_MS
from paranal.lab.home import ROOT
from paranal.lab.lab import Lab
from paranal.lab.relay import Impairment
from paranal.messages import Refusal
from tests.mesh.conftest import CLOSED
from tests.mesh.signing import Agreement, propose, refused
from tests.mesh.support import (
    ASKER,
    PERSON,
    Views,
    call_alliance,
    eventually,
    on_node,
    played,
    sas_with,
    spis,
    tunnels_up,
)

pytestmark = [
    pytest.mark.req("R12", "B2"),
    pytest.mark.skipif(not CLOSED, reason="every pair of this agreement is in service"),
]
PAIR, OPENED = ["cl", "pe"], ("person", "strategic", "control")
OTHERS = [("co", "mx"), ("co", "pe"), ("mx", "pe")]
LEGAL = {"instrument": "Acuerdo de ensayo entre Chile y Perú (ejemplo)", "date": "2026-11-25"}
TEST_IDENTITY = {**PERSON, "document_issuer": "UTO"}
RATE, FEWEST = 12.0, 100
WITHIN_SECONDS = 60
REPORT = ROOT / ".build" / "reports" / "opening.json"
EXPECTED = {
    "pending": {"tunnel": False, "nft": False, "tls": False, "test": 403, "person": 403},
    "trial": {"tunnel": True, "nft": True, "tls": True, "test": 200, "person": 403},
    "live": {"tunnel": True, "nft": True, "tls": True, "test": 200, "person": 200},
}
"""Status -> what is there at each layer, and the service's own answer to either identity."""
THROUGH = {"pending": (None, None), "trial": (200, 403), "live": (200, 200)}
"""Status -> what the asker's gateway is told through all of them."""


@pytest.fixture(params=[("cl", "pe"), ("pe", "cl")], ids=">".join)
def way(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Asker and answerer."""
    asker, answerer = request.param
    return asker, answerer


def opened(document: Agreement, status: str) -> None:
    """Give the pair's two directions, and Chile as a whole, a status, by the instrument."""
    document["members"]["cl"]["status"] = status
    (pair,) = (one for one in document["pairs"] if one["members"] == PAIR)
    for direction in pair["directions"].values():
        direction["services"] |= dict.fromkeys(OPENED, status)
        direction["legal"] = dict(LEGAL)  # an alias is refused


def on_trial(document: Agreement) -> None:
    opened(document, "trial")


def layers(nodes: dict[str, Host], views: Views, asker: str, answerer: str) -> dict[str, Any]:
    """Return what each layer of a direction, looked at by itself, has for it."""
    here, rule = nodes[answerer], f'"{asker}>{answerer} person"'
    names = (f"{asker}.{views[answerer]['member']['identities']['operational']}",)
    ends = [(asker, answerer), (answerer, asker)]
    found = {
        "tunnel": {"operational" in spis(nodes[one], other) for one, other in ends},
        "nft": {rule in nodes[one].check_output("nft list table inet paranal") for one in PAIR},
        "tls": {here.run("grep -F %s /etc/haproxy/paranal/crt-list", *names).rc == 0},
        "test": {behind(nodes, views, asker, answerer, TEST_IDENTITY)},
        "person": {behind(nodes, views, asker, answerer, PERSON)},
    }
    return {layer: next(iter(seen)) if len(seen) == 1 else seen for layer, seen in found.items()}


def behind(
    nodes: dict[str, Host], views: Views, asker: str, answerer: str, person: dict[str, str]
) -> int:
    """Return the answering service's status, were the asker let through to it."""
    own, asked = views[asker]["member"], views[answerer]["member"]
    status: int = on_node(
        nodes[answerer],
        "behind",
        socket="/run/paranal/alliance/http.sock",
        certificate=nodes[asker].check_output("openssl x509 -in %s", ASKER),
        server_name=f"{asker}.{asked['identities']['operational']}",
        source=own["addresses"]["operational"],
        body=question(person),
    )
    return status


def question(person: dict[str, str]) -> dict[str, Any]:
    return {"request_id": str(uuid4()), "purpose": "border_entry", "person": person}


def through(nodes: dict[str, Host], views: Views, way: tuple[str, str]) -> tuple[Any, Any]:
    """Return what the asker's gateway is told about a test identity and about a person."""
    test, person = (
        call_alliance(nodes, views, *way, body=question(one), seconds=2)["status"]
        for one in (TEST_IDENTITY, PERSON)
    )
    return test, person


@pytest.fixture(scope="module")
def before(lab: Lab, nodes: dict[str, Host]) -> Iterator[Agreement]:
    """What is agreed; afterwards it is so again."""
    document = copy.deepcopy(lab.agreement().document)
    yield document
    lab.declare(document)
    played(lab)
    assert eventually(lambda: not sas_with(nodes["pe"], "cl"), WITHIN_SECONDS)


def run_under_load(lab: Lab, nodes: dict[str, Host], status: str) -> dict[str, Any]:
    """Apply once on every node while the others ask; return the figures of it."""
    faults.impair(lab, Impairment(delay_ms=DELAY_MS))
    kept = [spis(nodes[one], other) for one, other in OTHERS]
    try:
        with asking(lab, RATE, ["co", "mx", "pe"]) as ended:
            played(lab)
            assert eventually(lambda: tunnels_up(nodes["pe"], ["cl"]), WITHIN_SECONDS)
            asked = ended()
    finally:
        faults.impair(lab, Impairment())
    lost = [each for each in asked if ":" in each[2]]
    figures = json.loads(REPORT.read_text(encoding="utf-8")) if status == "live" else {}
    figures[status] = {"asked": len(asked), "lost": len(lost)}
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    same = kept == [spis(nodes[one], other) for one, other in OTHERS]
    return {"asked": len(asked), "lost": lost, "kept": same}


@pytest.fixture(scope="module")
def trial(lab: Lab, nodes: dict[str, Host], before: Agreement) -> dict[str, Any]:
    """The last signature has come, and one run was made."""
    if lab.agreement().document == before:
        propose(lab, on_trial)
    ministries.ensure(lab.home.folder)
    return run_under_load(lab, nodes, "trial")


@pytest.fixture(scope="module")
def live(lab: Lab, nodes: dict[str, Host], trial: dict[str, Any]) -> dict[str, Any]:
    """The next epoch is signed by all, and one run was made."""
    document = copy.deepcopy(lab.agreement().document)
    opened(document, "live")
    lab.declare(document)
    return run_under_load(lab, nodes, "live")


def test_what_is_pending_is_closed_at_every_layer(
    nodes: dict[str, Host], views: Views, before: Agreement, way: tuple[str, str]
) -> None:
    assert layers(nodes, views, *way) == EXPECTED["pending"]
    assert through(nodes, views, way) == THROUGH["pending"]


def test_without_its_instrument_no_direction_opens(lab: Lab, before: Agreement) -> None:
    document = copy.deepcopy(before)
    on_trial(document)
    named = {one.field: one.after for one in changes(before, document) if "legal" in one.field}
    assert {tuple(each.items()) for each in named.values()} == {tuple(LEGAL.items())}
    assert len(named) == 2
    for pair in document["pairs"]:
        if pair["members"] == PAIR:
            del pair["directions"]["pe>cl"]["legal"]
    text = lab.home.agreement.read_bytes()
    try:
        with pytest.raises(Refusal, match=r"PAR-0109.*pe>cl"):
            lab.declare(document)
    finally:
        lab.home.agreement.write_bytes(text)
    load(lab.home.agreement)


def test_while_one_signature_is_missing_nothing_opens(
    lab: Lab, nodes: dict[str, Host], views: Views, before: Agreement
) -> None:
    """Mexico's, which is no end of the pair: what widens needs everybody."""
    propose(lab, on_trial, "cl", "co", "pe")
    said = refused(lab, list(nodes.values()))
    assert said.count("PAR-0152") >= len(nodes)
    assert "SE ABRE cl entero: su estado pasa de pending a trial" in " ".join(said.split())
    for one in (("cl", "pe"), ("pe", "cl")):
        assert layers(nodes, views, *one) == EXPECTED["pending"]


def test_one_run_puts_it_on_trial_and_the_others_lose_nothing(
    nodes: dict[str, Host], views: Views, trial: dict[str, Any], way: tuple[str, str]
) -> None:
    assert trial["lost"] == []
    assert trial["asked"] > FEWEST
    assert trial["kept"], "the other pairs keep their SPIs"
    assert layers(nodes, views, *way) == EXPECTED["trial"]
    assert through(nodes, views, way) == THROUGH["trial"]


def test_one_more_puts_it_into_service_and_the_others_lose_nothing(
    nodes: dict[str, Host], views: Views, live: dict[str, Any], way: tuple[str, str]
) -> None:
    assert live["lost"] == []
    assert live["asked"] > FEWEST
    assert live["kept"], "the other pairs keep their SPIs"
    assert layers(nodes, views, *way) == EXPECTED["live"]
    assert through(nodes, views, way) == THROUGH["live"]
