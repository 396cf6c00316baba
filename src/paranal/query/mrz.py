"""Machine-readable zones: TD1, TD2, TD3 and visas MRV-A, MRV-B (ICAO Doc 9303 parts 3 to 7).

:func:`read` checks every check digit and yields the seven fields. Two rules of ours:

* Century of a birth: a two-digit year is this century's when that day is not after the day of
  reading, else the last century's. Whoever is a hundred or older is typed in as seven fields.
* A name that fills its field to the last position may be cut off; a cut name would find nobody and
  read as "no record", so it is refused and typed in as seven fields.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date

from paranal.messages import Refusal
from paranal.query.person import Person, checked

FILLER = "<"
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_WEIGHTS = (7, 3, 1)
_SEX = {"F": "F", "M": "M", FILLER: "X", "X": "X"}


def check_digit(text: str) -> str:
    """Return the check digit of ``text``: weights 7 3 1, modulo 10, filler counts nothing."""
    values = (0 if sign == FILLER else _ALPHABET.index(sign) for sign in text)
    return str(sum(value * _WEIGHTS[i % 3] for i, value in enumerate(values)) % 10)


def read(lines: Sequence[str], today: date) -> Person:
    """Return the person that two or three lines name, validated as the seven fields are.

    Raises ``Refusal`` PAR-0510 to PAR-0515 naming the line and the position (both from 1).
    """
    zone = [line.strip().upper() for line in lines]
    layout = _layout(zone)
    for number, line in enumerate(zone, 1):
        for position, sign in enumerate(line, 1):
            if sign not in _ALPHABET and sign != FILLER:
                raise Refusal("PAR-0511", line=number, position=position)
    return checked(layout(zone, today), today)


def _layout(zone: list[str]) -> Callable[[list[str], date], Person]:
    visa = zone[0].startswith("V") if zone else False
    shapes = {
        (30, 30, 30): _td1,
        (44, 44): _visa if visa else _td3,
        (36, 36): _visa if visa else _td2,
    }
    layout = shapes.get(tuple(len(line) for line in zone))
    if layout is None:
        raise Refusal("PAR-0510", lengths=", ".join(str(len(line)) for line in zone) or "0")
    return layout


def _td3(zone: list[str], today: date) -> Person:
    first, second = zone
    _verify(second, 2, slice(28, 42))
    _verify_composite(second[0:10] + second[13:20] + second[21:43], second[43], 2, 44)
    return _two_lines(first, second, today, _number(second, 2, 0))


def _td2(zone: list[str], today: date) -> Person:
    first, second = zone
    _verify_composite(second[0:10] + second[13:20] + second[21:35], second[35], 2, 36)
    return _two_lines(first, second, today, _number(second, 2, 0, slice(28, 35)))


def _visa(zone: list[str], today: date) -> Person:
    first, second = zone
    return _two_lines(first, second, today, _number(second, 2, 0))


def _two_lines(first: str, second: str, today: date, number: str) -> Person:
    _verify(second, 2, slice(21, 27))
    return _person(
        kind=first[0:2],
        issuer=first[2:5],
        number=number,
        names=(first[5:], 1, len(first)),
        birth=_birth(second, 2, 13, today),
        sex=_sex(second, 2, 20),
        nationality=second[10:13],
    )


def _td1(zone: list[str], today: date) -> Person:
    first, second, third = zone
    composite = first[5:30] + second[0:7] + second[8:15] + second[18:29]
    _verify_composite(composite, second[29], 2, 30)
    _verify(second, 2, slice(8, 14))
    return _person(
        kind=first[0:2],
        issuer=first[2:5],
        number=_number(first, 1, 5, slice(15, 30)),
        names=(third, 3, 30),
        birth=_birth(second, 2, 0, today),
        sex=_sex(second, 2, 7),
        nationality=second[15:18],
    )


def _verify(line: str, number: int, field: slice) -> None:
    """Refuse a wrong check digit; it stands in ``line`` right behind ``field``."""
    found = line[field.stop]
    empty = found == FILLER and not line[field].strip(FILLER)
    if not empty and found != check_digit(line[field]):
        raise Refusal("PAR-0512", line=number, position=field.stop + 1)


def _verify_composite(text: str, found: str, number: int, position: int) -> None:
    if found != check_digit(text):
        raise Refusal("PAR-0512", line=number, position=position)


def _number(line: str, number: int, start: int, optional: slice | None = None) -> str:
    """Return the document number; TD1 and TD2 continue a long one in the optional data.

    There a filler stands for the check digit, and the rest and its digit follow (parts 5 and 6).
    """
    field = slice(start, start + 9)
    if optional is not None and line[field.stop] == FILLER and line[field].strip(FILLER):
        rest = line[optional].split(FILLER)[0]
        whole = line[field] + rest[:-1]
        if not rest or rest[-1] != check_digit(whole):
            raise Refusal("PAR-0512", line=number, position=optional.start + max(len(rest), 1))
        return whole
    _verify(line, number, field)
    return line[field].strip(FILLER)


def _birth(line: str, number: int, start: int, today: date) -> str | None:
    field = slice(start, start + 6)
    _verify(line, number, field)
    year, month, day = (line[start + i : start + i + 2] for i in (0, 2, 4))
    if year == FILLER * 2:
        return None
    month, day = (part.replace(FILLER * 2, "00") for part in (month, day))
    if not (year + month + day).isdigit():
        raise Refusal("PAR-0513", line=number, position=start + 1)
    century, rest = today.year // 100, f"{year}-{month}-{day}"
    return f"{century if f'{century}{rest}' <= today.isoformat() else century - 1}{rest}"


def _sex(line: str, number: int, position: int) -> str:
    if line[position] not in _SEX:
        raise Refusal("PAR-0514", line=number, position=position + 1)
    return _SEX[line[position]]


def _person(
    *, kind: str, issuer: str, number: str, names: tuple[str, int, int],
    birth: str | None, sex: str, nationality: str,
) -> Person:  # fmt: skip
    text, line, last = names
    if not text.endswith(FILLER):
        raise Refusal("PAR-0515", line=line, position=last)
    primary, _, secondary = text.strip(FILLER).partition(FILLER * 2)
    return Person(
        surnames=primary.replace(FILLER, " "),
        given_names=secondary.replace(FILLER, " ").strip() or None,
        date_of_birth=birth,
        sex=sex,  # type: ignore[arg-type]  # a value of _SEX
        nationality=nationality.rstrip(FILLER),
        document_type=kind.rstrip(FILLER),
        document_number=number,
        document_issuer=issuer.rstrip(FILLER),
    )
