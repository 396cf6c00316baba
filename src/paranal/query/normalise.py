"""One written rule that makes two spellings of one identity equal (walking: whole names only).

Names, after Unicode NFC: upper case; Latin letters lose their diacritics (``Ñ`` becomes ``N``);
letters that do not decompose follow ICAO Doc 9303 part 3, section 6 (``Ø`` becomes ``OE``);
apostrophes vanish (``O'HIGGINS`` becomes ``OHIGGINS``); hyphens, full stops and runs of spaces
become one space; ``NXX`` and ``UXX``, which some states print for Ñ and Ü, become ``N`` and ``U``.
"""

from __future__ import annotations

import re
import unicodedata

APOSTROPHES = "'\u2019"
SEPARATORS = " -."
TRANSLITERATED = {
    "Æ": "AE", "Œ": "OE", "Ø": "OE", "Þ": "TH", "Ð": "D", "Đ": "D",
    "Ł": "L", "Ħ": "H", "Ŋ": "N", "ẞ": "SS", "ß": "SS", "\u0131": "I",
}  # fmt: skip
"""Upper-case letters without a canonical decomposition, and the two whose upper case misleads."""

_SEPARATED = re.compile(f"[{re.escape(SEPARATORS)}]+")
_PRINTED_FOR = re.compile("([NU])XX")


def compose(text: str) -> str:
    """Return ``text`` in Unicode NFC, the form in which everything is judged and kept."""
    return unicodedata.normalize("NFC", text)


def base_letters(character: str) -> str | None:
    """Return the Latin capitals that one composed letter stands for, or None for anything else."""
    upper = TRANSLITERATED.get(character) or TRANSLITERATED.get(character.upper())
    if upper:
        return upper
    first, *marks = list(unicodedata.normalize("NFD", character.upper()))
    latin = "A" <= first <= "Z" and all(unicodedata.combining(mark) for mark in marks)
    return first if latin else None


def name(text: str | None) -> str:
    """Return the normalised form of a name, ``""`` for a name that a person does not have."""
    letters = []
    for character in compose(text or ""):
        if character in APOSTROPHES:
            continue
        letters.append(" " if character in SEPARATORS else base_letters(character) or "")
    spaced = _SEPARATED.sub(" ", "".join(letters)).strip()
    return _PRINTED_FOR.sub(r"\1", spaced)


def document_number(text: str) -> str:
    """Return a document number in capitals without spaces, hyphens and MRZ fillers."""
    return re.sub("[ <-]", "", text).upper()


def document_kind(document_type: str) -> str:
    """Return the kind of document: ``P`` passport, ``V`` visa, ``I`` card.

    The first letter tells the kind (ICAO Doc 9303 parts 4 to 7); A, C and I are all cards, and the
    second letter is at the issuer's discretion, so that P, PN and PP of one number are the same.
    """
    first = document_type[0].upper()
    return "I" if first in "ACI" else first
