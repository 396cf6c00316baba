"""Which authority issues while one is relieved, and which root may not go."""

from __future__ import annotations

from pathlib import Path

import pytest

from paranal.messages import Refusal
from paranal.pki.rollover import (
    Generation,
    directories,
    in_use,
    must_trust,
    not_trusting,
    passphrase_file,
    refuse_leaves,
    refuse_removal,
)

OLD, NEW = Generation(Path("/ca/pe"), "r1", "i1"), Generation(Path("/ca/pe-g2"), "r2", "i2")


@pytest.mark.req("B5")
@pytest.mark.parametrize(
    ("agreed", "issued_by", "is_asked", "expected"),
    [
        pytest.param(["r1"], ["i1"], False, OLD, id="the new one is not agreed"),
        pytest.param(["r1"], ["i1"], True, OLD, id="not agreed, whoever asks"),
        pytest.param(["r1", "r2"], ["i1"], False, OLD, id="agreed, nobody asked"),
        pytest.param(["r1", "r2"], ["i1"], True, NEW, id="asked, all trust it"),
        pytest.param(["r1", "r2"], ["i1", "i2"], False, NEW, id="cut short, any run goes on"),
        pytest.param(["r2"], ["i1"], False, NEW, id="the old one is lost, all trust the new one"),
        pytest.param(["r2"], ["i2"], False, NEW, id="the old one is no longer agreed"),
        pytest.param(["r2"], [], False, NEW, id="a new node after it"),
        pytest.param(["r1", "r2"], [], False, OLD, id="a new node in the middle"),
        pytest.param([], ["i1"], False, OLD, id="an agreement without roots"),
    ],
)
def test_who_issues(
    agreed: list[str], issued_by: list[str], is_asked: bool, expected: Generation
) -> None:
    assert in_use([OLD, NEW], agreed, issued_by, is_asked, lambda _: []) == expected


@pytest.mark.req("B5")
@pytest.mark.parametrize(("agreed", "is_asked"), [(["r1", "r2"], True), (["r2"], False)])
def test_the_new_authority_does_not_issue_while_a_peer_does_not_trust_it(
    agreed: list[str], is_asked: bool
) -> None:
    with pytest.raises(Refusal, match=r"PAR-0450.*falta que confíen en ella co, mx;"):
        in_use([OLD, NEW], agreed, ["i1"], is_asked, lambda root: ["mx", "co"] * (root == "r2"))


def test_a_middle_authority_does_not_issue_either_while_a_peer_does_not_trust_it() -> None:
    """An agreement that names the second and the third, while the leaves are of the first."""
    third = Generation(Path("pe-g3"), "r3", "i3")
    here, agreed = [OLD, NEW, third], ["r2", "r3"]
    with pytest.raises(Refusal, match=r"PAR-0450.* r2"):
        in_use(here, agreed, ["i1"], False, lambda _: ["co"])
    assert in_use(here, agreed, ["i1"], False, lambda _: []) == NEW
    assert in_use(here, agreed, ["i2"], False, lambda _: ["co"]) == NEW
    assert in_use(here, agreed, [], False, lambda _: ["co"]) == NEW, "a new node"


@pytest.mark.parametrize(
    ("here", "agreed", "issued_by", "is_asked"),
    [
        ([OLD], ["r1"], ["i1"], True),
        ([OLD], [], [], True),
        ([OLD, NEW], ["r1", "r2"], ["i1"], False),
        ([OLD, NEW], ["r1", "r2"], ["i2"], True),
    ],
)
def test_no_peer_is_asked_where_nothing_is_to_begin(
    here: list[Generation], agreed: list[str], issued_by: list[str], is_asked: bool
) -> None:
    def asked(_: str) -> list[str]:
        raise AssertionError

    assert in_use(here, agreed, issued_by, is_asked, asked) in here


def says(member: str, *trusts: str) -> dict[str, object]:
    return {"theirs": {"member": member, "trusts": list(trusts)}}


@pytest.mark.req("B5")
def test_a_peer_that_says_nothing_is_refused_and_one_that_has_nothing_open_is_not_asked() -> None:
    pairs = {"cl-pe": says("cl", "r1", "r2"), "co-pe": says("co", "r1"), "mx-pe": {"theirs": None}}
    assert not_trusting(pairs, ["cl"], "r2") == []
    assert not_trusting(pairs, ["cl", "co"], "r2") == ["co"]
    for wanted in (["cl", "co", "mx"], ["ec"]):
        with pytest.raises(Refusal, match="PAR-0478"):
            not_trusting(pairs, wanted, "r2")
    elder_program = {"co-pe": {"theirs": {"member": "co"}}}
    assert not_trusting(elder_program, ["co"], "r2") == ["co"]
    channels = {"cl": ["strategic"], "co": []}
    peers = [{"code": code, "pair": {"channels": each}} for code, each in channels.items()]
    assert must_trust({"peers": peers}) == ["cl"]


@pytest.mark.req("B5")
def test_a_root_that_a_live_tunnel_chains_to_is_not_removed() -> None:
    with pytest.raises(Refusal, match=r"PAR-0451.*«?r1"):
        refuse_removal("pe", ["r2"], ["r1", "r2"], {"pe": ["r1"]})
    refuse_removal("pe", ["r2"], ["r1", "r2"], {"pe": ["r2"], "co": ["r1"]})
    refuse_removal("pe", ["r1", "r2"], ["r1"], {"pe": ["r1"]})
    refuse_removal("pe", ["r2"], ["r1"], {})


def test_no_root_is_removed_where_charon_cannot_be_asked() -> None:
    with pytest.raises(Refusal, match=r"PAR-0452.* r1"):
        refuse_removal("pe", ["r2"], ["r1", "r2"], None)
    refuse_removal("pe", ["r1", "r2"], ["r1"], None)
    refuse_removal("pe", ["r1"], [], None)


@pytest.mark.req("B5")
def test_a_root_that_a_leaf_of_whatever_kind_chains_to_is_not_removed() -> None:
    refuse_leaves("pe", "r1", ["i2"], ["i2"])
    for told, code in ((["i1", "i2"], "PAR-0453"), ([], "PAR-0454"), (None, "PAR-0454")):
        with pytest.raises(Refusal, match=rf"{code}.* r1"):
            refuse_leaves("pe", "r1", ["i2"], told)


def test_generations_stand_beside_each_other(tmp_path: Path) -> None:
    for name in ("pe", "pe-g2", "pe-g10", "pe-gone", "per"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "ca.json").touch()
    (tmp_path / "pe-g3").mkdir()
    expected = [tmp_path / name for name in ("pe", "pe-g2", "pe-g10")]
    for name in ("pe", "pe-g2", "pe-g10"):
        assert directories(tmp_path / name) == expected
    assert directories(tmp_path / "cl") == [tmp_path / "cl"]


def test_each_generation_has_its_own_passphrase() -> None:
    for given in (Path("/s/pe.passphrase"), Path("/s/pe-g2.passphrase")):
        assert passphrase_file(given, Path("/ca/pe")) == Path("/s/pe.passphrase")
        assert passphrase_file(given, Path("/ca/pe-g2")) == Path("/s/pe-g2.passphrase")
    assert passphrase_file(Path("/s/secret"), Path("/ca/pe")) == Path("/s/secret")
