"""The running mesh: its lab, its nodes over SSH, and a watch on the wide area during every test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from testinfra.host import Host

from paranal.agreement import Agreement, load, member_view
from paranal.lab import evidence, faults, names
from paranal.lab.home import ROOT
from paranal.lab.lab import Lab
from paranal.lab.relay import Impairment
from paranal.tunnels.upkeep import SETTLED_SECONDS
from tests.mesh.support import (
    Capture,
    by_hand,
    connect,
    eventually,
    every_spi,
    renewals,
    superfluous,
    tunnels_up,
)

LAB = os.environ.get("PARANAL_LAB", "molecule")
AGREEMENT = os.environ.get("PARANAL_AGREEMENT", "pacific-alliance")
AGREED = load(ROOT / "agreement" / f"{AGREEMENT}.yml")
DECLARED = AGREED.members
CHOSEN = os.environ.get("PARANAL_MEMBERS", "")
MEMBERS = sorted(CHOSEN.split(",") if CHOSEN else DECLARED)
KERNEL = [code for code in MEMBERS if DECLARED[code]["data_plane"] == "kernel"]
collect_ignore = ["applying", "closed", "faults", "kernel", "profiles", "rotation", "sovereign"]
"""Each a scenario's own, and collected where it is asked for by name."""
CLOSED = any(peer["pair"]["line_check"] for peer in member_view(AGREED, "pe")["peers"])
"""Whether nothing is open between Peru and one of the others: Chile, where it is."""
PLANE = DECLARED["pe"]["data_plane"]
ARTEFACTS = ROOT / ".build" / "artefacts" / LAB


def pytest_sessionstart() -> None:
    """Forget what an earlier run kept of its failure."""
    shutil.rmtree(ARTEFACTS, ignore_errors=True)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for ``member`` once for each country."""
    if "member" in metafunc.fixturenames:
        metafunc.parametrize("member", MEMBERS, scope="session")


@pytest.fixture(scope="session")
def lab() -> Lab:
    """The lab that PARANAL_LAB names, provisioned and equipped; refused (PAR-0212) when not up."""
    found = Lab(LAB)
    found.facts()
    return found


@pytest.fixture(scope="session")
def agreement(lab: Lab) -> Agreement:
    """The lab's own copy of the agreement."""
    return lab.agreement()


@pytest.fixture(scope="session")
def views(agreement: Agreement) -> dict[str, dict[str, Any]]:
    """Each member's half of the agreement."""
    return {code: member_view(agreement, code) for code in MEMBERS}


@pytest.fixture(scope="session")
def nodes(lab: Lab) -> dict[str, Host]:
    """Every node over SSH (paramiko), as ``ops`` with sudo."""
    return {code: connect(lab, code) for code in MEMBERS}


@pytest.fixture
def node(nodes: dict[str, Host], member: str) -> Host:
    """The node of the country that the test runs for."""
    return nodes[member]


@pytest.fixture
def view(views: dict[str, dict[str, Any]], member: str) -> dict[str, Any]:
    """The agreement's half of the country that the test runs for."""
    return views[member]


@pytest.fixture
def settled(nodes: dict[str, Host]) -> None:
    """No node has an IKE_SA left to renew or to end after a change: from here on SPIs stay."""

    def looked() -> tuple[bool, list[set[str]]]:
        pending = any(renewals(node) or superfluous(node) for node in nodes.values())
        return pending, [every_spi(node) for node in nodes.values()]

    seen = [looked()]

    def quiet() -> bool:
        seen.append(looked())
        return seen[-1] == seen[-2] and not seen[-1][0]

    assert eventually(quiet, 2 * SETTLED_SECONDS + 20), seen[-2:]


@pytest.fixture(scope="module")
def unattended(nodes: dict[str, Host]) -> Iterator[None]:
    """No timer puts right what a test breaks in Colombia and Peru; afterwards tunnels come back."""
    with ExitStack() as stack:
        for code in ("co", "pe"):
            stack.enter_context(by_hand(nodes[code], "heal", "firewall-heal", "line-check"))
        yield
    assert eventually(lambda: tunnels_up(nodes["pe"], ["co", "mx"]), 60)
    assert eventually(lambda: tunnels_up(nodes["co"], ["mx", "pe"]), 60)


@pytest.fixture
def far_apart(lab: Lab) -> Iterator[None]:
    """Every two countries 40 ms apart, one way: with no delay, breaking a tunnel loses nothing."""
    faults.impair(lab, Impairment(delay_ms=40))
    assert faults.present(lab)["line"]["delay_ms"] == 40
    yield
    faults.impair(lab, Impairment())


@pytest.fixture(scope="session")
def watch(lab: Lab, agreement: Agreement) -> Iterator[Capture]:
    """Watch the wide area for inner addresses in clear, from the first test to the last.

    Before and after all tests a planted packet shows that the watch would have seen one.
    """
    prefixes = [member["inner_prefix"] for member in agreement.members.values()]
    watching = Capture(lab, " or ".join(f"net {prefix}" for prefix in prefixes))
    try:
        assert _plant(watching, agreement), "the watch does not see a packet in clear"
        yield watching
        assert _plant(watching, agreement), "the watch went blind while the tests ran"
    finally:
        watching.close()


@pytest.fixture(autouse=True)
def no_clear_text(request: pytest.FixtureRequest) -> Iterator[None]:
    """End the run at the first test during which an inner address was seen in clear."""
    if "lab" not in request.fixturenames:
        yield
        return
    watching: Capture = request.getfixturevalue("watch")
    yield
    if watching.foreign():
        request.session.shouldfail = f"in clear on the wide area: {watching.foreign()[:3]}"
        pytest.fail(request.session.shouldfail)


def _plant(watching: Capture, agreement: Agreement) -> bool:
    """Forge a packet from the first member to the last, as one on the wide area could."""
    first, last = MEMBERS[0], MEMBERS[-1]
    source, target = (agreement.members[code]["addresses"] for code in (first, last))
    return watching.plant(names.wan_link(last), source["operational"], target["operational"])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """At the first failure keep journals, SAs, rules and facts, before anything is put right."""
    report = yield
    if report.failed and "lab" in getattr(item, "fixturenames", ()) and not ARTEFACTS.exists():
        evidence.collect(Lab(LAB), ARTEFACTS)
        report.sections.append(("evidence", str(ARTEFACTS.relative_to(ROOT))))
    return report
