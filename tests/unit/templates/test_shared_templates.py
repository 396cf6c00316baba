"""The shared templates against golden files, and what no golden file may ever say.

``PARANAL_GOLDEN=write`` writes the golden files anew; read the difference before you commit it.
"""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from paranal.agreement import Agreement, is_open, load, member_view
from paranal.agreement.connections import connections, to_swanctl
from paranal.rendering import render

REPOSITORY = Path(__file__).parents[3]


@cache
def document(name: str) -> Agreement:
    return load(REPOSITORY / "agreement" / f"{name}.yml")


GOLDEN = Path(__file__).parent / "golden"
CASES = [
    ("pe", "pacific-alliance", "userspace"),
    ("cl", "pacific-alliance", "userspace"),
    ("mx", "all-live", "userspace"),
    ("pe", "pacific-alliance", "kernel"),
]
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
        "tunnel_mss": defaults["firewall_tunnel_mss"],
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
        "kernel": r"^(meta ipsec exists ipsec in ip saddr|rt ipsec exists ipsec out ip daddr) \d",
    }[plane]
    addresses = {a for peer in found["peers"] for a in peer["addresses"].values()}
    accepts = [rule for rule in rules if " accept" in rule and addresses & set(rule.split())]
    assert bool(accepts) is any(peer["pair"]["channels"] for peer in found["peers"])
    assert [rule for rule in accepts if not re.match(tunnel, rule)] == []


@pytest.mark.req("R6")
def test_on_the_kernel_plane_each_rule_names_the_gateway_of_its_own_peer() -> None:
    found = view("pe", "all-live", "kernel")
    for peer in found["peers"]:
        address = peer["addresses"]["operational"]
        rules = [r for r in firewall(found).splitlines() if f"addr {address} " in r]
        assert len(rules) >= 4
        for rule in rules:
            assert re.search(rf"ipsec (in ip saddr|out ip daddr) {peer['wan_address']} ", rule)


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
    errors = [rule for rule in wan if "@peer_gateways" not in rule]
    kernel = found["member"]["data_plane"] == "kernel"
    assert len(exchange) == (4 if kernel else 2)
    assert all(found["member"]["wan_address"] in rule for rule in exchange)
    assert len(errors) == 1
    assert "frag-needed ct state related limit" in errors[0]


def test_the_clear_is_refused_before_anything_is_accepted(found: dict[str, Any]) -> None:
    text = firewall(found)
    output = text.split("chain output ")[1]
    assert output.index('counter name "clear_out"') < output.index("ct direction")
    assert "hook prerouting priority raw" in text.split("chain input")[0]


@pytest.mark.req("R6", "B3")
def test_our_own_alliance_addresses_are_in_tunnels_only(rules: list[str]) -> None:
    """Also for an ICMP error from the WAN, and for a reply to our own side's services."""
    for address, counter in (("ip daddr", "clear_in"), ("ip saddr", "clear_out")):
        (guard,) = [rule for rule in rules if rule.startswith(f"{address} @own_addresses")]
        assert f'counter name "{counter}" jump' in guard


def test_the_comment_says_who_the_peer_is_and_whom_to_call(found: dict[str, Any]) -> None:
    text = swanctl(found)
    for peer in found["peers"]:
        assert f"# {peer['name']['es']}: {peer['operator']}" in text
        assert peer["contact"]["phone"] in text
