"""Addresses of either family, written where the family shows."""

from __future__ import annotations

import pytest

from paranal.agreement.address import endpoint, host_prefix
from paranal.agreement.connections import connections
from paranal.agreement.derive import member_view
from paranal.agreement.load import load
from paranal.lab.home import ROOT


@pytest.mark.parametrize(
    ("address", "prefix", "place"),
    [
        ("10.51.1.1", "10.51.1.1/32", "10.51.1.1:7443"),
        ("3fff:51:0:1::1", "3fff:51:0:1::1/128", "[3fff:51:0:1::1]:7443"),
    ],
)
def test_the_family_follows_from_the_address(address: str, prefix: str, place: str) -> None:
    assert host_prefix(address) == prefix
    assert endpoint(address, 7443) == place


@pytest.mark.parametrize("wrong", ["pe.paranal.example", "", "[3fff:51::1]"])
def test_what_is_no_address_is_no_endpoint(wrong: str) -> None:
    with pytest.raises(ValueError, match="does not appear to be"):
        endpoint(wrong, 7443)


@pytest.mark.req("R6")
def test_a_tunnel_of_ipv6_selects_one_address_at_each_end() -> None:
    view = member_view(load(ROOT / "agreement" / "ipv6.yml"), "pe")
    for one in connections(view, {"cl": "a", "co": "b", "mx": "c"}):
        for child in one["config"]["children"].values():
            assert all(ts.endswith("/128") for ts in child["local_ts"] + child["remote_ts"])
