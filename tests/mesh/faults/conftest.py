"""What is judged after every fault.

Every fault happens with 40 ms between two countries, one way: without delay breaking a tunnel costs
nothing. After the test the lines are mended and nobody helps.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from testinfra.host import Host

from paranal.lab import faults
from paranal.lab.home import ROOT
from paranal.lab.lab import Lab
from tests.mesh.conftest import AGREEMENT
from tests.mesh.faults.support import DISTANCE, SINGLE_SECONDS, healed, odd, until

FIGURES = ROOT / ".build" / "reports" / f"faults-{AGREEMENT}.json"

Note = Callable[[str, object], None]


@pytest.fixture(scope="session")
def figures() -> Iterator[dict[str, dict[str, object]]]:
    """What the tests measured, by test; kept beside the reports."""
    found: dict[str, dict[str, object]] = {}
    yield found
    FIGURES.parent.mkdir(parents=True, exist_ok=True)
    FIGURES.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


@pytest.fixture
def note(request: pytest.FixtureRequest, figures: dict[str, dict[str, object]]) -> Note:
    """Note a figure of this test: its name and value."""
    return figures.setdefault(request.node.name, {}).__setitem__


@pytest.fixture(autouse=True)
def heals(no_clear_text: None, lab: Lab, nodes: dict[str, Host], note: Note) -> Iterator[None]:
    """Begin with a whole mesh; afterwards it is whole again in time, with one IKE_SA per pair."""
    faults.clear(lab)
    faults.impair(lab, DISTANCE)
    assert until(lambda: not odd(nodes), SINGLE_SECONDS) is not None, odd(nodes)
    yield
    note("whole again after s", round(healed(lab, nodes), 1))
    single = until(lambda: not odd(nodes), SINGLE_SECONDS)
    assert single is not None, odd(nodes)
    note("single again after further s", round(single, 1))
    faults.clear(lab)
