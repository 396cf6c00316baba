"""What the lab calls things, and which names it refuses."""

from __future__ import annotations

import pytest

from paranal.lab import names
from paranal.messages import Refusal


@pytest.mark.parametrize("name", ["default", "t-a1", "a", "x" * 24])
def test_name_is_accepted(name: str) -> None:
    assert names.check_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "A", "1a", "-a", "a-", "a--b", "a_b", "a b", "a/b", "../a", "a\n", "ñ", "x" * 25],
)
def test_name_is_refused(name: str) -> None:
    with pytest.raises(Refusal) as refusal:
        names.check_name(name)
    assert refusal.value.code == "PAR-0201"


def test_host_link_fits_the_kernel_and_differs_between_labs() -> None:
    longest = names.host_link("x" * 24, "pe")
    assert len(longest) <= 15
    assert longest != names.host_link("y" * 24, "pe")
    assert longest != names.host_link("x" * 24, "co")


def test_a_border_is_a_part_of_its_own() -> None:
    assert names.container("a", names.border("pe")) == "paranal-a-pe-border"
    assert names.pause("a", "pe") == "paranal-a-pe-net"
