"""Each forbidden suite, offered by the peer's own address, is refused by a real charon."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from paranal.agreement.forbidden import AGREED, FORBIDDEN_ESP, forbidden
from tests.mesh.offers import answers, old_request, request
from tests.mesh.support import eventually
from tests.service.gateways import Gateways, declared, gateways


@dataclass(frozen=True)
class Pair:
    """Two gateways with their pair up."""

    two: Gateways
    profile: str

    def offer(self, *messages: bytes) -> list[str]:
        """Send requests from Colombia's address to Peru's gateway."""
        members = declared(self.profile, None).members
        source, target = (members[code]["wan_address"] for code in ("co", "pe"))
        given = {"source": source, "target": target, "seconds": 2}

        def ask(some: Sequence[bytes]) -> list[str | None]:
            texts = [message.hex() for message in some]
            said: list[str | None] = self.two.script("co", "ike_request", **given, messages=texts)
            return said

        return answers(ask, messages)

    def spis(self) -> set[str]:
        """Return the SPIs of every child that Peru holds."""
        sas = self.two.sas("pe")
        return {child["spi-in"] for sa in sas for child in sa["child-sas"].values()}


@pytest.fixture(scope="module", params=["classic", "hybrid"])
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    folder, profile = Path(tmp_path_factory.mktemp("lab")), request.param
    suite = "forky" if profile == "hybrid" else "trixie"
    with gateways(profile, folder, suite) as two:
        made, agreement = Pair(two, profile), declared(profile, None)
        two.apply("pe", agreement, 0)
        two.apply("co", agreement)
        assert eventually(lambda: len(made.spis()) == 2, 10), two.log("co")[-3000:]
        yield made


@pytest.mark.req("R6", "B4")
def test_a_forbidden_suite_is_refused_and_the_agreed_one_taken(pair: Pair) -> None:
    before, offers = pair.spis(), forbidden(pair.profile)
    said = pair.offer(*(request(offer) for offer in offers))
    assert dict(zip((offer.name for offer in offers), said, strict=True)) == {
        offer.name: "refused" for offer in offers
    }
    assert pair.offer(old_request()) in (["refused"], ["silent"])
    assert pair.spis() == before
    assert pair.offer(request(AGREED[pair.profile])) == ["accepted"], "the control"


@pytest.mark.req("R6", "B4")
@pytest.mark.parametrize("esp", FORBIDDEN_ESP)
def test_a_weaker_child_is_refused_over_an_agreed_ike_sa(pair: Pair, esp: str) -> None:
    config = pair.two.connection("co", declared(pair.profile, None))["connection"]["config"]
    before = pair.spis()
    child = {**config["children"]["strategic"], "esp_proposals": [esp], "start_action": "none"}
    child |= {"close_action": "none", "dpd_action": "clear"}
    # Beside the running one, not in its place.
    probing = {**config, "unique": "never", "children": {"strategic": child}}
    try:
        said = pair.two.script(
            "co", "connection", name="probe", config=probing, start=["strategic"]
        )
        assert said["strategic"] is not None
        found = [sa for sa in pair.two.sas("co") if sa["name"] == "probe"]
        # The control: all but the child was agreed.
        assert [(sa["state"], sa["child-sas"]) for sa in found] == [("ESTABLISHED", {})]
    finally:
        pair.two.script("co", "connection", forget="probe")
    assert pair.spis() == before
