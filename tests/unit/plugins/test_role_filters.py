"""What the roles after base refuse of a node, an agreement or an inventory: pure, in our words."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from paranal.messages import catalogue
from plugins.filter.database import database_problems
from plugins.filter.firewall import firewall_problems
from plugins.filter.ipsec import ipsec_problems
from plugins.filter.node import node_not_open
from plugins.filter.query_server import query_server_problems

MEMBER = {"code": "pe", "data_plane": "userspace"}
PLANES = ["userspace", "kernel"]
SERVICE = {"name": "time", "interface": "inner", "address": "10.51.0.10"}


def codes(problems: list[str]) -> list[str]:
    """Return the codes; each sentence must be whole, with its runbook."""
    for text in problems:
        code, number = text[:8], text[-7:-1]
        assert catalogue()[code].runbook.startswith(number), text
        assert re.match(r"PAR-\d{4}: .+ \| .+ \(RB-\d{3}\)$", text)
    return [text[:8] for text in problems]


def test_a_role_outside_the_frame_says_which_it_is() -> None:
    (said,) = node_not_open("ipsec")
    assert codes([said]) == ["PAR-0326"]
    assert said.count("ipsec") == 2


# --- ipsec --------------------------------------------------------------------------------------


def _ppk(name: str, profile: str) -> str | None:
    return f"{name}-g2" if profile == "ppk" else None


def ipsec(
    *profiles: str,
    charon: str = "6.0.2-1",
    missing: tuple[str, ...] = (),
    keys: str = "/none",
    **probe: object,
) -> list[str]:
    found: dict[str, Any] = {
        "packages": {"charon-systemd": charon} if charon else {},
        "tunnels": {"planes": PLANES},
        **probe,
    }
    names = ["cl-pe", "co-pe", "mx-pe"]
    pairs = [
        {"pair": {"name": name, "crypto_profile": profile, "ppk": _ppk(name, profile)}}
        for name, profile in zip(names, profiles, strict=False)
    ]
    return ipsec_problems(found, {"member": MEMBER, "peers": pairs}, missing, keys)


def test_a_node_that_can_carry_its_tunnels_has_no_problem() -> None:
    assert ipsec() == []
    assert ipsec("classic", "hybrid") == []


@pytest.mark.parametrize("tunnels", [{}, {"absent": "no charon"}, {"planes": ["kernel"]}])
def test_another_data_plane_than_the_agreed_one_is_refused(tunnels: dict[str, Any]) -> None:
    (said,) = ipsec(tunnels=tunnels)
    assert codes([said]) == ["PAR-0716"]
    assert said.count("userspace") == 2
    assert said.count(tunnels.get("planes", ["-"])[0]) >= 2


def test_missing_packages_are_named() -> None:
    (said,) = ipsec(missing=("charon-systemd", "strongswan-swanctl"))
    assert codes([said]) == ["PAR-0715"]
    assert said.count("charon-systemd, strongswan-swanctl") == 2


def test_a_key_that_this_country_does_not_hold_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "cl-pe-g1.vault").touch()
    (said,) = ipsec("ppk", "classic", "ppk", keys=str(tmp_path))
    assert codes([said]) == ["PAR-0717"]
    assert said.count("cl-pe-g2, mx-pe-g2") == 2
    for name in ("cl-pe-g2", "mx-pe-g2"):
        (tmp_path / f"{name}.vault").touch()
    assert ipsec("ppk", "classic", "ppk", keys=str(tmp_path)) == []


@pytest.mark.parametrize(
    ("charon", "refused"),
    [
        ("6.0.2-1", False),
        ("6.0.10-1", False),
        ("6.1~rc1-1", False),
        # Unknown when role base has just installed it.
        ("", False),
        ("6.0.1-6", True),
        ("5.9.14-1", True),
        ("6.0~rc1-1", True),
    ],
)
def test_the_hybrid_profile_needs_a_charon_that_knows_it(charon: str, refused: bool) -> None:
    assert codes(ipsec("hybrid", charon=charon)) == ["PAR-0718"] * refused
    assert ipsec("classic", charon=charon) == []


def test_every_problem_of_the_tunnels_is_named_at_once() -> None:
    said = ipsec("ppk", "hybrid", charon="6.0.1-6", missing=("x",), tunnels={})
    assert codes(said) == ["PAR-0715", "PAR-0716", "PAR-0717", "PAR-0718"]


# --- firewall -----------------------------------------------------------------------------------


def firewall(
    *services: dict[str, Any],
    missing: tuple[str, ...] = (),
    sources: tuple[str, ...] = ("fe80::/10",),
) -> list[str]:
    return firewall_problems({"member": MEMBER}, missing, sources, services)


@pytest.mark.parametrize(
    "change",
    [{}, {"interface": "mgmt"}, {"address": "10.51.0.0/16"}, {"address": "10.51.0.0/20"}],
)
def test_a_service_on_the_inner_side_with_an_address_is_admitted(change: dict[str, str]) -> None:
    assert firewall() == []
    assert firewall({**SERVICE, **change}) == []


@pytest.mark.parametrize("interface", ["wan", "ipsec0", "", None])
def test_a_service_on_another_interface_is_refused_by_name(interface: str | None) -> None:
    (said,) = firewall(SERVICE, {**SERVICE, "name": "mirror", "interface": interface})
    assert codes([said]) == ["PAR-0720"]
    assert said.count("mirror") == 2


@pytest.mark.parametrize("address", ["0.0.0.0/0", "::/0", "10.51.0.10/0", "::/0\n"])
def test_a_service_open_to_everything_is_refused_by_name(address: str) -> None:
    (said,) = firewall(SERVICE, {**SERVICE, "name": "mirror", "address": address})
    assert codes([said]) == ["PAR-0721"]
    assert said.count(address.strip()) == said.count("mirror") == 2


def test_a_service_without_interface_or_address_is_refused() -> None:
    assert codes(firewall({"name": "x"})) == ["PAR-0720", "PAR-0721"]


def test_a_node_without_management_or_nft_is_refused() -> None:
    assert codes(firewall(sources=())) == ["PAR-0719"]
    (said,) = firewall(missing=("nftables",))
    assert codes([said]) == ["PAR-0715"]
    assert said.count("nftables") == said.count("firewall") == 2


# --- database -----------------------------------------------------------------------------------


@pytest.mark.parametrize("connections", [20, 40])
def test_enough_connections_are_admitted(connections: int) -> None:
    assert database_problems({"member": MEMBER}, connections) == []


@pytest.mark.parametrize("connections", [19, 0, -1, "40", None])
def test_too_few_connections_and_what_is_no_number_are_refused(connections: object) -> None:
    (said,) = database_problems({"member": MEMBER}, connections)
    assert codes([said]) == ["PAR-0593"]
    assert said.count(f" {connections!r} ") == 2


# --- query_server -------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [1, 4, 30])
def test_a_deadline_that_an_officer_can_wait_for_is_admitted(seconds: int) -> None:
    assert query_server_problems({"member": MEMBER}, ["national"], seconds) == []


@pytest.mark.parametrize("seconds", [0, 31, "4", None])
def test_another_deadline_is_refused(seconds: object) -> None:
    (said,) = query_server_problems({"member": MEMBER}, ["national"], seconds)
    assert codes([said]) == ["PAR-0595"]
    assert said.count(f" {seconds!r} ") == 2


def test_a_country_without_a_source_is_refused() -> None:
    assert codes(query_server_problems({"member": MEMBER}, [], 4)) == ["PAR-0594"]
    assert codes(query_server_problems({"member": MEMBER}, [], 31)) == ["PAR-0594", "PAR-0595"]
