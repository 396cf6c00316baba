"""Every pair of the agreement, at both of its ends: the tunnels that are agreed, and no other."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
from testinfra.host import Host

from paranal.agreement.address import host_prefix
from paranal.agreement.crypto import PROFILES
from tests.mesh.conftest import MEMBERS
from tests.mesh.support import Views, child_suites, ike_suite, on_node, sas_with

PAIRS = [f"{one}-{other}" for one, other in combinations(MEMBERS, 2)]


def _pair(views: Views, pair: str) -> dict[str, Any]:
    """Return what the agreement says of a pair, as its first member reads it."""
    one, other = pair.split("-")
    peer = next(peer for peer in views[one]["peers"] if peer["code"] == other)
    agreed: dict[str, Any] = peer["pair"]
    return agreed


def _ends(nodes: dict[str, Host], pair: str) -> list[list[dict[str, Any]]]:
    one, other = pair.split("-")
    return [sas_with(nodes[one], other), sas_with(nodes[other], one)]


@pytest.mark.req("R6", "R12", "D4")
@pytest.mark.parametrize("pair", PAIRS)
def test_both_ends_hold_exactly_the_tunnels_that_are_agreed(
    nodes: dict[str, Host], views: Views, pair: str
) -> None:
    agreed = _pair(views, pair)
    for sas in _ends(nodes, pair):
        # No second IKE_SA, and none at all where nothing is open.
        assert [sa["state"] for sa in sas] == ["ESTABLISHED"] * bool(agreed["channels"])
        children = [child for sa in sas for child in sa["child-sas"].values()]
        assert sorted(child["name"] for child in children) == agreed["channels"]
        assert {child["state"] for child in children} <= {"INSTALLED"}


@pytest.mark.req("R6", "D4")
@pytest.mark.parametrize("pair", PAIRS)
def test_both_ends_negotiated_the_agreed_algorithms_with_a_key_exchange_for_every_child(
    nodes: dict[str, Host], views: Views, pair: str
) -> None:
    profile = PROFILES[_pair(views, pair)["crypto_profile"]]
    for sa in (sa for sas in _ends(nodes, pair) for sa in sas):
        assert ike_suite(sa) == (profile.encryption, profile.prf, profile.key_exchange)
        agreed = (profile.encryption, profile.key_exchange)
        assert child_suites(sa) == dict.fromkeys(_pair(views, pair)["channels"], agreed)
        for child in sa["child-sas"].values():
            assert (child["mode"], child["protocol"], child["encap"]) == ("TUNNEL", "ESP", "yes")


@pytest.mark.req("R6", "B1")
@pytest.mark.parametrize("pair", PAIRS)
def test_the_two_ends_mirror_each_other(nodes: dict[str, Host], views: Views, pair: str) -> None:
    one, other = (
        {child["name"]: child for sa in sas for child in sa["child-sas"].values()}
        for sas in _ends(nodes, pair)
    )
    assert one.keys() == other.keys()
    for name, child in one.items():
        far = other[name]
        assert (child["spi-in"], child["spi-out"]) == (far["spi-out"], far["spi-in"])
        assert (child["local-ts"], child["remote-ts"]) == (far["remote-ts"], far["local-ts"])
        addresses = [views[code]["member"]["addresses"][name] for code in pair.split("-")]
        assert [child["local-ts"], child["remote-ts"]] == [[host_prefix(a)] for a in addresses]


@pytest.mark.req("R6", "R12")
def test_charon_has_loaded_one_connection_for_each_peer_and_nothing_else(
    node: Host, member: str, view: dict[str, Any]
) -> None:
    loaded = dict(on_node(node, "charon", ask="connections"))
    assert sorted(name.rsplit("-", 1)[0] for name in loaded) == [
        f"{member}-{peer['code']}" for peer in view["peers"]
    ]
    for peer in view["peers"]:
        name = next(name for name in loaded if name.startswith(f"{member}-{peer['code']}-"))
        connection = loaded[name]
        remote = next(value for key, value in connection.items() if key.startswith("remote-"))
        assert remote["id"] == peer["identities"]["ike"]
        assert len(remote["cacerts"]) == 1
        assert f"CN=Paranal {peer['code'].upper()} Root" in remote["cacerts"][0]
        assert sorted(connection["children"]) == peer["pair"]["channels"]
