"""What a person types after a word of the lab, read or refused."""

from __future__ import annotations

import re
from collections.abc import Callable

from paranal.messages import Refusal

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def codes(text: str) -> tuple[str, ...]:
    """Return the members of a list with commas."""
    return tuple(code.strip() for code in text.split(",") if code.strip())


def duration(text: str) -> float:
    """Return seconds. Raises ``Refusal`` PAR-0218 for all but ``40ms``, ``2h`` and their like."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise Refusal("PAR-0218", reason=f"«{text}»: 40ms, 10s, 5m, 2h, 1d")
    return float(match[1]) * _SECONDS[match[2]]


def percent(text: str) -> float:
    """Return a fraction. Raises ``Refusal`` PAR-0218 unless it is ``0%`` to ``100%``."""
    try:
        value = float(text.removesuffix("%")) / 100
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise Refusal("PAR-0218", reason=f"«{text}»: 0% ... 100%")
    return value


def whole(least: int, most: int) -> Callable[[str], int]:
    """Return a reader of whole numbers, which raises ``Refusal`` PAR-0218 outside the bounds."""

    def read(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise Refusal("PAR-0218", reason=f"«{text}»: {least} ... {most}")
        return int(text)

    return read
