"""What charon negotiated is judged against the agreement; what it could not know is no finding."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from paranal.agreement.connections import Connection, connections
from paranal.tunnels.charon import IkeSa
from paranal.tunnels.verify import RETIRED_SECONDS, problems, report
from tests.unit.agreement.views import view
from tests.unit.tunnels.sas import child_sa, ike_sa

USERSPACE = ("random", "openssl", "kernel-libipsec", "kernel-netlink")


@pytest.fixture
def declared() -> list[Connection]:
    return connections(view("pe"), {code: code for code in ("cl", "co", "mx")})


def running(connection: Connection) -> IkeSa:
    children = [
        child_sa(
            channel,
            channel,
            local_ts=tuple(connection["config"]["children"][channel]["local_ts"]),
            remote_ts=tuple(connection["config"]["children"][channel]["remote_ts"]),
        )
        for channel in connection["channels"]
    ]
    return ike_sa(connection["name"], "1", children, established_seconds=RETIRED_SECONDS)


def found(
    declared: list[Connection],
    sas: list[IkeSa],
    loaded: list[str] | None = None,
    plugins: tuple[str, ...] = USERSPACE,
) -> list[str]:
    names = [one["name"] for one in declared] if loaded is None else loaded
    return problems(declared, {name: {} for name in names}, sas, plugins, "userspace")


@pytest.mark.req("R6")
def test_what_was_agreed_is_no_problem(declared: list[Connection]) -> None:
    assert found(declared, [running(one) for one in declared[1:]]) == []


def test_a_silent_peer_is_shown_and_is_no_problem_of_ours(declared: list[Connection]) -> None:
    assert found(declared, []) == []
    states = {row["peer"]: row["state"] for row in report(declared, [], "userspace")}
    assert states == {"cl": "loaded", "co": "waiting for peer", "mx": "waiting for peer"}


@pytest.mark.req("R6")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"encryption": "AES_CBC-128"}, "negotiated AES_CBC-128/PRF_HMAC_SHA2_384/ECP_384"),
        ({"prf": "PRF_HMAC_SHA1"}, "negotiated"),
        ({"key_exchange": "MODP_2048"}, "negotiated"),
        ({"ppk": True}, "with a postquantum"),
    ],
)
def test_a_weaker_ike_sa_is_a_problem(
    declared: list[Connection], change: dict[str, Any], words: str
) -> None:
    (problem,) = found(declared, [replace(running(declared[1]), **change)])
    assert words in problem


@pytest.mark.req("R6")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"key_exchange": ""}, "no key exchange"),
        ({"encryption": "AES_GCM_16-128"}, "AES_GCM_16-128"),
        ({"esn": True}, "with extended sequence numbers"),
        ({"remote_ts": ("0.0.0.0/0",)}, "carries remote 0.0.0.0/0"),
        ({"local_ts": ("10.51.0.0/16",)}, "carries local 10.51.0.0/16"),
        ({"name": "everything"}, "installed and not declared"),
    ],
)
def test_a_weaker_or_wider_child_sa_is_a_problem(
    declared: list[Connection], change: dict[str, Any], words: str
) -> None:
    sa = running(declared[1])
    child = replace(sa.children[0], **change)
    (problem,) = found(declared, [replace(sa, children=(child, sa.children[1]))])
    assert words in problem


def test_what_is_not_loaded_and_what_is_loaded_too_much(declared: list[Connection]) -> None:
    sas = [running(one) for one in declared[1:]]
    names = [one["name"] for one in declared]
    assert found(declared, sas, names[1:]) == [f"{names[0]} is not loaded"]
    assert found(declared, sas, [*names, "x"]) == ["x is loaded and not declared"]


def test_an_ike_sa_that_outlived_its_connection_is_a_problem(declared: list[Connection]) -> None:
    sas = [running(one) for one in declared[1:]]
    for name in ("everything", "pe-co-g00000000"):
        left = ike_sa(name, "9", ["operational"])
        assert found(declared, [*sas, left]) == [f"{name} is up and not declared"]
        assert found(declared, [*sas, replace(left, state="DELETING")]) == []
    waiting = [running(declared[2]), ike_sa("pe-co-g00000000", "9", ["operational"])]
    assert found(declared, waiting) == [], "it serves until its heir is up"


def test_an_elder_generation_is_accepted_until_its_heir_has_been_up_for_a_while(
    declared: list[Connection],
) -> None:
    names = [*(one["name"] for one in declared), "pe-co-g00000000"]
    assert found(declared, [running(declared[2])], names) == []
    up = [running(one) for one in declared[1:]]
    lately = [replace(sa, established_seconds=RETIRED_SECONDS - 1) for sa in up]
    assert found(declared, lately, names) == [], "the upkeep's next turn retires it"
    assert found(declared, up, names) == ["pe-co-g00000000 is loaded and not declared"]


def test_the_data_plane_is_never_switched_silently(declared: list[Connection]) -> None:
    (problem,) = found(declared, [], plugins=("openssl", "kernel-netlink"))
    assert problem == "the data plane is kernel, declared is userspace"
