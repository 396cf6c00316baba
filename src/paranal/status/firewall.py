"""Our nft table as the kernel holds it, read for what it lets pass, and its drop policies."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

from paranal.firewall import policies
from paranal.firewall.confirmed import boots_confirmed
from paranal.firewall.suspended import in_kernel
from paranal.status.bounded import Unreadable, output
from paranal.status.facts import Direction, Firewall

TABLE = ("inet", "paranal")
HOOKS = {"input", "forward", "output"}


def read(member: Mapping[str, Any], directions: Iterable[Direction]) -> Firewall:
    """Ask the kernel for our table and drop policies; raises ``Unreadable`` when it cannot."""
    return replace(table(member, directions), policies=policies.stand(output))


def table(member: Mapping[str, Any], directions: Iterable[Direction]) -> Firewall:
    """Ask the kernel for our table alone; raises ``Unreadable`` when it cannot be asked."""
    try:
        shown = output(["nft", "--json", "list", "table", *TABLE])
    except Unreadable as refused:
        if "No such file or directory" in str(refused) and "nft:" in str(refused):
            return Firewall(present=False, boots=boots_confirmed())
        raise
    found = judge(json.loads(shown)["nftables"], member, directions)
    return replace(found, boots=boots_confirmed())


def judge(
    items: Iterable[Mapping[str, Any]], member: Mapping[str, Any], directions: Iterable[Direction]
) -> Firewall:
    """Return what the table lets pass, from nft's JSON.

    A direction passes by two rules: its original packets to the service's port, and the replies
    from that port. One rule alone is no open direction, and no closed one either. What stands in
    the sets of ``paranal suspend`` comes to none of them.
    """
    items = list(items)
    accepts, dropping, dormant = [], set(), False
    for item in items:
        chain, rule = item.get("chain", {}), item.get("rule", {})
        dormant = dormant or "dormant" in item.get("table", {}).get("flags", ())
        if chain.get("hook") in HOOKS and chain.get("policy") == "drop":
            dropping.add(chain["hook"])
        expressions = rule.get("expr", [])
        if any("accept" in each for each in expressions):
            accepts.append(_matches(expressions))
    shut = in_kernel(items)
    flows, partial = set(), set()
    for direction in directions:
        if _suspended(direction, shut):
            continue
        rules = [any(_covers(rule, end) for rule in accepts) for end in _ends(member, direction)]
        if all(rules):
            flows.add(direction.flow)
        elif any(rules):
            partial.add(direction.flow)
    drops = dropping == HOOKS and not dormant
    return Firewall(True, drops, frozenset(flows), frozenset(partial))


def _suspended(direction: Direction, shut: Mapping[str, set[tuple[Any, ...]]]) -> bool:
    address = ip_address(direction.peer["addresses"][direction.channel])
    flow = (address, direction.port) in shut.get(f"suspended_{direction.way}", ())
    return flow or (address,) in shut.get("suspended_channels", ())


def _ends(member: Mapping[str, Any], direction: Direction) -> tuple[dict[str, Any], ...]:
    """Return what the original and the reply rule of a direction must match."""
    ours = member["addresses"][direction.channel]
    theirs = direction.peer["addresses"][direction.channel]
    asker, answerer = (ours, theirs) if direction.way == "asks" else (theirs, ours)
    return (
        {"saddr": asker, "daddr": answerer, "dport": direction.port},
        {"saddr": answerer, "daddr": asker, "sport": direction.port},
    )


def _matches(expressions: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return header field -> the values that a rule accepts."""
    found: dict[str, list[Any]] = {}
    for expression in expressions:
        match = expression.get("match", {})
        left, right = match.get("left"), match.get("right")
        if isinstance(left, Mapping) and "payload" in left and match.get("op") in ("==", "in"):
            values = right["set"] if isinstance(right, Mapping) and "set" in right else [right]
            found[left["payload"].get("field", "")] = values
    return found


def _covers(rule: Mapping[str, list[Any]], wanted: Mapping[str, Any]) -> bool:
    return all(value in rule.get(field, ()) for field, value in wanted.items())
