"""Follow a box of packets through the chains: every packet of it, each to its one end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from paranal.audit.proof.ruleset import PATHS, Chain, Rule, Ruleset
from paranal.audit.proof.space import Box, Space, meet, without


class Outcome(NamedTuple):
    """The same end for every packet of a box."""

    box: Box
    accepted: bool
    by: tuple[str, ...]
    """What decided, one for each base chain passed: a rule, or a chain's policy."""


class Walk:
    """A ruleset over a space that tells its conditions apart."""

    def __init__(self, ruleset: Ruleset, space: Space) -> None:
        """Turn every rule's condition into a box once."""
        self.ruleset, self.space = ruleset, space
        self._rules: dict[str, list[tuple[Rule, Box]]] = {
            name: [
                (rule, box)
                for rule in chain.rules
                if rule.verdict and (box := space.box(rule.condition))
            ]
            for name, chain in ruleset.chains.items()
        }

    def path(self, path: str, box: Box) -> Iterator[Outcome]:
        """Yield the ends of all packets of a box on ``in``, ``forward`` or ``out``.

        Where chance decides (a rate), the packets have both ends.
        """
        chains = [chain for hook in PATHS[path] for chain in self.ruleset.base(hook)]
        yield from self._through(chains, box, ())

    def _through(self, chains: list[Chain], box: Box, by: tuple[str, ...]) -> Iterator[Outcome]:
        if not chains:
            yield Outcome(box, True, by)
            return
        for outcome in self.chain(chains[0], box):
            if outcome.accepted:
                yield from self._through(chains[1:], outcome.box, by + outcome.by)
            else:
                yield Outcome(outcome.box, False, by + outcome.by)

    def chain(self, chain: Chain, box: Box) -> Iterator[Outcome]:
        """Yield the ends of all packets of a box in one base chain."""
        for part, rule in self._rules_of(chain.name, box):
            if rule:
                yield Outcome(part, rule.verdict == "accept", (str(rule),))
            else:
                yield Outcome(part, chain.accepts, (f"{chain.name} policy",))

    def _rules_of(self, name: str, box: Box) -> Iterator[tuple[Box, Rule | None]]:
        """Yield each part of the box with the rule that ended it; None where none did."""
        pending = [box]
        for rule, matched in self._rules[name]:
            left: list[Box] = []
            for part in pending:
                hit = meet(part, matched)
                if hit is None:
                    left.append(part)
                    continue
                left.extend([part] if rule.chance else without(part, matched))
                if rule.verdict != "jump":
                    yield hit, rule
                    continue
                for inner, decided in self._rules_of(rule.target, hit):
                    if decided:
                        yield inner, decided
                    else:
                        left.append(inner)
            pending = left
        for part in pending:
            yield part, None
