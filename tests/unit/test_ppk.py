"""A preshared key's way: made, sealed, opened, compared; whatever goes wrong changes nothing."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from paranal.cli import main
from paranal.messages import Refusal
from paranal.ppk.store import Store, fingerprint
from paranal.tunnels import ppk
from paranal.tunnels.record import Paths

NAME = "co-pe-g2"


@pytest.fixture
def stores(tmp_path: Path) -> list[Store]:
    return [Store(tmp_path / code, tmp_path / f"{code}.passphrase") for code in ("co", "pe")]


@pytest.fixture
def bag(stores: list[Store], tmp_path: Path) -> tuple[Path, Path]:
    """What travels: the sealed file, and by another route what opens it."""
    sealed, passphrase = tmp_path / "sealed", tmp_path / "transport"
    stores[0].make(NAME)
    stores[0].seal(NAME, sealed, passphrase)
    return sealed, passphrase


def refused(code: str) -> pytest.RaisesExc[Refusal]:
    return pytest.raises(Refusal, match=code)


@pytest.mark.req("B4")
def test_both_ends_hold_the_same_256_bits_and_read_the_same_digits(
    stores: list[Store], bag: tuple[Path, Path]
) -> None:
    co, pe = stores
    name, said = pe.open(*bag)
    assert (name, said) == (NAME, fingerprint(NAME, co.key(NAME)))
    assert co.key(NAME) == pe.key(NAME)
    assert len(co.key(NAME)) == 32
    assert said != fingerprint("co-pe-g3", co.key(NAME))


@pytest.mark.req("B4")
def test_no_file_holds_the_key_in_clear_and_nobody_else_reads_one(
    stores: list[Store], bag: tuple[Path, Path], tmp_path: Path
) -> None:
    key = stores[0].key(NAME)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 4
    for file in files:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert key not in file.read_bytes()
        assert key.hex().encode() not in file.read_bytes()


def test_what_does_not_open_is_refused_and_changes_nothing(
    stores: list[Store], bag: tuple[Path, Path], tmp_path: Path
) -> None:
    sealed, passphrase = bag
    pe, wrong = stores[1], tmp_path / "wrong"
    wrong.write_text("another passphrase of length\n")
    wrong.chmod(0o600)
    damaged = tmp_path / "damaged"
    damaged.write_bytes(sealed.read_bytes()[:-20])
    for given in ((sealed, wrong), (damaged, passphrase), (tmp_path / "none", passphrase)):
        with refused("PAR-0433"):
            pe.open(*given)
    assert pe.names() == []
    renamed = stores[0].directory / "co-pe-g3.vault"
    (stores[0].directory / f"{NAME}.vault").rename(renamed)
    with refused("PAR-0433"):
        stores[0].key("co-pe-g3")


def test_a_generation_is_never_made_or_taken_twice(
    stores: list[Store], bag: tuple[Path, Path]
) -> None:
    co, pe = stores
    before = co.key(NAME)
    pe.open(*bag)
    with refused("PAR-0431"):
        co.make(NAME)
    with refused("PAR-0431"):
        pe.open(*bag)
    with refused("PAR-0435"):
        co.seal(NAME, *bag)
    assert co.key(NAME) == pe.key(NAME) == before


@pytest.mark.parametrize("name", ["pe-co-g1", "co-pe", "co-pe-g0", "co-co-g1", "../co-pe-g1", ""])
def test_a_key_is_named_by_its_pair_and_generation(stores: list[Store], name: str) -> None:
    with refused("PAR-0430"):
        stores[0].make(name)


def test_the_command_says_fingerprints_and_never_a_key(
    stores: list[Store], capsys: pytest.CaptureFixture[str]
) -> None:
    directory = ("--directory", str(stores[0].directory), "--json")
    assert main(["ppk", "make", NAME, *directory]) == 0
    made = json.loads(capsys.readouterr().out)
    assert main(["ppk", "list", *directory]) == 0
    key = stores[0].key(NAME)
    shown = capsys.readouterr().out
    assert json.loads(shown) == {"keys": {NAME: made["fingerprint"]}}
    assert key.hex() not in shown
    assert main(["ppk", "drop", NAME, *directory]) == 0
    assert main(["ppk", "drop", NAME, *directory]) == 3
    assert "PAR-0432" in capsys.readouterr().err


@pytest.mark.req("B4")
def test_a_node_holds_a_key_while_a_connection_names_it_and_no_longer(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "swanctl", tmp_path / "state")
    keys = {"co-pe-g1": "0a" * 32, "co-pe-g2": "0b" * 32}
    assert ppk.due(paths, keys) == sorted(keys)
    ppk.deliver(paths, keys)
    assert ppk.due(paths, keys) == []
    assert ppk.due(paths, {"co-pe-g2": "0c" * 32}) == ["co-pe-g2"]
    file = tmp_path / "swanctl/ppk/co-pe-g2.conf"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert f"secret = 0x{'0b' * 32}" in file.read_text()
    held = {"config": {"ppk_id": "co-pe-g2"}}
    assert ppk.retire(paths, [held, {"config": {}}]) == ["co-pe-g1"]  # type: ignore[list-item, typeddict-item]
    assert sorted(ppk.delivered(paths)) == ["co-pe-g2"]
