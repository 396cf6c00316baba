"""A post asks, countries answer, and one answer comes back: over real TLS and real databases."""

from __future__ import annotations

import pytest

from paranal.lab import people
from tests.service.nodes import Mesh


@pytest.mark.req("R9")
@pytest.mark.req("R3")
def test_one_to_one_a_hit(mesh: Mesh) -> None:
    status, answer = mesh.ask_mrz(people.DEMO_WANTED_MRZ, "co")
    assert (status, answer["outcome"], answer["complete"]) == (10, "ALERT", True)
    assert answer["answers"]["co"]["answer"] == "RQ"
    assert answer["answers"]["co"]["code"] == 1
    assert answer["contacts"]["co"]["phone"]
