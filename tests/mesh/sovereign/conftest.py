"""Countries apart: their controllers, their nodes without the lab's SSH, and the late one.

PARANAL_ORDER is who runs when; the last comes once the others have long served. That a week went by
is not shown: a container has its host's clock (a time namespace moves the monotonic clocks alone,
and a preloaded library neither the kernel nor what charon and its peers agree on), so lateness is
an order. What a week would do to leaves and lists is what ``rotation`` and ``faults`` show.
"""

from __future__ import annotations

import os
import time

import pytest
from testinfra.host import Host

from paranal.lab import countries, equip
from paranal.lab.controllers import Controller, controllers
from paranal.lab.lab import Lab
from tests.mesh.conftest import MEMBERS
from tests.mesh.sovereign.support import enrol, history, inside

ORDER = os.environ.get("PARANAL_ORDER", "mx,cl,pe,co").split(",")
LATE = ORDER[-1]
EARLY = sorted(ORDER[:-1])
assert sorted(ORDER) == MEMBERS, "PARANAL_ORDER names every country once"


@pytest.fixture(scope="session")
def own(lab: Lab) -> dict[str, Controller]:
    """Every country's controller."""
    return {one.member: one for one in controllers(lab.name)}


@pytest.fixture(scope="session")
def nodes(lab: Lab) -> dict[str, Host]:
    """Every node from the inside, as root: the lab itself has no key to any."""
    return {code: inside(lab, code) for code in MEMBERS}


@pytest.fixture(scope="session")
def posts(lab: Lab, own: dict[str, Controller]) -> None:
    """Every country's post, enrolled by its own authority."""
    for one in own.values():
        enrol(lab, one)


@pytest.fixture(scope="session")
def three(lab: Lab, own: dict[str, Controller], nodes: dict[str, Host], posts: None) -> list[str]:
    """The countries that were provisioned in time, each with its records: the third runs now."""
    third = ORDER[-2]
    if not nodes[third].file("/etc/paranal/view.json").exists:
        countries.apply(lab, own[third])
    equip.load_sources(lab, EARLY)
    return EARLY


@pytest.fixture(scope="session")
def whole(
    lab: Lab, own: dict[str, Controller], nodes: dict[str, Host], three: list[str]
) -> dict[str, str]:
    """The late country has provisioned its node too: what the others had applied until then."""
    before = {code: history(nodes[code]) for code in three}
    started = time.monotonic()
    played = countries.apply(lab, own[LATE])
    assert played.changed[LATE] > 0
    equip.load_sources(lab, [LATE])
    print(f"{LATE} late: {time.monotonic() - started:.1f} s")  # noqa: T201 - a figure
    return before
