"""paranal.deb: the same source gives the same bytes, and nothing that a node must not have."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from paranal import package

BASE = Path(__file__).parents[2] / "roles" / "base" / "defaults" / "main.yml"


def _shown(deb: Path, option: str) -> str:
    words = ["dpkg-deb", option, str(deb)]
    return subprocess.run(words, capture_output=True, check=True, text=True).stdout  # noqa: S603


def test_the_same_source_gives_the_same_bytes(tmp_path: Path) -> None:
    one, other = package.build(tmp_path / "one"), package.build(tmp_path / "other")
    assert one.name == other.name
    assert one.read_bytes() == other.read_bytes()
    before = one.stat().st_mtime_ns
    assert package.build(tmp_path / "one").stat().st_mtime_ns == before
    assert list((tmp_path / "one").iterdir()) == [one]


def test_another_source_has_another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = package.build(tmp_path)
    monkeypatch.setattr(package, "COMMAND", package.COMMAND + "# changed\n")
    assert package.build(tmp_path).name != one.name


def test_it_asks_for_exactly_the_libraries_that_role_base_installs() -> None:
    installed = yaml.safe_load(BASE.read_text(encoding="utf-8"))["base_packages"]
    named = {each.split()[0] for each in (*package.DEPENDS, *package.RECOMMENDS)}
    assert named - {"python3"} == {each for each in installed if each.startswith("python3-")}


def test_it_holds_what_a_node_needs_and_no_lab(tmp_path: Path) -> None:
    deb = package.build(tmp_path)
    listed = _shown(deb, "--contents")
    for part in (
        "/usr/bin/paranal",
        "paranal/query/sql/001_roles.sql",
        "paranal/messages/catalogue/query.yml",
        "dist-packages/vici/__init__.py",
    ):
        assert part in listed
    assert "paranal/lab" not in listed
    assert "__pycache__" not in listed
    assert all("root/root" in line for line in listed.splitlines())
    assert "Depends: python3" in _shown(deb, "--info")
