"""A precheck on a screen: Spanish first, then English."""

from __future__ import annotations

from collections.abc import Iterator

from paranal.precheck.judge import (
    FAIL,
    IN,
    NAMES,
    NOT_TESTED,
    OUT,
    PASS,
    UNKNOWN,
    Check,
    verdict,
)
from paranal.precheck.knowledge import Knowledge

WORDS = {
    PASS: "bien | good",
    FAIL: "MAL | BROKEN",
    UNKNOWN: "no se sabe | not known",
    NOT_TESTED: "no hace falta aquí, no se prueba | not needed here, not tested",
}
WAYS = {IN: "de ellos | from them", OUT: "hacia ellos | to them", "": ""}
TITLES = {"clock": "reloj | clock"}
WHOLE = {
    PASS: "LA LÍNEA SIRVE | THE LINE SERVES",
    FAIL: "LA LÍNEA NO SIRVE TODAVÍA | THE LINE DOES NOT SERVE YET",
    UNKNOWN: "NO SE PUDO PROBAR TODO | NOT ALL COULD BE TESTED",
}


def lines(checks: list[Check]) -> Iterator[str]:
    """Yield the report line by line; what does not pass says below what to do."""
    for check in checks:
        title = TITLES.get(check.name, check.name)
        yield f"{title:16} {WAYS[check.way]:24} {WORDS[check.verdict]}{_value(check)}"
        if check.finding:
            yield f"    {check.finding}"
    yield WHOLE[verdict(checks)]


def progress(seconds: float, known: Knowledge) -> str:
    """Return one line that says how far it has come."""
    carriers = "  ".join(
        f"{NAMES[each]} {'<' if known.heard & each.bit else '-'}"
        f"{'>' if known.confirmed & each.bit else '-'}"
        for each in known.carriers
    )
    return f"{seconds:3.0f} s  {carriers}  MTU {known.confirmed_octets or '-'}\n"


def _value(check: Check) -> str:
    value = check.value
    if "ahead" in value:
        return f" ({value['ahead']:+.3f} s ± {value['uncertainty']:.3f} s)"
    if value.get("octets"):
        return f" ({'' if value['exact'] else '>= '}{value['octets']})"
    return ""
