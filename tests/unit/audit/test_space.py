"""Sets of values, classes and boxes: exact, whatever is cut out of what."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paranal.audit.proof import values
from paranal.audit.proof.space import Box, Space, meet, size, without
from paranal.audit.proof.values import FIELDS, Values

NUMBERS = st.integers(0, 30)
SPANS = st.lists(st.tuples(NUMBERS, NUMBERS).map(lambda pair: (min(pair), max(pair))), max_size=4)
SETS = SPANS.map(Values.union)


def members(found: Values) -> set[int]:
    return {number for number in range(32) if number in found}


@given(SETS, SETS)
def test_sets_of_values_behave_like_sets(one: Values, other: Values) -> None:
    assert members(one | other) == members(one) | members(other)
    assert members(one & other) == members(one) & members(other)
    assert members(one - other) == members(one) - members(other)
    for first, last in (one | other).spans:
        assert first <= last
        assert last + 1 not in (one | other)


@given(st.lists(SETS, min_size=1, max_size=4), NUMBERS, NUMBERS)
def test_two_values_are_one_class_when_no_set_tells_them_apart(
    sets: list[Values], one: int, other: int
) -> None:
    space = Space({"dport": each} for each in sets)
    packet = {**dict.fromkeys(FIELDS, 0), "dport": one}
    same = space.point(packet) == space.point({**packet, "dport": other})
    assert same is all((one in each) == (other in each) for each in sets)


@given(SETS.filter(lambda found: bool(found.spans)))
def test_an_example_of_a_box_is_in_the_box(found: Values) -> None:
    space = Space([{"sport": found}, {"source": values.IPV6}])
    box = space.box({"sport": found, "source": values.IPV6})
    assert box
    packet = space.pick(box, {"sport": [99, 7]})
    assert packet["sport"] in found
    assert packet["source"] in values.IPV6
    assert meet(space.point(packet), box) == space.point(packet)


BOXES = st.lists(st.integers(1, 7), min_size=3, max_size=3).map(tuple)


@given(BOXES, BOXES)
def test_what_is_cut_out_of_a_box_and_what_is_left_make_the_box(box: Box, taken: Box) -> None:
    parts = [*without(box, taken)]
    inside = meet(box, taken)
    assert sum(map(size, parts)) + (size(inside) if inside else 0) == size(box)
    pieces = [*parts, *([inside] if inside else [])]
    for number, one in enumerate(pieces):
        assert meet(one, box) == one
        for other in pieces[number + 1 :]:
            assert meet(one, other) is None


def test_a_condition_that_nothing_meets_has_no_box() -> None:
    space = Space([{"dport": Values.of(22)}, {"dport": Values(())}])
    assert space.box({"dport": Values(())}) is None
    assert space.box({"dport": Values.of(22)}) is not None


def test_a_condition_that_could_cut_a_class_is_an_error() -> None:
    with pytest.raises(KeyError):
        Space([]).box({"dport": Values.of(22)})


def test_addresses_and_interfaces_are_numbers_and_back() -> None:
    for text in ("0.0.0.1", "10.51.1.1", "255.255.255.255", "::", "2001:db8::1", "fe80::51"):
        assert values.address_text(values.address(text)) == text
    for name in ("wan", "ipsec0", "enp0s31f6", "fifteen-letters"):
        assert values.interface_name(values.interface(name)) == name
    assert values.interface("") == 0
    assert values.network("10.51.0.0/16").spans == (
        (values.address("10.51.0.0"), values.address("10.51.255.255")),
    )
