"""Run the checks that roles registered, all at once, and say what each one found."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .paranal_node import Run, until


def run_checks(checks: list[dict[str, Any]], run: Run) -> list[dict[str, str]]:
    """Return one ``{"name", "result": "ok"|"failed", "reason", "fix"}`` per check, in order."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        return list(pool.map(lambda check: _run_check(check, run), checks))


def _run_check(check: dict[str, Any], run: Run) -> dict[str, str]:
    """Try one check until it holds or its seconds are over."""
    reason = until(
        lambda: complaint(check, run),
        lambda complaint: not complaint,
        check["seconds"],
    )
    outcome = {"name": check["name"], "result": "failed" if reason else "ok"}
    return {**outcome, "reason": reason, "fix": check["fix"]}


def complaint(check: dict[str, Any], run: Run) -> str:
    """Run the command once; return what is wrong with its answer, or an empty string."""
    outcome = run(check["argv"], 30)
    command = shorten(" ".join(check["argv"]))
    if outcome.status != check["exit"]:
        return f"{command}: exit status {outcome.status}: {outcome.tail}"
    if check["expect"] and not re.search(check["expect"], outcome.out, re.MULTILINE):
        return f"{command}: no '{shorten(check['expect'])}' in: {outcome.tail}"
    if check["refuse"] and re.search(check["refuse"], outcome.out, re.MULTILINE):
        return f"{command}: '{check['refuse']}' in: {outcome.tail}"
    return ""


def shorten(text: str, most: int = 100) -> str:
    """Return ``text``, cut where a message would drown in it."""
    return text if len(text) <= most else f"{text[:most]}..."
