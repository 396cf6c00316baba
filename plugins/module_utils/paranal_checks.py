"""Run the checks that roles registered, all at once, and say what each one found."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .paranal_node import Run, until

Said = dict[str, str]
"""A part of a sentence in both languages, ``{"es", "en"}``; empty when there is nothing to say."""


def run_checks(checks: list[dict[str, Any]], run: Run) -> list[dict[str, Any]]:
    """Return one ``{"name", "result": "ok"|"failed", "reason", "fix"}`` per check, in order.

    ``name`` and ``reason`` are said in both languages.
    """
    with ThreadPoolExecutor(max_workers=8) as pool:
        return list(pool.map(lambda check: _run_check(check, run), checks))


def _run_check(check: dict[str, Any], run: Run) -> dict[str, Any]:
    """Try one check until it holds or its seconds are over."""
    reason = until(
        lambda: complaint(check, run),
        lambda complaint: not complaint,
        check["seconds"],
    )
    outcome = {"name": check["name"], "result": "failed" if reason else "ok"}
    return {**outcome, "reason": reason, "fix": check["fix"]}


def complaint(check: dict[str, Any], run: Run) -> Said:
    """Run the command once; return what is wrong with its answer, nothing when it is right."""
    outcome = run(check["argv"], 30)
    command = shorten(" ".join(check["argv"]))
    if outcome.status != check["exit"]:
        return {
            "es": f"{command}: código de salida {outcome.status}: {outcome.tail}",
            "en": f"{command}: exit status {outcome.status}: {outcome.tail}",
        }
    if check["expect"] and not re.search(check["expect"], outcome.out, re.MULTILINE):
        wanted = shorten(check["expect"])
        return {
            "es": f"{command}: no aparece «{wanted}» en: {outcome.tail}",
            "en": f"{command}: no '{wanted}' in: {outcome.tail}",
        }
    if check["refuse"] and re.search(check["refuse"], outcome.out, re.MULTILINE):
        return {
            "es": f"{command}: aparece «{check['refuse']}» en: {outcome.tail}",
            "en": f"{command}: '{check['refuse']}' in: {outcome.tail}",
        }
    return {}


def failures(results: list[dict[str, Any]], language: str) -> str:
    """Return, in one language, every check that failed and why; empty when none did."""
    return "; ".join(
        f"{item['name'][language]}: {item['reason'][language]}"
        for item in results
        if item["result"] == "failed"
    )


def shorten(text: str, most: int = 100) -> str:
    """Return ``text``, cut where a message would drown in it."""
    return text if len(text) <= most else f"{text[:most]}..."
