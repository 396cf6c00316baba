"""Our one nft table on a node: read it, compare it, replace it, and go back on our own.

What is declared is loaded into a network namespace of its own and listed from there, so that both
sides of a comparison come from the same kernel and the same nft, in one form.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .paranal_node import Node, Refused, Run, read_json, write_atomic, write_json

TABLE = ("inet", "paranal")
FILE = "/etc/paranal/firewall.nft"
ROLLBACK_UNIT = "paranal-firewall-rollback"
LIST = ["nft", "--json", "list", "table", *TABLE]
# One namespace for two commands: load, then list what the kernel made of it.
SCRATCH = 'nft --file "$1" && exec nft --json list table inet paranal'
VOLATILE = ("handle", "packets", "bytes", "index")


@dataclass(frozen=True)
class Ruleset:
    """The table in canonical form: one line of JSON for each object, in their order."""

    lines: tuple[str, ...]

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over the lines."""
        return hashlib.sha256("\n".join(self.lines).encode()).hexdigest()


def canonical(listing: str) -> Ruleset:
    """Return nft's JSON listing without what changes by itself.

    Handles, counted packets and the elements of dynamic or timed sets are the kernel's own; every
    other word is ours.
    """
    objects = [item for item in json.loads(listing)["nftables"] if "metainfo" not in item]
    return Ruleset(tuple(json.dumps(_still(item), sort_keys=True) for item in objects))


def _still(value: Any) -> Any:  # noqa: ANN401 - nft's JSON has any depth
    if isinstance(value, list):
        return [_still(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    kept = {key: _still(item) for key, item in value.items() if key not in VOLATILE}
    if {"dynamic", "timeout"}.intersection(value.get("flags") or ()):
        kept.pop("elem", None)
    elif isinstance(kept.get("elem"), list):
        kept["elem"] = sorted(kept["elem"], key=lambda item: json.dumps(item, sort_keys=True))
    return kept


class Firewall:
    """The table of one node. ``run`` runs a command; every refusal is a ``Refused`` of PAR-07xx.

    ``scratch`` is a private directory for the rules on trial; only reading needs none.
    """

    def __init__(self, node: Node, run: Run, scratch: Path = Path("/nonexistent")) -> None:
        """Remember where the files are and how to run nft."""
        self.file = node.real(FILE)
        self.candidate = scratch / "candidate.nft"
        self.record = node.state / "firewall.json"
        self.way_back = node.state / "firewall-rollback.nft"
        self._run = run

    def absent(self) -> bool:
        """Say whether the node has no nft yet; only then can nothing be compared."""
        return self._run(LIST, 30).status == 127

    def text(self) -> str:
        """Return the file of the next boot, empty when there is none; whatever a hand wrote."""
        if not self.file.exists():
            return ""
        return self.file.read_text(encoding="utf-8", errors="replace")

    def live(self) -> Ruleset | None:
        """Return the running table, or None when there is none."""
        listing = self._run(LIST, 30)
        return canonical(listing.out) if listing.status == 0 else None

    def declared(self, text: str) -> Ruleset:
        """Check ``text`` as nft would load it and return what the kernel makes of it.

        Raises PAR-0711 with nft's words when it would not load.
        """
        write_atomic(self.candidate, text.encode())
        for argv in (
            ["nft", "--check", "--file", str(self.candidate)],
            ["unshare", "--net", "sh", "-c", SCRATCH, "sh", str(self.candidate)],
        ):
            outcome = self._run(argv, 30)
            if outcome.status != 0:
                raise Refused("PAR-0711", where=FILE, reason=outcome.tail)
        return canonical(outcome.out)

    def load(self, seconds: int) -> None:
        """Load the candidate in one transaction, to be undone by itself after ``seconds``.

        The timer is armed before anything changes. The way back is the rules that were confirmed
        last, not the file of the next boot: a hand may have broken that one. Raises PAR-0712; the
        old rules then stand.
        """
        undo = ["nft", "delete", "table", *TABLE]
        self.keep_rollback_away()
        if rules := self.confirmed():
            write_atomic(self.way_back, rules.encode())
            undo = ["nft", "--file", str(self.way_back)]
        elif self.file.exists():
            undo = ["nft", "--file", str(self.file)]
        armed = self._run(
            [
                "systemd-run",
                f"--unit={ROLLBACK_UNIT}",
                f"--on-active={seconds}",
                "--timer-property=AccuracySec=100ms",
                "--collect",
                *undo,
            ],
            30,
        )
        if armed.status != 0:
            raise Refused("PAR-0712", reason=armed.tail)
        loaded = self._run(["nft", "--file", str(self.candidate)], 30)
        if loaded.status != 0:
            self.keep_rollback_away()
            raise Refused("PAR-0711", where=FILE, reason=loaded.tail)

    def confirm(self, text: str) -> None:
        """Make the loaded rules the ones of the next boot, and disarm the timer.

        Raises PAR-0713 when the rules are no longer the loaded ones: the timer was faster.
        """
        declared = self.declared(text)
        self._refuse_others(declared)
        self.file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        write_atomic(self.file, text.encode(), 0o600)
        self.keep_rollback_away()
        # The timer may have run out since the first look; now it cannot any more.
        self._refuse_others(declared)
        self.remember(text, declared)

    def _refuse_others(self, declared: Ruleset) -> None:
        if self.live() != declared:
            raise Refused("PAR-0713", where=FILE)

    def remember(self, text: str, live: Ruleset) -> None:
        """Record which text made which running table: for the probe, and for every way back.

        ``paranal.firewall`` on the node reads it too.
        """
        write_json(self.record, {"rules": text, "text": digest(text), "live": live.digest})

    def confirmed(self) -> str:
        """Return the rules that were confirmed last; empty before the first apply."""
        record = self.recorded()
        rules = str(record.get("rules", ""))
        return rules if digest(rules) == record.get("text") else ""

    def recorded(self) -> dict[str, str]:
        """Return the record; empty before the first apply, or when it is none any more."""
        try:
            return dict(read_json(self.record) or {})
        except (ValueError, TypeError):
            return {}

    def keep_rollback_away(self) -> None:
        """Stop the timer of this or of an earlier, interrupted run, and what it may have begun."""
        units = [f"{ROLLBACK_UNIT}.{kind}" for kind in ("timer", "service")]
        self._run(["systemctl", "stop", *units], 30)


def digest(text: str) -> str:
    """Return SHA-256 (hex) of a rule file's text."""
    return hashlib.sha256(text.encode()).hexdigest()


def probe_firewall(node: Node, run: Run) -> dict[str, Any]:
    """Return ``{"text": digest of the file that surely runs, or ""}``.

    Sure is: the file is the recorded one and the running table is what it made when it was loaded.
    """
    firewall = Firewall(node, run)
    live, text = firewall.live(), firewall.text()
    record = {"rules": text, "text": digest(text), "live": live.digest if live else ""}
    sure = live is not None and firewall.recorded() == record
    return {"text": digest(text) if sure else ""}
