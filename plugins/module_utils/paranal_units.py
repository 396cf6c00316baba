"""systemd units: what they are, and which verbs make them what a role declares.

A declared service is ``{"name", "active": [states], "active_verb", "enabled": [states],
"enabled_verb"}``; the action plugin of ``node_files`` makes it from ``state`` and ``enabled``, so
that controller and node judge by the same lists.
"""

from __future__ import annotations

from typing import Any

from .paranal_node import Run

OPPOSITE = {
    "enable": "disable",
    "disable": "enable",
    "mask": "unmask",
    "start": "stop",
    "stop": "start",
}


def unit_actions(wanted: list[dict[str, Any]], run: Run) -> list[tuple[str, str]]:
    """Return (verb, unit) for each declared service that is not as it should be."""
    facts = unit_facts([item["name"] for item in wanted], run)
    actions = []
    for item in wanted:
        fact = facts[item["name"]]
        if item["enabled"] and fact["enabled"] not in item["enabled"]:
            actions.append((item["enabled_verb"], item["name"]))
        if fact["active"] not in item["active"]:
            actions.append((item["active_verb"], item["name"]))
    return actions


def unit_facts(names: list[str], run: Run) -> dict[str, dict[str, str]]:
    """Return ``{unit: {"active", "enabled"}}``; a unit systemd does not know is ``not-found``."""
    unknown = {"active": "inactive", "enabled": "not-found"}
    if not names:
        return {}
    query = ["systemctl", "show", "--property=LoadState,ActiveState,UnitFileState", "--", *names]
    blocks = run(query, 60).out.strip().split("\n\n")
    facts = [dict(line.split("=", 1) for line in block.splitlines()) for block in blocks if block]
    found = [
        unknown
        if fact.get("LoadState") == "not-found"
        else {"active": fact["ActiveState"], "enabled": fact.get("UnitFileState", "")}
        for fact in facts
    ]
    return dict(zip(names, found, strict=True)) if found else dict.fromkeys(names, unknown)
