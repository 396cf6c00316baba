"""Machine-readable zones of every size: read, and refused with line and position."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paranal.messages import Refusal
from paranal.query import mrz

TODAY = date(2026, 11, 23)

# ICAO Doc 9303's own specimens (parts 4 to 7), all of the specimen state Utopia.
TD3 = (
    "P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<",
    "L898902C36UTO7408122F1204159ZE184226B<<<<<10",
)
TD1 = (
    "I<UTOD231458907<<<<<<<<<<<<<<<",
    "7408122F1204159UTO<<<<<<<<<<<6",
    "ERIKSSON<<ANNA<MARIA<<<<<<<<<<",
)
TD2 = ("I<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<", "D231458907UTO7408122F1204159<<<<<<<6")
MRV_A = (
    "V<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<",
    "L8988901C4XXX4009078F96121096ZE184226B<<<<<<",
)
MRV_B = ("V<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<", "L8988901C4XXX4009078F9612109<<<<<<<<")


@pytest.mark.req("R19")
@pytest.mark.parametrize(
    ("lines", "kind", "number", "born", "nationality"),
    [
        (TD3, "P", "L898902C3", "1974-08-12", "UTO"),
        (TD1, "I", "D23145890", "1974-08-12", "UTO"),
        (TD2, "I", "D23145890", "1974-08-12", "UTO"),
        (MRV_A, "V", "L8988901C", "1940-09-07", "XXX"),
        (MRV_B, "V", "L8988901C", "1940-09-07", "XXX"),
    ],
)
def test_specimens_are_read(
    lines: tuple[str, ...], kind: str, number: str, born: str, nationality: str
) -> None:
    person = mrz.read(lines, TODAY)
    assert person.surnames == "ERIKSSON"
    assert person.given_names == "ANNA MARIA"
    assert (person.document_type, person.document_number) == (kind, number)
    assert (person.date_of_birth, person.sex) == (born, "F")
    assert (person.nationality, person.document_issuer) == (nationality, "UTO")


@pytest.mark.parametrize(
    ("lines", "line", "position"),
    [
        ((TD3[0], "L898902C46UTO7408122F1204159ZE184226B<<<<<10"), 2, 44),
        ((TD3[0], "L898902C36UTO7408122F1204159ZE184226B<<<<<11"), 2, 44),
        ((TD3[0], "L898902C36UTO7408122F1204159ZE184226B<<<<<20"), 2, 43),
        ((TD1[0], "7408122F1204159UTO<<<<<<<<<<<7", TD1[2]), 2, 30),
        ((TD2[0], "D231458907UTO7408122F1204159<<<<<<<7"), 2, 36),
        ((MRV_A[0], "L8988901C5XXX4009078F96121096ZE184226B<<<<<<"), 2, 10),
        ((MRV_A[0], "L8988901C4XXX4009079F96121096ZE184226B<<<<<<"), 2, 20),
        ((MRV_B[0], "L8988901C4XXX4009078F9612108<<<<<<<<"), 2, 28),
    ],
)
def test_a_wrong_check_digit_names_line_and_position(
    lines: tuple[str, ...], line: int, position: int
) -> None:
    with pytest.raises(Refusal) as refused:
        mrz.read(lines, TODAY)
    assert refused.value.code == "PAR-0512"
    assert refused.value.params == {"line": line, "position": position}


@given(st.sampled_from([TD3, TD1, TD2]), st.data())
def test_no_single_altered_digit_passes(lines: tuple[str, ...], data: st.DataObject) -> None:
    number = data.draw(
        st.sampled_from([i for i, line in enumerate(lines) if any(map(str.isdigit, line))])
    )
    digits = [i for i, sign in enumerate(lines[number]) if sign.isdigit()]
    position = data.draw(st.sampled_from(digits))
    other = data.draw(st.sampled_from([d for d in "0123456789" if d != lines[number][position]]))
    altered = list(lines)
    altered[number] = lines[number][:position] + other + lines[number][position + 1 :]
    with pytest.raises(Refusal):
        mrz.read(altered, TODAY)


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ((), "PAR-0510"),
        ((TD3[0],), "PAR-0510"),
        ((TD3[0], TD3[1][:-1]), "PAR-0510"),
        ((TD3[0].replace("ERIKSSON", "ERIKSSÖN"), TD3[1]), "PAR-0511"),
        ((TD3[0].replace("A<<", "A  "), TD3[1]), "PAR-0511"),
        (("P<UTO" + "A" * 39, TD3[1]), "PAR-0515"),
    ],
)
def test_what_is_no_zone_is_refused(lines: tuple[str, ...], code: str) -> None:
    with pytest.raises(Refusal) as refused:
        mrz.read(lines, TODAY)
    assert refused.value.code == code


def _td3(
    number: str = "AB1234567", born: str = "740812", sex: str = "F", names: str = "QUISPE<<ROSA"
) -> tuple[str, str]:
    digit = mrz.check_digit
    second = f"{number}{digit(number)}PER{born}{digit(born)}{sex}301231{digit('301231')}{'<' * 14}<"
    whole = digit(second[0:10] + second[13:20] + second[21:43])
    return f"P<PER{names}".ljust(44, "<"), second + whole


@pytest.mark.parametrize(
    ("born", "expected"),
    [
        ("261123", "2026-11-23"),
        ("261124", "1926-11-24"),
        ("000229", "2000-02-29"),
        ("740800", "1974-08-00"),
        ("7408A1", "PAR-0513"),
        ("74<<<<", "1974-00-00"),
        ("7408<<", "1974-08-00"),
        ("<<<<<<", None),
        ("740230", "PAR-0504"),
    ],
)
def test_the_year_rule_and_unknown_parts(born: str, expected: str | None) -> None:
    if expected and expected.startswith("PAR"):
        with pytest.raises(Refusal, match=expected):
            mrz.read(_td3(born=born), TODAY)
    else:
        assert mrz.read(_td3(born=born), TODAY).date_of_birth == expected


def test_unspecified_sex_and_a_single_name() -> None:
    person = mrz.read(_td3(sex="<", names="QUISPE"), TODAY)
    assert (person.sex, person.given_names) == ("X", None)
    with pytest.raises(Refusal) as refused:
        mrz.read(_td3(sex="Q"), TODAY)
    assert refused.value.code == "PAR-0514"


def test_a_long_number_of_a_card_goes_on_in_the_optional_data() -> None:
    # ICAO Doc 9303 part 5: number D23145890734 is printed D23145890 < 734 and its check digit.
    rest = "734" + mrz.check_digit("D23145890734")
    first = f"I<UTOD23145890<{rest}".ljust(30, "<")
    whole = mrz.check_digit(first[5:30] + TD1[1][0:7] + TD1[1][8:15] + TD1[1][18:29])
    person = mrz.read((first, TD1[1][:29] + whole, TD1[2]), TODAY)
    assert person.document_number == "D23145890734"


def test_a_cards_expiry_has_a_digit_of_its_own() -> None:
    line = TD1[1].replace("1204159", "1204158")
    whole = mrz.check_digit(TD1[0][5:30] + line[0:7] + line[8:15] + line[18:29])
    with pytest.raises(Refusal) as refused:
        mrz.read((TD1[0], line[:29] + whole, TD1[2]), TODAY)
    assert refused.value.params == {"line": 2, "position": 15}


@pytest.mark.req("R4")
def test_german_codes_fit_the_list() -> None:
    first, second = _td3()
    second = second.replace("PER", "D<<")
    assert mrz.read((first.replace("P<PER", "P<D<<"), second), TODAY).nationality == "D"
