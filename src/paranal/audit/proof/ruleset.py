"""nft's own numeric JSON of a ruleset, read into conditions and verdicts.

Only what our rules use is understood. Whatever else is met is refused (PAR-0802), never passed
over: a proof that skips a word proves nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from paranal.audit.proof import matches
from paranal.audit.proof.matches import Unknown
from paranal.audit.proof.values import FIELDS, Condition, Values
from paranal.messages import Refusal

TABLE = ("inet", "paranal")

CONNTRACK_PRIORITY = -200
"""Chains before it see no connection (include/uapi/linux/netfilter_ipv4.h)."""

PATHS = {
    "in": ("prerouting", "input"),
    "forward": ("prerouting", "forward", "postrouting"),
    "out": ("output", "postrouting"),
}
"""The hooks that a packet passes: to this node, through it, from it."""

SEEN = {
    "prerouting": {"iif", "decrypted", "return_path"},
    "input": {"iif", "decrypted", "return_path"},
    "forward": {"iif", "oif", "decrypted", "encrypted", "return_path"},
    "output": {"oif", "encrypted"},
    "postrouting": {"oif", "encrypted"},
}
"""What of a packet's way a hook can see; elsewhere nft answers as for no packet."""

_SILENT = {"counter", "log"}
_FINAL = {"accept", "drop"}


@dataclass(frozen=True)
class Rule:
    """One rule: what it matches and what then happens."""

    chain: str
    number: int
    """Its place in the chain, from 1."""
    condition: Condition
    chance: bool
    """True when a matching packet may be passed over all the same (a rate, a missing option)."""
    verdict: str
    """``accept``, ``drop``, ``jump``, or ``""`` when the rule decides nothing."""
    target: str
    comment: str

    def __str__(self) -> str:
        """Return ``input 12 «co>pe person»``."""
        return f"{self.chain} {self.number}" + (f" «{self.comment}»" if self.comment else "")


@dataclass(frozen=True)
class Chain:
    """A chain; ``hook`` is "" for one that is only jumped to."""

    name: str
    hook: str
    priority: int
    accepts: bool
    """The policy of a base chain."""
    rules: tuple[Rule, ...]


@dataclass(frozen=True)
class Ruleset:
    """All chains by name."""

    chains: Mapping[str, Chain]

    def base(self, hook: str) -> list[Chain]:
        """Return the base chains of a hook in the order in which packets pass them."""
        found = [chain for chain in self.chains.values() if chain.hook == hook]
        return sorted(found, key=lambda chain: chain.priority)

    def conditions(self) -> Iterable[Condition]:
        """Yield the condition of every rule."""
        return (rule.condition for chain in self.chains.values() for rule in chain.rules)


def read(listing: Mapping[str, Any]) -> Ruleset:
    """Return the ruleset that ``nft --json --numeric list ruleset`` shows.

    Raises ``Refusal`` PAR-0802 for what is not understood, PAR-0805 for a foreign table, PAR-0806
    when our own is not there.
    """
    objects = [next(iter(each.items())) for each in listing["nftables"]]
    tables = {(each["family"], each["name"]) for kind, each in objects if kind == "table"}
    for family, name in sorted(tables - {TABLE}):
        raise Refusal("PAR-0805", table=f"{family} {name}")
    if TABLE not in tables:
        raise Refusal("PAR-0806", table=" ".join(TABLE))
    sets = {f"@{each['name']}": each for kind, each in objects if kind == "set"}
    rules: dict[str, list[Rule]] = {each["name"]: [] for kind, each in objects if kind == "chain"}
    counted = dict.fromkeys(rules, 0)
    for kind, each in objects:
        if kind not in ("metainfo", "table", "counter", "set", "chain", "rule"):
            raise Refusal("PAR-0802", where=kind, expression=_shown(each))
        if kind == "rule":
            chain = each["chain"]
            counted[chain] += 1
            rules[chain] += _rules(chain, counted[chain], each, sets)
    chains = {
        each["name"]: _chain(each, tuple(rules[each["name"]]))
        for kind, each in objects
        if kind == "chain"
    }
    ruleset = Ruleset(chains)
    for chain in chains.values():
        if chain.hook:
            _check_sight(ruleset, chain, chain, set())
    return ruleset


def _chain(chain: Mapping[str, Any], rules: tuple[Rule, ...]) -> Chain:
    hook = chain.get("hook", "")
    if hook and (chain["type"] != "filter" or hook not in SEEN):
        raise Refusal("PAR-0802", where=chain["name"], expression=f"{chain['type']} {hook}")
    accepts = chain.get("policy", "accept") == "accept"
    return Chain(chain["name"], hook, int(chain.get("prio", 0)), accepts, rules)


def _check_sight(ruleset: Ruleset, base: Chain, chain: Chain, passed: set[str]) -> None:
    """Refuse a rule that looks at what its hook cannot see, and a jump without an end."""
    seen = SEEN[base.hook] | (FIELDS.keys() - matches.WAY)
    if base.priority <= CONNTRACK_PRIORITY:
        seen -= {"tracked"}
    for rule in chain.rules:
        if hidden := rule.condition.keys() - seen:
            expression = f"{', '.join(sorted(hidden))} ({base.hook} {base.priority})"
            raise Refusal("PAR-0802", where=str(rule), expression=expression)
        if rule.verdict == "jump":
            if rule.target in passed | {chain.name}:
                raise Refusal("PAR-0802", where=str(rule), expression=f"jump {rule.target}")
            _check_sight(ruleset, base, ruleset.chains[rule.target], passed | {chain.name})


def _rules(
    chain: str, number: int, rule: Mapping[str, Any], sets: Mapping[str, Mapping[str, Any]]
) -> list[Rule]:
    """Return a rule; once for each element where it matches pairs of values."""
    conditions: list[dict[str, Values]] = [{}]
    verdict, target, chance = "", "", False
    comment = rule.get("comment", "")
    for statement in rule["expr"]:
        kind, content = next(iter(statement.items()))
        try:
            if verdict:
                raise Unknown(statement)
            if kind == "match":
                conditions = _each(conditions, matches.alternatives(content, sets))
            elif kind == "mangle" and all(matches.marks_home(content, each) for each in conditions):
                pass
            elif kind == "limit" or (kind == "mangle" and "tcp option" in content["key"]):
                chance = True
            elif kind == "reject":
                verdict = "drop"
                conditions = _each(conditions, [matches.reject(content)])
            elif kind == "jump":
                verdict, target = "jump", content["target"]
            elif kind in _FINAL:
                verdict = kind
            elif kind not in _SILENT:
                raise Unknown(statement)
        except Unknown as unknown:
            where = str(Rule(chain, number, {}, False, "", "", comment))
            raise Refusal("PAR-0802", where=where, expression=_shown(unknown.args[0])) from None
    return [
        Rule(chain, number, condition, chance, verdict, target, comment) for condition in conditions
    ]


def _shown(expression: object) -> str:
    return json.dumps(expression, ensure_ascii=False)[:200]


def _each(conditions: list[dict[str, Values]], more: list[Condition]) -> list[dict[str, Values]]:
    """Return every combination of what was asked so far and what is asked as well."""
    return [matches.all_of((one, other)) for one in conditions for other in more]
