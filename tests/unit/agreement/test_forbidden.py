"""The catalogue of forbidden suites: each differs from the agreed one in one respect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import pytest
from scapy.contrib.ikev2 import IKEv2, IKEv2_KE, IKEv2_Notify, IKEv2_Transform

from paranal.agreement.crypto import PROFILES
from paranal.agreement.forbidden import AGREED, FORBIDDEN, FORBIDDEN_ESP, Offer, forbidden
from tests.mesh.offers import COOKIE, NO_PROPOSAL_CHOSEN, answers, meaning, request

RESPECTS = ({"encryption", "bits", "integrity"}, {"prf"}, {"group"})


@pytest.mark.parametrize("offer", FORBIDDEN, ids=lambda offer: str(offer.name))
def test_an_offer_is_forbidden_for_one_reason(offer: Offer) -> None:
    agreed = asdict(AGREED["classic"])
    differing = {key for key, value in asdict(offer).items() if value != agreed[key]} - {"name"}
    assert differing
    assert any(differing <= respect for respect in RESPECTS)


def test_every_profile_has_its_offer_and_hybrid_refuses_classic() -> None:
    assert AGREED.keys() == PROFILES.keys()
    assert AGREED["classic"] in forbidden("hybrid")
    for profile, offer in AGREED.items():
        assert offer not in forbidden(profile)
    assert not {profile.esp for profile in PROFILES.values()} & set(FORBIDDEN_ESP)


@pytest.mark.parametrize("offer", [*FORBIDDEN, *AGREED.values()], ids=lambda offer: str(offer.name))
def test_a_request_carries_exactly_the_offer(offer: Offer) -> None:
    packet = IKEv2(request(offer))
    found, layer = [], packet.prop.trans
    while isinstance(layer, IKEv2_Transform):
        found.append((layer.transform_type, layer.transform_id, layer.key_length))
        layer = layer.payload
    wanted = [(1, offer.encryption, offer.bits), (2, offer.prf, None), (3, offer.integrity, None)]
    wanted += [(4, offer.group, None), (6, offer.further, None)]
    assert found == [one for one in wanted if one[1] is not None]
    assert packet[IKEv2_KE].group == offer.group


def test_an_answer_is_one_word() -> None:
    def answer(*payloads: IKEv2_Notify) -> str:
        packet = IKEv2(init_SPI=b"12345678")
        for payload in payloads:
            packet /= payload
        return bytes(packet).hex()

    assert meaning(None) == "silent"
    assert meaning(answer(IKEv2_Notify(type=NO_PROPOSAL_CHOSEN))) == "refused"
    assert meaning(answer(IKEv2_Notify(type=COOKIE, notify=b"c" * 20))) == "cookie"
    assert meaning(answer(IKEv2_Notify(type=17, notify=b"\0\x14"))) == "other"
    assert meaning(request(AGREED["classic"]).hex()) == "accepted"


def test_a_gateway_that_wants_a_cookie_gets_the_same_request_with_it() -> None:
    message = request(AGREED["classic"])
    wants = bytes(IKEv2(init_SPI=b"12345678") / IKEv2_Notify(type=COOKIE, notify=b"c" * 20)).hex()
    sent: list[bytes] = []

    def ask(some: Sequence[bytes]) -> list[str | None]:
        sent.extend(some)
        return [wants if len(sent) == 1 else message.hex()]

    assert answers(ask, [message]) == ["accepted"]
    again = IKEv2(sent[1])
    assert again[IKEv2_Notify].notify == b"c" * 20
    assert (again.init_SPI, again[IKEv2_KE].ke) == (message[:8], IKEv2(message)[IKEv2_KE].ke)
    assert again.length == len(sent[1])
