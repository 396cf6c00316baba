"""nft's JSON by hand: small rulesets that need no nft."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

ACCEPT, DROP = {"accept": None}, {"drop": None}
Statement = dict[str, Any]
Listing = dict[str, Any]


def match(left: Statement, right: Any, operator: str = "==") -> Statement:  # noqa: ANN401 - JSON
    return {"match": {"op": operator, "left": left, "right": right}}


def payload(protocol: str, field: str) -> Statement:
    return {"payload": {"protocol": protocol, "field": field}}


def meta(key: str) -> Statement:
    return {"meta": {"key": key}}


def table(*more: Statement) -> Listing:
    """Return a listing of our table with these objects."""
    ours = {"family": "inet", "name": "paranal", "handle": 1}
    return {"nftables": [{"metainfo": {"version": "1.0.6"}}, {"table": ours}, *more]}


def chain(
    name: str, *rules: Sequence[Statement], hook: str = "", priority: int = 0, policy: str = "drop"
) -> list[Statement]:
    """Return a chain and its rules; a base chain where it has a hook."""
    place = {"family": "inet", "table": "paranal"}
    base = {"type": "filter", "hook": hook, "prio": priority, "policy": policy} if hook else {}
    return [
        {"chain": {**place, "name": name, "handle": 1, **base}},
        *({"rule": {**place, "chain": name, "expr": list(rule)}} for rule in rules),
    ]


def base(hook: str, *rules: Sequence[Statement], policy: str = "drop") -> list[Statement]:
    """Return a base chain that is called like its hook."""
    return chain(hook, *rules, hook=hook, policy=policy)
