"""What is renewed is renewed with the agreed algorithms: children, IKE_SAs, whole pairs."""

from __future__ import annotations

import pytest
from testinfra.host import Host

from paranal.agreement.crypto import PROFILES
from tests.mesh.support import (
    Views,
    by_hand,
    child_suites,
    eventually,
    ike_suite,
    sas_with,
    spis,
)

WAYS = ("--child operational", "--child strategic", "", "--reauth")
"""Options of ``swanctl --rekey --ike NAME``."""


def _numbers(node: Host, peer: str) -> set[str]:
    """Return what changes when anything between us and a peer is renewed."""
    ikes = {sa["initiator-spi"] for sa in sas_with(node, peer)}
    return ikes | set(spis(node, peer).values())


@pytest.mark.req("R6", "D4")
@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("way", WAYS)
def test_a_renewal_negotiates_the_agreed_algorithms_again(
    nodes: dict[str, Host], views: Views, way: str
) -> None:
    co, pe = nodes["co"], nodes["pe"]
    peer = next(peer for peer in views["co"]["peers"] if peer["code"] == "pe")
    profile = PROFILES[peer["pair"]["crypto_profile"]]
    with by_hand(co, "heal"):
        (name,) = {sa["name"] for sa in sas_with(co, "pe")}
        before = _numbers(co, "pe")
        co.check_output(f"swanctl --rekey --ike {name} {way}")

        def renewed() -> bool:
            states = [sa["state"] for sa in sas_with(co, "pe")]
            return states == ["ESTABLISHED"] and not before <= _numbers(co, "pe")

        assert eventually(renewed, 15)
    for node, far in ((co, "pe"), (pe, "co")):
        (sa,) = sas_with(node, far)
        assert ike_suite(sa) == (profile.encryption, profile.prf, profile.key_exchange)
        assert child_suites(sa) == dict.fromkeys(
            peer["pair"]["channels"], (profile.encryption, profile.key_exchange)
        )
