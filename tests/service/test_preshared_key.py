"""The preshared key of a pair (RFC 8784) between two charons: both ends need it, the same one."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from paranal.status import journal
from paranal.status.facts import Ike
from tests.mesh.support import eventually
from tests.service.gateways import PAIR, Gateways, declared, gateways

FOLDER = "/etc/swanctl/ppk"
CHANNELS = {"operational", "strategic"}


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateways]:
    with gateways("keys", Path(tmp_path_factory.mktemp("lab"))) as made:
        yield made


def _both(two: Gateways, profile: str, generation: int | None) -> None:
    """Apply at the responder, then at the initiator, and settle both."""
    agreement = declared(profile, generation)
    two.apply("pe", agreement, 0)
    two.apply("co", agreement)
    for code in PAIR:
        two.apply(code, agreement)


def _up(two: Gateways, *, ppk: bool) -> bool:
    for code in PAIR:
        sas = two.sas(code)
        if [(sa["state"], sa.get("ppk") == "yes") for sa in sas] != [("ESTABLISHED", ppk)]:
            return False
        if {child["name"] for child in sas[0]["child-sas"].values()} != CHANNELS:
            return False
    return True


def _held(two: Gateways, code: str) -> list[str]:
    return two.nodes[code].run("ls", FOLDER).stdout.decode().split()


@pytest.mark.req("R6", "B4")
def test_a_pair_goes_to_its_key_to_the_next_one_and_back(two: Gateways) -> None:
    _both(two, "classic", None)
    assert eventually(lambda: _up(two, ppk=False), 10), two.log("co")[-3000:]
    names = [two.sas("co")[0]["name"]]
    for profile, generation in (("ppk", 1), ("ppk", 2), ("classic", None)):
        _both(two, profile, generation)
        assert eventually(partial(_up, two, ppk=profile == "ppk"), 10), two.log("co")[-3000:]
        names.append(two.sas("co")[0]["name"])
        wanted = [f"co-pe-g{generation}.conf"] if generation else []
        for code in PAIR:
            assert _held(two, code) == wanted
            shown = two.nodes[code].must("swanctl", "--list-conns")
            assert ("ppk" in shown.lower()) is bool(generation)
    assert len(set(names)) == 3
    assert names[0] == names[-1]


def _keyed(two: Gateways) -> dict[str, Any]:
    _both(two, "ppk", 5)
    assert eventually(lambda: _up(two, ppk=True), 10), two.log("co")[-3000:]
    config: dict[str, Any] = two.connection("co", declared("ppk", 5))["connection"]["config"]
    return config


@pytest.mark.req("R6", "B4")
def test_the_key_is_in_one_file_of_root_s_and_nowhere_else(two: Gateways) -> None:
    _keyed(two)
    (key,) = two.keys("pe", declared("ppk", 5)).values()
    for code in PAIR:
        found = two.nodes[code].run("grep", "-rlI", key, "/etc", "/var", "/root", "/run", "/home")
        assert found.stdout.decode().split() == [f"{FOLDER}/co-pe-g5.conf"]
        mode = two.nodes[code].must("stat", "-c", "%U %a", f"{FOLDER}/co-pe-g5.conf")
        assert mode.split() == ["root", "600"]


@pytest.mark.req("R6", "B4")
def test_a_peer_without_its_key_is_refused_and_the_tunnel_kept(two: Gateways) -> None:
    config = _keyed(two)
    before = [child["spi-in"] for child in two.sas("pe")[0]["child-sas"].values()]
    bare = {key: value for key, value in config.items() if not key.startswith("ppk")}
    bare |= {"unique": "never", "keyingtries": "1"}
    heard = {code: len(two.log(code)) for code in PAIR}
    said = two.script("co", "connection", name="bare", config=bare, start=["strategic"])
    two.script("co", "connection", forget="bare")
    assert said["strategic"] is not None
    assert [c["spi-in"] for c in two.sas("pe")[0]["child-sas"].values()] == before
    told = "\n".join(two.log(code)[heard[code] :] for code in PAIR)
    assert "PPK required but" in told, told


@pytest.mark.req("R6", "B4")
def test_another_key_makes_no_tunnel_and_the_log_says_which_fault_it_is(two: Gateways) -> None:
    _both(two, "classic", None)
    agreement = declared("ppk", 9)
    (key,) = two.keys("co", agreement).values()
    wrong = key[:-1] + ("1" if key[-1] != "1" else "2")
    two.apply("pe", agreement, 0, co_pe_g9=wrong)
    two.apply("co", agreement, 3)
    sas = [sa for code in PAIR for sa in two.sas(code) if sa.get("ppk") == "yes"]
    assert [sa for sa in sas if sa["state"] == "ESTABLISHED"] == []
    lines = two.log("pe").splitlines()
    assert journal.meaning(lines[-60:]) is Ike.KEY_DIFFERS, "\n".join(lines[-60:])
    two.apply("pe", agreement, 0)
    # As the timer would: the apply itself has nothing new at this end.
    two.nodes["co"].must("paranal", "tunnels", "heal")
    two.apply("pe", agreement)
    assert eventually(lambda: _up(two, ppk=True), 20), two.log("pe")[-3000:]
