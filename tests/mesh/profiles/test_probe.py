"""Each gateway is offered what is forbidden from each peer's own node, and keeps what it has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import pytest
from testinfra.host import Host

from paranal.agreement import Agreement
from paranal.agreement.forbidden import AGREED, FORBIDDEN_ESP, forbidden
from tests.mesh.conftest import MEMBERS
from tests.mesh.faults.support import SINGLE_SECONDS
from tests.mesh.offers import answers, old_request, request
from tests.mesh.profiles.support import Config, configured, offered
from tests.mesh.support import Views, by_hand, eventually, every_spi, on_node, sas_with

ANSWER_SECONDS = 1.0


@dataclass(frozen=True)
class Way:
    """One peer's node, and the gateway that it asks."""

    asker: str
    gateway: str
    node: Host
    peer: dict[str, Any]
    source: str

    @property
    def config(self) -> Config:
        """Return the configuration of the connection that runs between the two."""
        (name,) = {sa["name"] for sa in sas_with(self.node, self.gateway)}
        return configured(self.node, name)

    def ask(self, messages: Sequence[bytes]) -> list[str | None]:
        """Send IKE messages from the peer's own address and port."""
        given = {"source": self.source, "target": self.peer["wan_address"]}
        texts = [message.hex() for message in messages]
        said: list[str | None] = on_node(
            self.node, "ike_request", **given, seconds=ANSWER_SECONDS, messages=texts
        )
        return said


@pytest.fixture(params=list(permutations(MEMBERS, 2)), ids="-".join)
def way(
    request: pytest.FixtureRequest, nodes: dict[str, Host], views: Views, settled: None
) -> Iterator[Way]:
    """Each peer asks each gateway, no timer acts, and both keep the SAs they had."""
    asker, gateway = request.param
    peer = next(one for one in views[asker]["peers"] if one["code"] == gateway)
    ends = nodes[asker], nodes[gateway]
    before = [every_spi(node) for node in ends]
    with ExitStack() as stack:
        for node in ends:
            stack.enter_context(by_hand(node, "heal"))
        yield Way(asker, gateway, ends[0], peer, views[asker]["member"]["wan_address"])
        # The pair's initiator starts again what its peer closes, so the end of a probe that was
        # taken may leave one IKE_SA more.
        kept = [was <= every_spi(node) for was, node in zip(before, ends, strict=True)]
    assert kept == [True, True]
    assert eventually(lambda: [every_spi(node) for node in ends] == before, SINGLE_SECONDS)


@pytest.mark.req("R6", "B4")
def test_a_forbidden_suite_is_refused_and_the_agreed_one_taken(way: Way) -> None:
    profile = way.peer["pair"]["crypto_profile"]
    offers = forbidden(profile)
    said = answers(way.ask, [request(offer) for offer in offers])
    assert dict(zip((offer.name for offer in offers), said, strict=True)) == {
        offer.name: "refused" for offer in offers
    }
    assert answers(way.ask, [old_request()]) in (["refused"], ["silent"])
    assert answers(way.ask, [request(AGREED[profile])]) == ["accepted"], "the control"


@pytest.mark.req("R6", "B4")
def test_a_weaker_child_is_refused_over_an_agreed_ike_sa(way: Way) -> None:
    config, seen = way.config, {}
    for esp in FORBIDDEN_ESP:
        with offered(way.node, way.gateway, config, {"esp_proposals": [esp]}) as probe:
            assert probe.sa is not None, "all but the child was agreed"
            seen[esp] = (probe.refusal is not None, probe.selectors)
    assert seen == dict.fromkeys(FORBIDDEN_ESP, (True, []))
    with offered(way.node, way.gateway, config) as probe:
        assert probe.refusal is None, "the control"


@pytest.mark.req("R6", "B4")
def test_a_wider_selector_is_narrowed_and_another_country_s_refused(
    way: Way, agreement: Agreement
) -> None:
    config = way.config
    agreed = [
        ([*child["local_ts"]], [*child["remote_ts"]]) for child in config["children"].values()
    ]
    whole = {code: [agreement.members[code]["inner_prefix"]] for code in MEMBERS}
    wider = {"local_ts": whole[way.asker], "remote_ts": whole[way.gateway]}
    with offered(way.node, way.gateway, config, wider) as probe:
        assert probe.refusal is None
        # A child's name is each end's own: the gateway narrows to the first channel that it has.
        (narrowed,) = probe.selectors
        assert narrowed in agreed
    (third, *_) = [code for code in MEMBERS if code not in (way.asker, way.gateway)]
    for end in ("local_ts", "remote_ts"):
        with offered(way.node, way.gateway, config, {end: whole[third]}) as probe:
            assert probe.sa is not None, "all but the selector was agreed"
            assert (probe.refusal is not None, probe.selectors) == (True, [])
