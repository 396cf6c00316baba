"""The seven fields: strict, explicit about the unknown, and refused by name of the field."""

from __future__ import annotations

import unicodedata
from datetime import date
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paranal.messages import Refusal
from paranal.query import wire
from paranal.query.person import Person, checked

TODAY = date(2026, 11, 23)
FIELDS: dict[str, Any] = {
    "surnames": "Quispe Mamani",
    "given_names": "José María",
    "date_of_birth": "1985-03-14",
    "sex": "M",
    "nationality": "PER",
    "document_type": "P",
    "document_number": "AB1234567",
    "document_issuer": "PER",
}


def _person(**changes: object) -> Person:
    return checked(wire.decode(wire.encode({**FIELDS, **changes}), Person), TODAY)


@pytest.mark.req("R4")
def test_seven_fields_pass_in_canonical_form() -> None:
    person = _person(document_number="ab 123-4567", nationality="per", surnames="Quispe   Mamani ")
    assert person.document_number == "AB1234567"
    assert person.nationality == "PER"
    assert person.surnames == "Quispe Mamani"


@pytest.mark.req("R4")
@pytest.mark.parametrize("field", sorted(FIELDS))
def test_every_field_is_required(field: str) -> None:
    rest = {key: value for key, value in FIELDS.items() if key != field}
    with pytest.raises(Refusal) as refused:
        wire.decode(wire.encode(rest), Person)
    assert (refused.value.code, refused.value.params["field"]) == ("PAR-0501", field)


@pytest.mark.req("R4")
def test_unknown_is_explicit() -> None:
    nobody = {"document_type": None, "document_number": None, "document_issuer": None}
    person = _person(given_names=None, date_of_birth=None, sex="X", nationality="XXX", **nobody)
    assert person.given_names is None
    with pytest.raises(Refusal):
        _person(surnames=None)


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("surnames", "", "PAR-0502"),
        ("surnames", "A" * 101, "PAR-0502"),
        ("surnames", " - ", "PAR-0502"),
        ("given_names", "", "PAR-0502"),
        ("surnames", "Qui\u202espe", "PAR-0503"),
        ("surnames", "Qui\u200bspe", "PAR-0503"),
        ("surnames", "Quispe\x00", "PAR-0503"),
        ("surnames", "Quispe\n", "PAR-0503"),
        ("surnames", "Qu\u0456spe", "PAR-0503"),  # a Cyrillic i
        ("surnames", "\uff31uispe", "PAR-0503"),  # a full-width Q
        ("surnames", "Qui\u0332spe", "PAR-0503"),  # a mark that composes with nothing
        ("surnames", "Quispe 2", "PAR-0503"),
        ("surnames", "{{ 7*7 }}", "PAR-0503"),
        ("given_names", "'; DROP TABLE x; --", "PAR-0503"),
        ("date_of_birth", "1985-02-29", "PAR-0504"),
        ("date_of_birth", "1985-00-14", "PAR-0504"),
        ("date_of_birth", "1899-12-31", "PAR-0504"),
        ("date_of_birth", "2026-11-25", "PAR-0504"),
        ("date_of_birth", "2100-01-01", "PAR-0504"),
        ("date_of_birth", "14/03/1985", "PAR-0504"),
        ("date_of_birth", "\u0661985-03-14", "PAR-0504"),
        ("sex", "m", "PAR-0501"),
        ("sex", None, "PAR-0501"),
        ("nationality", "PRU", "PAR-0505"),
        ("nationality", "", "PAR-0505"),
        ("document_issuer", "ZZZ", "PAR-0505"),
        ("document_type", "DNI", "PAR-0505"),
        ("document_type", "X", "PAR-0505"),
        ("document_number", "", "PAR-0502"),
        ("document_number", "1" * 23, "PAR-0502"),
        ("document_number", "AB/123", "PAR-0507"),
        ("document_number", "---", "PAR-0507"),
        ("document_number", 1234567, "PAR-0501"),
        ("document_number", None, "PAR-0506"),
    ],
)
def test_what_no_field_can_be_is_refused_by_its_name(field: str, value: object, code: str) -> None:
    with pytest.raises(Refusal) as refused:
        _person(**{field: value})
    assert refused.value.code == code
    if code != "PAR-0506":
        assert refused.value.params["field"] == field


@pytest.mark.parametrize(
    "born", ["1985-00-00", "1985-03-00", "2000-02-29", "1900-01-01", "2026-11-24"]
)
def test_dates_at_the_edge_pass(born: str) -> None:
    assert _person(date_of_birth=born).date_of_birth == born


def test_a_decomposed_spelling_is_the_composed_one() -> None:
    composed = _person(surnames="Muñoz Peña")
    assert _person(surnames=unicodedata.normalize("NFD", "Muñoz Peña")) == composed


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xef\xbb\xbf{}", b'{"surnames": "\xff"}', b"[" * 5000, b" " * 9000]
)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(Refusal) as refused:
        wire.decode(body, Person)
    assert refused.value.code in ("PAR-0500", "PAR-0501")


def test_a_long_body_is_refused_whatever_it_says() -> None:
    body = wire.encode(FIELDS)
    assert wire.decode(body.ljust(wire.BODY_MAX), Person)
    with pytest.raises(Refusal, match="PAR-0500"):
        wire.decode(body.ljust(wire.BODY_MAX + 1), Person)


def test_an_unknown_key_is_refused_and_not_repeated() -> None:
    with pytest.raises(Refusal) as refused:
        wire.decode(wire.encode({**FIELDS, "Quispe": 1}), Person)
    assert refused.value.code == "PAR-0501"
    assert "Quispe" not in str(refused.value)


@given(st.text(min_size=6))
def test_no_text_breaks_the_name_rule_or_stands_in_its_refusal(text: str) -> None:
    try:
        once = _person(surnames=text)
    except Refusal as refusal:
        told = str(refusal)
    else:
        told = ""
        assert _person(surnames=once.surnames) == once
    assert text not in told


@pytest.mark.req("R1")
def test_a_person_never_shows_in_a_traceback() -> None:
    assert repr(_person()) == "Person(...)"


@pytest.mark.req("R4")
def test_a_person_travels_as_the_eight_keys_in_their_order() -> None:
    assert list(msgspec.json.decode(wire.encode(_person()))) == list(FIELDS)


def test_the_specimen_state_marks_a_test_identity() -> None:
    assert _person(document_issuer="UTO").is_test_identity
    assert not _person().is_test_identity
