"""The wiring as data: which link, address and route, derived from the agreement."""

from __future__ import annotations

from ipaddress import ip_interface
from pathlib import Path

import pytest

from paranal.agreement import load
from paranal.lab import plan
from paranal.lab.home import ROOT

MEMBERS = load(ROOT / "agreement" / "pacific-alliance.yml").members
IPV6 = load(ROOT / "agreement" / "ipv6.yml").members


@pytest.fixture
def four() -> plan.Plan:
    return plan.wiring("t-unit", MEMBERS)


def _ends(wired: plan.Plan, part: str) -> dict[str, str]:
    ends = [end for link in wired.links for end in (link.near, link.far)]
    return {end.interface: end.address for end in ends if end.part == part}


def test_a_node_has_its_three_links(four: plan.Plan) -> None:
    assert _ends(four, "pe") == {
        "wan": "203.0.113.34/28",
        "inner": "10.51.0.1/24",
        "mgmt": "fe80::51/64",
    }


def test_the_provider_routes_and_the_post_sits_behind_its_gateway(four: plan.Plan) -> None:
    assert _ends(four, "wan")["w-pe"] == "203.0.113.33/28"
    assert _ends(four, "pe-border") == {"inner": "10.51.0.10/24"}
    assert four.routes["pe"] == "203.0.113.33"
    assert four.routes["pe-border"] == "10.51.0.1"
    assert plan.HOST not in four.routes


@pytest.mark.req("R6")
def test_the_addresses_say_how_wide_their_links_are() -> None:
    six = plan.wiring("t-unit", IPV6)
    assert _ends(six, "pe") == {
        "wan": "2001:db8:51::2/64",
        "inner": "3fff:51::1/64",
        "mgmt": "fe80::51/64",
    }
    assert _ends(six, "wan")["w-pe"] == "2001:db8:51::1/64"
    assert _ends(six, "pe-border") == {"inner": "3fff:51::a/64"}
    assert six.routes["pe"] == "2001:db8:51::1"
    assert six.routes["pe-border"] == "3fff:51::1"


def test_one_family_outside_and_another_inside_share_the_links() -> None:
    mixed = {code: {**IPV6[code], "wan_address": MEMBERS[code]["wan_address"]} for code in IPV6}
    wired = plan.wiring("t-unit", mixed)
    assert _ends(wired, "pe") == {
        "wan": "203.0.113.34/28",
        "inner": "3fff:51::1/64",
        "mgmt": "fe80::51/64",
    }
    assert (wired.routes["pe"], wired.routes["pe-border"]) == ("203.0.113.33", "3fff:51::1")


def test_every_interface_fits_the_kernel_and_stands_once_per_part(four: plan.Plan) -> None:
    ends = [end for link in four.links for end in (link.near, link.far)]
    places = [(end.part, end.interface) for end in ends]
    assert len(places) == len(set(places)) == 24
    assert all(len(interface) <= 15 for _, interface in places)


def test_no_address_of_the_lab_touches_the_host(four: plan.Plan) -> None:
    host = _ends(four, plan.HOST).values()
    assert all(ip_interface(address).ip.is_link_local for address in host)


def test_touching_keeps_a_parts_links_and_both_ends_routes(four: plan.Plan) -> None:
    part = four.touching("pe")
    assert len(part.links) == 3
    assert set(part.routes) == {"pe", "pe-border"}
    assert not four.touching("cl-border").touching("pe").links


def test_fewer_members_have_fewer_links() -> None:
    two = plan.wiring("t-unit", {code: MEMBERS[code] for code in ("co", "pe")})
    assert len(two.links) == 6
    assert not _ends(two, "cl")


def test_root_is_the_checkout() -> None:
    assert Path(ROOT, "pyproject.toml").exists()


@pytest.fixture
def translated() -> plan.Plan:
    members = plan.placed(MEMBERS, {"co": {}, "pe": {"wan_local_address": "192.0.2.2"}})
    return plan.wiring("t-unit", members)


def test_a_translated_member_has_its_local_address_and_the_provider_its_public_one(
    translated: plan.Plan,
) -> None:
    assert _ends(translated, "pe")["wan"] == "192.0.2.2/28"
    assert _ends(translated, "co")["wan"] == "198.51.100.34/28"
    assert translated.routes["pe"] == "192.0.2.1"
    (translation,) = translated.translations
    assert (translation.public, translation.link) == ("203.0.113.34", "w-pe")
    assert translated.touching("pe").translations == (translation,)
    assert translated.touching("co").translations == ()


def test_local_addresses_lie_in_networks_of_their_own() -> None:
    found = plan.local_addresses(["pe", "co"])
    assert found == {"co": "192.0.2.2", "pe": "192.0.2.18"}


def test_each_packet_is_translated_once_each_way(translated: plan.Plan) -> None:
    rules = plan.translation_rules(translated.translations)
    assert rules.count(" set ") == 2
    assert 'iifname "w-pe" ip saddr 192.0.2.2 ip saddr set 203.0.113.34' in rules
    assert 'oifname "w-pe" ip daddr 203.0.113.34 ip daddr set 192.0.2.2' in rules
