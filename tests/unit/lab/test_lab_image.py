"""The image's name changes with all that is in it, and with nothing else."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from paranal.lab import image
from paranal.lab.containers import BOOT, Maker
from paranal.lab.home import ROOT

TRIXIE = image.RECIPES["trixie"]


def test_tag_names_suite_and_hash() -> None:
    assert re.fullmatch(r"paranal-node:trixie-[0-9a-f]{12}", TRIXIE.tag)
    assert TRIXIE.tag == replace(TRIXIE).tag


@pytest.mark.parametrize(
    "changed",
    [
        replace(TRIXIE, packages=(*TRIXIE.packages, "vim")),
        replace(TRIXIE, hooks=TRIXIE.hooks[1:]),
        replace(TRIXIE, suite="forky"),
    ],
)
def test_tag_changes_with_the_recipe(changed: image.Recipe) -> None:
    assert changed.tag != TRIXIE.tag


def test_the_mirror_is_where_packages_come_from_and_not_what_they_are() -> None:
    command = image.debootstrap_command(TRIXIE, "http://mirror.example/debian")
    assert command[-3:] == ["trixie", "-", "http://mirror.example/debian"]


def test_no_image_carries_a_host_key_or_a_machine_id() -> None:
    hooks = "\n".join(TRIXIE.hooks)
    assert "ssh_host_*_key" in hooks
    assert "machine-id" in hooks


def test_a_failed_build_is_explained_by_its_first_error() -> None:
    said = "I: running\nE: apt-get update failed\nW: mount\nE: aborted\n"
    assert image.failure(said) == "E: apt-get update failed"
    assert image.failure("no space left on device\n") == "no space left on device"
    assert image.failure("") == "?"


@pytest.fixture
def maker() -> Maker:
    return Maker("t-unit", "paranal-node:x", ROOT, "1:2")


def _all_words(maker: Maker) -> list[list[str]]:
    return [
        *(maker.pause("pe"), maker.pause("wan"), maker.border("pe")),
        *(maker.node("pe"), maker.wan(ROOT / ".lab/t-unit/wan")),
    ]


def test_nothing_is_privileged_or_on_an_engine_network(maker: Maker) -> None:
    for words in _all_words(maker):
        assert "--privileged" not in words
        networks = [word for word in words if word.startswith("--network=")]
        assert len(networks) == 1
        assert networks[0] == "--network=none" or networks[0].endswith("-net")


def test_a_node_gets_the_three_capabilities_and_no_more(maker: Maker) -> None:
    added = [word for word in maker.node("pe") if word.startswith("--cap-add=")]
    assert added == ["--cap-add=NET_ADMIN", "--cap-add=NET_RAW", "--cap-add=SYS_ADMIN"]
    assert maker.node("pe")[-3:] == ["sh", "-ec", BOOT]


def test_pauses_may_do_nothing_and_the_relay_only_networking(maker: Maker) -> None:
    for words in (maker.pause("pe"), maker.pause("wan"), maker.wan(ROOT)):
        assert "--cap-drop=ALL" in words
    assert not [word for word in maker.pause("pe") if word.startswith("--cap-add")]
    added = [word for word in maker.wan(ROOT) if word.startswith("--cap-add")]
    assert added == ["--cap-add=NET_ADMIN", "--cap-add=NET_RAW"]


def test_only_the_wan_forwards(maker: Maker) -> None:
    assert "--sysctl=net.ipv4.ip_forward=1" in maker.pause("wan")
    assert "--sysctl=net.ipv4.ip_forward=1" not in maker.pause("pe")


def test_every_container_says_whose_it_is(maker: Maker) -> None:
    for words in _all_words(maker):
        labels = {word.split("=", 1)[1] for word in words if word.startswith("--label=")}
        assert {"paranal.lab=t-unit", f"paranal.home={ROOT}", "paranal.owner=1:2"} <= labels
