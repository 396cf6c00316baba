"""Which authority issues while one is relieved, and which root may not go."""

from __future__ import annotations

from pathlib import Path

import pytest

from paranal.messages import Refusal
from paranal.pki.rollover import (
    Generation,
    directories,
    in_use,
    passphrase_file,
    refuse_removal,
)

OLD, NEW = Generation(Path("/ca/pe"), "r1", "i1"), Generation(Path("/ca/pe-g2"), "r2", "i2")
PEERS = ["cl", "co", "mx"]


@pytest.mark.req("B5")
@pytest.mark.parametrize(
    ("agreed", "issued_by", "confirmed", "expected"),
    [
        pytest.param(["r1"], ["i1"], [], OLD, id="the new one is not agreed"),
        pytest.param(["r1"], ["i1"], PEERS, OLD, id="not agreed, whoever confirmed"),
        pytest.param(["r1", "r2"], ["i1"], [], OLD, id="agreed, nobody asked"),
        pytest.param(["r1", "r2"], ["i1"], PEERS, NEW, id="all trust it"),
        pytest.param(["r1", "r2"], ["i1", "i2"], [], NEW, id="cut short, any run goes on"),
        pytest.param(["r2"], ["i1"], PEERS, NEW, id="the old one is lost, all trust the new one"),
        pytest.param(["r2"], ["i2"], [], NEW, id="the old one is no longer agreed"),
        pytest.param(["r2"], [], [], NEW, id="a new node after it"),
        pytest.param(["r1", "r2"], [], [], OLD, id="a new node in the middle"),
        pytest.param([], ["i1"], [], OLD, id="an agreement without roots"),
    ],
)
def test_who_issues(
    agreed: list[str], issued_by: list[str], confirmed: list[str], expected: Generation
) -> None:
    assert in_use([OLD, NEW], agreed, issued_by, PEERS, confirmed) == expected


@pytest.mark.req("B5")
def test_the_new_authority_does_not_issue_while_a_peer_is_not_known_to_trust_it() -> None:
    with pytest.raises(Refusal, match=r"PAR-0450.*falta que confíen en ella co, mx;"):
        in_use([OLD, NEW], ["r1", "r2"], ["i1"], PEERS, ["cl"])
    with pytest.raises(Refusal, match="PAR-0450"):
        in_use([OLD, NEW], ["r2"], ["i1"], PEERS, [])


def test_one_authority_alone_issues_whatever_is_confirmed() -> None:
    assert in_use([OLD], ["r1"], ["i1"], PEERS, ["cl"]) == OLD
    assert in_use([OLD], [], [], PEERS, []) == OLD


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
