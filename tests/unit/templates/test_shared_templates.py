"""The shared templates against golden files, and what no golden file may ever say.

``PARANAL_GOLDEN=write`` writes the golden files anew; read the difference before you commit it.
"""

from __future__ import annotations

import copy
import os
import re
from copy import deepcopy
from functools import cache
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml

from paranal.agreement import Agreement, is_open, load, member_view
from paranal.agreement.connections import connections, to_swanctl
from paranal.rendering import render
from plugins.filter.firewall import firewall_tunnel_mss

REPOSITORY = Path(__file__).parents[3]


@cache
def document(name: str) -> Agreement:
    """Return a shipped agreement; ``all-live+ipv6`` has the one outside and the other inside."""
    outside, _, inside = name.partition("+")
    found = load(REPOSITORY / "agreement" / f"{inside or outside}.yml")
    return between(load(REPOSITORY / "agreement" / f"{outside}.yml"), found) if inside else found


def between(outside: Agreement, inside: Agreement) -> Agreement:
    """Return one agreement with the gateways of another."""
    mixed = deepcopy(inside.document)
    for code, member in mixed["members"].items():
        member["wan_address"] = outside.members[code]["wan_address"]
    with TemporaryDirectory() as folder:
        path = Path(folder, "mixed.yml")
        path.write_text(yaml.safe_dump(mixed, allow_unicode=True), encoding="utf-8")
        return load(path)


GOLDEN = Path(__file__).parent / "golden"
CASES = [
    ("pe", "pacific-alliance", "userspace"),
    ("cl", "pacific-alliance", "userspace"),
    ("mx", "all-live", "userspace"),
    ("pe", "pacific-alliance", "kernel"),
    ("pe", "ipv6", "userspace"),
    ("pe", "ipv6", "kernel"),
    ("pe", "all-live+ipv6", "userspace"),
    ("pe", "all-live+ipv6", "kernel"),
    ("pe", "ipv6+all-live", "userspace"),
    ("pe", "ipv6+all-live", "kernel"),
]
FAMILY = {4: "ip", 6: "ip6"}
TOO_BIG = {
    4: "icmp type destination-unreachable icmp code frag-needed",
    6: "icmpv6 type packet-too-big",
}
NEIGHBOURS = re.compile(r"icmpv6 type (\{ nd-neighbor-|mld)")
TIME = {
    "name": "time",
    "direction": "out",
    "interface": "inner",
    "address": "10.51.0.10",
    "protocol": "udp",
    "port": 123,
}


def view(code: str, agreement: str, plane: str) -> dict[str, Any]:
    found = member_view(document(agreement), code)
    for member in (found["member"], *found["peers"]):
        member["data_plane"] = plane
    return found


def firewall(found: dict[str, Any]) -> str:
    defaults = yaml.safe_load((REPOSITORY / "roles/firewall/defaults/main.yml").read_text())
    posts = {
        "name": "posts",
        "direction": "in",
        "interface": "inner",
        "address": found["member"]["inner_prefix"],
        "local": found["member"]["addresses"]["national"],
        "protocol": "tcp",
        "port": defaults["firewall_national_port"],
    }
    values = {
        "view": found,
        "management_sources": defaults["firewall_management_sources"],
        "services": [posts, TIME],
        "log_rate": defaults["firewall_log_rate"],
        "tunnel_mss": firewall_tunnel_mss(found["member"], defaults["firewall_path_octets"]),
    }
    return render(REPOSITORY / "templates", "nft/firewall.nft.j2", values)


def swanctl(found: dict[str, Any]) -> str:
    peers = {peer["code"]: peer for peer in found["peers"]}
    return "".join(
        render(
            REPOSITORY / "templates",
            "swanctl/connection.conf.j2",
            {"connection": one, "peer": peers[one["peer"]], "section": to_swanctl(one)},
        )
        for one in connections(found, {code: code for code in peers})
    )


