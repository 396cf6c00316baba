"""Who hits whom: by document or by the whole normalised identity, and what the country says."""

from __future__ import annotations

from itertools import chain, combinations
from typing import Literal

import pytest

from paranal.messages import Refusal
from paranal.query import match, normalise
from paranal.query.match import Keys
from paranal.query.person import Person


def _person(
    surnames: str = "Muñoz Peña",
    given_names: str | None = "José",
    date_of_birth: str | None = "1985-03-14",
    nationality: str = "PER",
    document: tuple[str, str, str] | None = ("P", "AB1234567", "PER"),
    sex: Literal["F", "M", "X"] = "M",
) -> Person:
    kind, number, issuer = document or (None, None, None)
    return Person(
        surnames, given_names, date_of_birth, sex, nationality, kind, number, issuer
    )  # fmt: skip


@pytest.mark.parametrize(
    ("written", "normalised"),
    [
        ("Muñoz", "MUNOZ"),
        ("MUNXXOZ", "MUNOZ"),
        ("Agüero", "AGUERO"),
        ("AGUXXERO", "AGUERO"),
        ("O'Higgins", "OHIGGINS"),
        ("O\u2019Higgins", "OHIGGINS"),
        ("García-Huidobro", "GARCIA HUIDOBRO"),
        ("Ma.  Elena", "MA ELENA"),
        ("Strauß", "STRAUSS"),
        ("Bjørn", "BJOERN"),
        ("Nguyễn", "NGUYEN"),
        (None, ""),
    ],
)
def test_names_are_normalised_by_the_written_rule(written: str | None, normalised: str) -> None:
    assert normalise.name(written) == normalised
    assert normalise.name(normalised) == normalised


@pytest.mark.req("R4")
def test_spellings_of_one_identity_have_one_key() -> None:
    printed = _person(surnames="MUNOZ PENA", given_names="JOSE")
    assert match.keys(_person()).identity == match.keys(printed).identity


@pytest.mark.req("R4")
@pytest.mark.parametrize(
    "other",
    [
        _person(surnames="Muñoz"),
        _person(given_names="José Luis"),
        _person(given_names=None),
        _person(date_of_birth="1985-03-15"),
        _person(nationality="COL"),
    ],
)
def test_a_homonym_does_not_hit(other: Person) -> None:
    assert match.keys(_person()).identity not in match.keys(other).identities


@pytest.mark.req("R4", "B6")
@pytest.mark.parametrize("asked", ["F", "M", "X"])
@pytest.mark.parametrize("recorded", ["F", "M", "X"])
def test_an_unspecified_sex_contradicts_none(
    asked: Literal["F", "M", "X"], recorded: Literal["F", "M", "X"]
) -> None:
    hit = match.keys(_person(sex=recorded)).identity in match.keys(_person(sex=asked)).identities
    assert hit == (asked == recorded or "X" in (asked, recorded))


def test_an_incomplete_identity_has_no_key() -> None:
    assert match.keys(_person(date_of_birth=None)).identity is None
    assert match.keys(_person(date_of_birth="1985-03-00")).identity is None
    assert match.keys(_person(nationality="XXX")).identity is None


def test_a_document_is_its_issuer_kind_and_number() -> None:
    own = match.keys(_person()).document
    assert match.keys(_person(document=("PN", "AB1234567", "PER"))).document == own
    assert match.keys(_person(document=("P", "AB1234567", "COL"))).document != own
    assert match.keys(_person(document=("I", "AB1234567", "PER"))).document != own
    cards = {match.keys(_person(document=(kind, "1", "PER"))).document for kind in ("I", "A", "CC")}
    assert len(cards) == 1


def test_nothing_to_search_by_is_refused() -> None:
    with pytest.raises(Refusal, match="PAR-0508"):
        match.searchable(_person(date_of_birth=None, document=None))


WHOLE, PARTIAL = Keys("P", "I"), Keys("P", None)
SOURCES = ("judiciary", "police")


@pytest.mark.req("R5")
@pytest.mark.parametrize("hits", [(), ("RQ",), ("ANT",), ("ANT", "RQ"), ("ANT", "ANT")])
def test_every_combination_of_sources_and_hits(hits: tuple[str, ...]) -> None:
    subsets = list(chain.from_iterable(combinations(SOURCES, n) for n in range(3)))
    for question in (WHOLE, PARTIAL):
        for loaded in subsets:
            if hits:
                expected = 1 if "RQ" in hits else 2
                assert match.judge(question, hits, loaded, SOURCES) == expected
            elif set(loaded) == set(SOURCES) and question is WHOLE:
                assert match.judge(question, hits, loaded, SOURCES) == 0
            else:
                with pytest.raises(Refusal):
                    match.judge(question, hits, loaded, SOURCES)


@pytest.mark.req("B6")
def test_a_country_without_sources_never_says_ok() -> None:
    with pytest.raises(Refusal, match="PAR-0541"):
        match.judge(WHOLE, (), SOURCES, ())


@pytest.mark.req("B6")
def test_a_missing_document_alone_clears_nobody() -> None:
    with pytest.raises(Refusal, match="PAR-0509"):
        match.judge(PARTIAL, (), SOURCES, SOURCES)
