"""One member's view is a pure function of the agreement, and both ends derive the same pair."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path
from typing import Any

import pytest

from paranal.agreement import STATUSES, Agreement, effective, is_open, load, member_view
from paranal.messages import Refusal

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def legal() -> Agreement:
    return load(REPOSITORY / "agreement" / "pacific-alliance.yml")


@pytest.fixture(scope="module")
def all_live() -> Agreement:
    return load(REPOSITORY / "agreement" / "all-live.yml")


def peer(view: dict[str, Any], code: str) -> dict[str, Any]:
    return next(peer for peer in view["peers"] if peer["code"] == code)


def changed(agreement: Agreement, *path: str | int, value: object) -> Agreement:
    document = copy.deepcopy(agreement.document)
    place: Any = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return Agreement(agreement.path, document)


@pytest.mark.req("R12")
def test_effective_status_is_the_strictest() -> None:
    for one, other in itertools.product(STATUSES, repeat=2):
        assert STATUSES.index(effective(one, other)) == max(map(STATUSES.index, (one, other)))
    assert [status for status in STATUSES if is_open(status)] == ["live", "trial"]


@pytest.mark.req("R12")
def test_pending_chile_has_nothing_open_with_anybody(legal: Agreement) -> None:
    view = member_view(legal, "cl")
    for other in view["peers"]:
        assert set(other["asks"].values()) | set(other["answers"].values()) == {"pending"}
        assert other["pair"]["channels"] == []
        assert other["pair"]["line_check"]


def test_live_pair_has_both_channels_and_one_initiator(legal: Agreement) -> None:
    from_pe = peer(member_view(legal, "pe"), "co")
    from_co = peer(member_view(legal, "co"), "pe")
    assert from_pe["pair"]["channels"] == ["operational", "strategic"]
    assert [from_pe["pair"]["initiates"], from_co["pair"]["initiates"]] == [False, True]
    assert from_pe["asks"] == from_co["answers"]
    assert from_pe["ask_names"] == from_co["answer_names"]
    assert from_pe["ask_names"]["operational"] == "pe.q.co.paranal.example"


@pytest.mark.req("B1")
def test_parity_digest_is_the_same_from_both_ends(all_live: Agreement) -> None:
    for one, other in itertools.combinations(sorted(all_live.members), 2):
        mine = peer(member_view(all_live, one), other)["pair"]["parity"]
        theirs = peer(member_view(all_live, other), one)["pair"]["parity"]
        assert mine == theirs


@pytest.mark.req("B1")
def test_parity_digest_moves_only_with_its_own_pair(all_live: Agreement) -> None:
    moved = changed(all_live, "members", "mx", "wan_address", value="203.0.113.19")

    def parity(agreement: Agreement, one: str, other: str) -> str:
        digest: str = peer(member_view(agreement, one), other)["pair"]["parity"]
        return digest

    assert parity(all_live, "mx", "pe") != parity(moved, "mx", "pe")
    assert parity(all_live, "co", "pe") == parity(moved, "co", "pe")


def test_suspending_one_direction_leaves_the_other_open(all_live: Agreement) -> None:
    index = next(
        n for n, pair in enumerate(all_live.document["pairs"]) if pair["members"] == ["co", "pe"]
    )
    path = ("pairs", index, "directions", "pe>co", "services", "person")
    view = member_view(changed(all_live, *path, value="suspended"), "pe")
    assert peer(view, "co")["asks"]["person"] == "suspended"
    assert peer(view, "co")["answers"]["person"] == "live"
    assert "operational" in peer(view, "co")["pair"]["channels"]


def test_comments_and_layout_do_not_move_the_digest(tmp_path: Path, legal: Agreement) -> None:
    copied = tmp_path / "agreement.yml"
    copied.write_text("# a remark\n\n" + legal.path.read_text(encoding="utf-8"), encoding="utf-8")
    assert load(copied).digest == legal.digest
    assert changed(legal, "epoch", value=2).digest != legal.digest


def test_unknown_member_has_no_view(legal: Agreement) -> None:
    with pytest.raises(Refusal) as caught:
        member_view(legal, "ve")
    assert caught.value.code == "PAR-0106"


@pytest.mark.req("R6")
def test_an_address_behind_a_translation_is_the_members_own_and_no_peers(
    all_live: Agreement,
) -> None:
    plain, behind = member_view(all_live, "pe"), member_view(all_live, "pe", "192.0.2.2")
    assert plain["member"]["wan_local_address"] == plain["member"]["wan_address"]
    assert behind["member"]["wan_local_address"] == "192.0.2.2"
    assert behind["member"]["wan_address"] == plain["member"]["wan_address"]
    assert behind["peers"] == plain["peers"]
    assert all("wan_local_address" not in peer for peer in behind["peers"])


@pytest.mark.parametrize(
    "wrong",
    ["192.0.2", "192.0.2.0/24", "2001:db8::1", "10.51.0.9", "10.57.1.1", "198.51.100.34", ""],
)
def test_an_address_that_cannot_be_behind_a_translation_is_refused(
    all_live: Agreement, wrong: str
) -> None:
    with pytest.raises(Refusal, match="PAR-0143"):
        member_view(all_live, "pe", wrong)


def test_a_foreign_gateway_is_a_fact_of_the_pair_and_of_the_digest(all_live: Agreement) -> None:
    foreign = changed(all_live, "members", "co", "gateway", value="foreign")
    assert foreign.digest != all_live.digest
    for agreement, gateway in ((all_live, "paranal"), (foreign, "foreign")):
        (co,) = (peer for peer in member_view(agreement, "pe")["peers"] if peer["code"] == "co")
        assert co["gateway"] == gateway
        assert member_view(agreement, "co")["member"]["gateway"] == gateway
    before, after = (
        {peer["code"]: peer["pair"]["parity"] for peer in member_view(each, "pe")["peers"]}
        for each in (all_live, foreign)
    )
    assert {code for code in before if before[code] != after[code]} == {"co"}
