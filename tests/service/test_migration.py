"""Two charons go from one crypto profile to the next, and take no more what they ran before."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from paranal.agreement.crypto import PROFILES
from tests.mesh.profiles.support import PROBE, STEPS, Step, offer
from tests.mesh.support import eventually, ike_suite
from tests.service.gateways import PAIR, Gateways, declared, gateways


@pytest.fixture(params=sorted(STEPS))
def two(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Gateways, list[Step]]]:
    folder = Path(tmp_path_factory.mktemp("lab"))
    with gateways(f"steps-{request.param}", folder, request.param) as made:
        yield made, STEPS[request.param]


def _runs(two: Gateways, step: Step) -> bool:
    agreed = PROFILES[step.profile]
    wanted = ("ESTABLISHED", (agreed.encryption, agreed.prf, agreed.key_exchange), agreed.ppk)
    return all(
        [(sa["state"], ike_suite(sa), sa.get("ppk") == "yes") for sa in two.sas(code)] == [wanted]
        for code in PAIR
    )


@pytest.mark.req("R6", "B4")
def test_what_a_pair_ran_before_is_refused_and_what_it_runs_taken(
    two: tuple[Gateways, list[Step]],
) -> None:
    both, steps = two
    for last, step in pairwise([Step(""), *steps]):
        agreement = declared(step.profile, step.generation)
        for code, seconds in (("pe", 0), ("co", 15), *((code, 15) for code in PAIR)):
            both.apply(code, agreement, seconds)
        assert eventually(partial(_runs, both, step), 15), both.log("co")[-3000:]
        if not last.profile:
            continue
        elder, heard = declared(last.profile, last.generation), len(both.log(step.by))
        taken = {}
        for one in (elder, agreement):
            config = offer(both.connection("co", one)["connection"]["config"])
            given = {"name": PROBE, "config": config, "keys": both.keys("co", one)}
            said = both.script("co", "connection", **given, start=["strategic"])
            both.script("co", "connection", forget=PROBE)
            taken[one is agreement] = said["strategic"] is None
        assert taken == {False: False, True: True}
        assert step.said in both.log(step.by)[heard:]