def compare(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("PARANAL_GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.fixture(params=CASES, ids="-".join)
def case(request: pytest.FixtureRequest) -> tuple[str, str, str]:
    chosen: tuple[str, str, str] = request.param
    return chosen


@pytest.fixture
def found(case: tuple[str, str, str]) -> dict[str, Any]:
    return view(*case)


@pytest.fixture
def rules(found: dict[str, Any]) -> list[str]:
    """Every line of the rule file that is a rule."""
    return [line.strip() for line in firewall(found).splitlines()]


def test_the_rendered_files_are_the_golden_ones(
    case: tuple[str, str, str], found: dict[str, Any]
) -> None:
    compare(f"{'-'.join(case)}.nft", firewall(found))
    compare(f"{'-'.join(case)}.swanctl.conf", swanctl(found))


@pytest.mark.req("R6")
def test_alliance_addresses_are_accepted_only_from_or_into_a_tunnel(
    rules: list[str], found: dict[str, Any]
) -> None:
    plane = found["member"]["data_plane"]
    tunnel = {
        "userspace": r'^[io]ifname "ipsec0" ',
        "kernel": r"^(meta ipsec exists ipsec in|rt ipsec exists ipsec out) ip6? [sd]addr \d",
    }[plane]
    addresses = {a for peer in found["peers"] for a in peer["addresses"].values()}
    accepts = [rule for rule in rules if " accept" in rule and addresses & set(rule.split())]
    assert bool(accepts) is any(peer["pair"]["channels"] for peer in found["peers"])
    assert [rule for rule in accepts if not re.match(tunnel, rule)] == []


@pytest.mark.req("R6")
@pytest.mark.parametrize("agreement", ["all-live", "ipv6", "all-live+ipv6", "ipv6+all-live"])
def test_on_the_kernel_plane_each_rule_names_the_gateway_of_its_own_peer(agreement: str) -> None:
    found = view("pe", agreement, "kernel")
    for peer in found["peers"]:
        address = peer["addresses"]["operational"]
        rules = [r for r in firewall(found).splitlines() if f"addr {address} " in r]
        assert len(rules) >= 4
        for rule in rules:
            family = FAMILY[ip_address(peer["wan_address"]).version]
            tunnel = rf"ipsec (in {family} saddr|out {family} daddr) {peer['wan_address']} "
            assert re.search(tunnel, rule)


@pytest.mark.req("R12")
def test_every_open_direction_has_two_rules_at_each_hook_and_a_closed_one_has_none(
    rules: list[str], found: dict[str, Any]
) -> None:
    me = found["member"]["code"]
    for peer in found["peers"]:
        for asker, answerer, statuses in (
            (me, peer["code"], peer["asks"]),
            (peer["code"], me, peer["answers"]),
        ):
            for service, status in statuses.items():
                comment = f'comment "{asker}>{answerer} {service}"'
                matching = [rule for rule in rules if rule.endswith(comment)]
                assert len(matching) == (2 if is_open(status) else 0)
                assert (
                    sum("ct direction original" in rule for rule in matching) == len(matching) / 2
                )


@pytest.mark.req("R12")
def test_a_pending_member_lets_nothing_through_but_key_exchange() -> None:
    text = firewall(view("cl", "pacific-alliance", "userspace"))
    assert 'iifname "ipsec0"' not in text
    assert 'oifname "ipsec0"' not in text
    assert "udp dport { 500, 4500 } accept" in text


def test_there_is_no_blanket_established_no_nat_and_no_flush(rules: list[str]) -> None:
    for rule in rules:
        assert not re.search(r"\b(snat|dnat|masquerade|redirect|notrack)\b|flush", rule)
        if "established" in rule and not rule.startswith("#"):
            assert "ct direction" in rule


def test_every_base_chain_drops_and_forwarding_accepts_nothing(found: dict[str, Any]) -> None:
    text = firewall(found)
    for hook in ("input", "forward", "output"):
        assert f"hook {hook} priority filter; policy drop;" in text
    forward = text.split("chain forward ")[1].split("chain output")[0]
    assert "accept" not in forward


def test_the_wan_admits_only_the_declared_gateways(rules: list[str], found: dict[str, Any]) -> None:
    wan = [rule for rule in rules if '"wan"' in rule and rule.endswith("accept")]
    exchange = [rule for rule in wan if "@peer_gateways" in rule]
    neighbours = [rule for rule in wan if NEIGHBOURS.search(rule)]
    (errors,) = [rule for rule in wan if rule not in exchange and rule not in neighbours]
    kernel = found["member"]["data_plane"] == "kernel"
    address = found["member"]["wan_address"]
    version = ip_address(address).version
    assert len(exchange) == (4 if kernel else 2)
    assert all(address in rule for rule in exchange)
    assert f"daddr {address} {TOO_BIG[version]} ct state related limit" in errors
    assert len(neighbours) == (3 if version == 6 else 0)


def test_every_rule_names_the_family_of_its_addresses(rules: list[str]) -> None:
    types = {}
    for rule, following in pairwise(rules):
        if rule.startswith("set "):
            of_address = following.partition(" . ")[0]
            types[f"@{rule.split()[1]}"] = {"type ipv4_addr": "ip", "type ipv6_addr": "ip6"}[
                of_address
            ]
    named = [
        (rule, family, place.strip("{,"))
        for rule in rules
        for family, place in re.findall(
            r"\b(ip6?) [sd]addr (?:\. tcp [sd]port )?(@\w+|[0-9a-f.:]+)", rule
        )
    ]
    assert len(named) > 10
    for rule, family, place in named:
        found = types.get(place) or FAMILY[ip_address(place.partition("/")[0]).version]
        assert family == found, rule


@pytest.mark.parametrize(
    ("agreement", "octets"),
    [("all-live", 1160), ("ipv6", 1120), ("all-live+ipv6", 1140), ("ipv6+all-live", 1140)],
)
def test_a_segment_and_all_that_stands_around_it_fit_the_shortest_path(
    agreement: str, octets: int
) -> None:
    member = view("pe", agreement, "userspace")["member"]
    assert firewall_tunnel_mss(member, 1280) == octets
    assert f"maxseg size set {octets}" in firewall(view("pe", agreement, "userspace"))
    outside, inside = (
        {4: 20, 6: 40}[ip_address(text).version]
        for text in (member["wan_address"], member["inner_prefix"].partition("/")[0])
    )
    datagram = inside + 20 + octets
    # RFC 4303: the payload, its padding and the trailer's two octets end on a word of four.
    encapsulated = 8 + 8 + -(-(datagram + 2) // 4) * 4 + 16
    assert outside + 8 + encapsulated <= 1280


def test_the_clear_is_refused_before_anything_is_accepted(found: dict[str, Any]) -> None:
    text = firewall(found)
    output = text.split("chain output ")[1]
    assert output.index('counter name "clear_out"') < output.index("ct direction")
    assert "hook prerouting priority raw" in text.split("chain input")[0]


@pytest.mark.req("R6", "B3")
def test_our_own_alliance_addresses_are_in_tunnels_only(rules: list[str]) -> None:
    """Also for an ICMP error from the WAN, and for a reply to our own side's services."""
    for field, counter in (("daddr", "clear_in"), ("saddr", "clear_out")):
        (guard,) = [rule for rule in rules if re.match(rf"ip6? {field} @own_addresses", rule)]
        assert f'counter name "{counter}" jump' in guard


def test_the_comment_says_who_the_peer_is_and_whom_to_call(found: dict[str, Any]) -> None:
    text = swanctl(found)
    for peer in found["peers"]:
        assert f"# {peer['name']['es']}: {peer['operator']}" in text
        assert peer["contact"]["phone"] in text


@pytest.mark.req("R6")
@pytest.mark.parametrize("plane", ["userspace", "kernel"])
def test_behind_a_translation_the_wan_rules_name_the_address_that_the_gateway_has(
    plane: str,
) -> None:
    plain = view("pe", "all-live", plane)
    behind = copy.deepcopy(plain)
    behind["member"]["wan_local_address"] = "192.0.2.2"
    moved = firewall(behind)
    assert plain["member"]["wan_address"] not in moved
    assert moved.replace("192.0.2.2", plain["member"]["wan_address"]) == firewall(plain)
    # What came out of a tunnel still goes by the address that the peer's gateway has outside.
    assert moved.count("192.0.2.2") == (5 if plane == "kernel" else 3)
