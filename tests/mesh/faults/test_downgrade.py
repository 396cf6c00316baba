"""A man in the middle who edits IKE_SA_INIT: no SA comes about, and those there are stay."""

from __future__ import annotations

import pytest
from testinfra.host import Host

from paranal.lab.lab import Lab
from paranal.lab.tampering import DOWNGRADES
from tests.mesh.faults.support import edited_in_vain

CLASSIC = sorted(DOWNGRADES.keys() - {"ml-kem"})
"""What there is to edit between two of profile ``classic``; the rest: ``tests/mesh/profiles``."""


@pytest.mark.req("B3", "B4")
@pytest.mark.parametrize(
    "what", [pytest.param(one, marks=pytest.mark.quick) if one == "dh" else one for one in CLASSIC]
)
def test_an_edited_request_makes_no_sa_and_ends_none(
    lab: Lab, nodes: dict[str, Host], what: str
) -> None:
    edited_in_vain(lab, nodes, what)
