"""Make the node run with what its files say: reload, enable, activate, start; or undo it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .paranal_node import Refused, Run, until
from .paranal_tree import Entry, Plan, matches
from .paranal_units import OPPOSITE, unit_actions

UNIT_FILES = ("*/systemd/system/*",)
# How long a check may wait for what its command set going, and how long a unit may take.
CHECK_SECONDS = 15
UNIT_SECONDS = 90


@dataclass
class Report:
    """What was done, or in check mode would be done."""

    plan: Plan
    diff: list[dict[str, str]]
    activated: list[str] = field(default_factory=list)
    services: list[str] = field(default_factory=list)
    validators: list[dict[str, str]] = field(default_factory=list)
    recovered: str = ""

    @property
    def changed(self) -> bool:
        """Say whether the node is different from before."""
        return bool(self.plan.paths or self.activated or self.services or self.recovered)


class Activation:
    """What a request declares about the running node, with the hands to do it."""

    def __init__(self, request: dict[str, Any], run: Run, step: Callable[[str], None]) -> None:
        """Take the request as ``paranal_tree.decode_payload`` returns it."""
        self.activate: list[dict[str, Any]] = request["activate"]
        self.services: list[dict[str, Any]] = request["services"]
        self.run = run
        self.step = step

    def due(self, affected: Iterable[str]) -> list[dict[str, Any]]:
        """Return the activations that must run when ``affected`` paths changed."""
        return [
            item
            for item in self.activate
            if item["due"] or any(matches(path, item["paths"]) for path in affected)
        ]

    def unit_actions(self) -> list[tuple[str, str]]:
        """Return (verb, unit) for each declared service that is not as it should be."""
        return unit_actions(self.services, self.run)

    def start(self, affected: list[str], report: Report) -> None:
        """Activate everything, in order, and note it in ``report``. Raises PAR-0311."""
        self._reload(affected)
        at_boot = ("enable", "disable", "mask")
        self._systemctl([each for each in self.unit_actions() if each[0] in at_boot], report)
        for item in self.due(affected):
            report.activated.append(" ".join(item["command"]))
            problem = self._activate(item)
            if problem:
                raise Refused("PAR-0311", command=problem[0], reason=problem[1])
            self.step(f"activated {report.activated[-1]}")
        self._systemctl(self.unit_actions(), report)
        for verb, name in until(self.unit_actions, lambda left: not left, CHECK_SECONDS):
            raise Refused("PAR-0311", command=f"systemctl {verb} {name}", reason="no effect")

    def undo_services(self, report: Report) -> None:
        """Take back what ``start`` did to services, last first."""
        for action in reversed(report.services):
            verb, name = action.split(" ")
            self.run(["systemctl", OPPOSITE[verb], name], UNIT_SECONDS)

    def again(
        self, affected: list[str], before: Mapping[str, Entry | None], report: Report
    ) -> list[str]:
        """Activate the old content that is back in place; return what went wrong with it."""
        problems = []
        try:
            self._reload(affected)
        except Refused as refused:
            problems.append(str(refused.params["reason"]))
        for item in self.due(affected):
            if " ".join(item["command"]) in report.activated:
                problem = self._activate(item)
                # Where nothing was before, there is nothing old that could fail to activate.
                if problem and any(before[p] for p in affected if matches(p, item["paths"])):
                    problems.append(f"{problem[0]}: {problem[1]}")
        return problems

    def _activate(self, item: dict[str, Any]) -> tuple[str, str] | None:
        """Run one activation and its check; return (command, reason) when it did not take."""
        outcome = self.run(item["command"], item["seconds"])
        if outcome.status != 0:
            return " ".join(item["command"]), outcome.tail
        if item["check"]:
            outcome = until(
                lambda: self.run(item["check"], CHECK_SECONDS),
                lambda outcome: outcome.status in (0, 127),
                min(item["seconds"], CHECK_SECONDS),
            )
            if outcome.status != 0:
                return " ".join(item["check"]), outcome.tail
        return None

    def _reload(self, affected: Iterable[str]) -> None:
        if any(matches(path, UNIT_FILES) for path in affected):
            outcome = self.run(["systemctl", "daemon-reload"], UNIT_SECONDS)
            if outcome.status != 0:
                raise Refused("PAR-0311", command="systemctl daemon-reload", reason=outcome.tail)

    def _systemctl(self, actions: list[tuple[str, str]], report: Report) -> None:
        """Run each verb once for all its units: systemd reloads itself after every ``enable``."""
        units: dict[str, list[str]] = {}
        for verb, name in actions:
            units.setdefault(verb, []).append(name)
        for verb, names in units.items():
            # Noted before it is tried: what fails for one unit may be done for another.
            report.services += [f"{verb} {name}" for name in names]
            outcome = self.run(["systemctl", verb, *names], UNIT_SECONDS)
            if outcome.status != 0:
                command = " ".join(["systemctl", verb, *names])
                raise Refused("PAR-0311", command=command, reason=outcome.tail)
            self.step(f"{verb} {' '.join(names)}")
