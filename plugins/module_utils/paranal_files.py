"""Apply one owner's tree to a node: stage, validate, swap under a journal, activate, or undo.

The journal (``generations/OWNER/journal.json``) says how far a run came, so that the next one can
undo or finish it whatever moment it was killed at:

    swap      targets are being renamed: the next run puts the snapshot back, nothing was activated
    activate  all targets are new: the next run activates what this one did not get to
    rollback  the snapshot is being put back: the next run does it again, then activates it

The snapshot holds every target as it was before. Every new file is on disk beside its target
before the first rename, so a full disk is met while nothing has changed yet.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

from .paranal_node import (
    Node,
    Refused,
    Run,
    beside,
    group_id,
    note_change,
    read_json,
    run_command,
    sync_directory,
    until,
    user_id,
    write_beside,
    write_json,
)
from .paranal_snapshot import load_snapshot, save_snapshot
from .paranal_tree import (
    Entry,
    Plan,
    Tree,
    check_target,
    diff_of,
    facts_of,
    make_plan,
    matches,
    missing_parents,
    observe,
    remove,
)
from .paranal_units import OPPOSITE, unit_actions

NO_MANIFEST: dict[str, Any] = {
    "entries": {},
    "absent": [],
    "services": [],
    "made": [],
    "pending": [],
}
# How long a check may wait for what its command set going.
CHECK_SECONDS = 15
UNIT_FILES = ("*/systemd/system/*",)


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


@dataclass(frozen=True)
class Interrupted:
    """What an earlier run left: how far it came, on which paths, and the snapshot to go back to.

    ``owed`` are the paths whose activation an even earlier run had not reached.
    """

    phase: str = ""
    paths: frozenset[str] = frozenset()
    owed: frozenset[str] = frozenset()
    made: tuple[str, ...] = ()
    snapshot: dict[str, Entry | None] = field(default_factory=dict)

    @property
    def undo(self) -> bool:
        """Say whether the snapshot must be put back before anything else."""
        return self.phase in ("swap", "rollback")

    @property
    def pending(self) -> frozenset[str]:
        """The paths whose content may differ from what the daemons run with."""
        return self.owed if self.phase == "swap" else self.paths


class Application:
    """One owner's request against one node. ``step`` is called after every effect (for tests)."""

    def __init__(
        self,
        node: Node,
        owner: str,
        request: dict[str, Any],
        *,
        run: Run = run_command,
        step: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Take the request as ``decode_payload`` returns it."""
        self.node = node
        self.owner = owner
        self.request = request
        self.desired: Tree = request["entries"]
        self.absent: list[str] = request["absent"]
        self.run = run
        self.step = step
        self.folder = node.state / "generations" / owner
        self.manifest_file = node.state / "owned" / f"{owner}.json"
        self.manifest = read_json(self.manifest_file) or dict(NO_MANIFEST)

    # --- the whole way ------------------------------------------------------------------------

    def apply(self, *, check: bool) -> Report:
        """Bring the node to the request and report; with ``check`` only say what would happen.

        Raises ``Refused``; then the node is as it was before, or the refusal says it is not.
        """
        self._refuse_targets()
        interrupted = self._read_journal()
        if not check:
            self._undo(interrupted)
        pending = {*interrupted.pending, *self.manifest["pending"]}
        current = self._current(interrupted)
        plan = make_plan(self.desired, current)
        affected = sorted({*plan.paths, *pending})
        report = Report(
            plan,
            [diff_of(path, current[path], self.desired.get(path)) for path in plan.paths],
            recovered=f"{interrupted.phase} interrupted" if interrupted.phase else "",
        )
        units = self._unit_actions()
        if affected:
            report.validators = self._validate(affected, check=check)
        if check:
            report.activated = [" ".join(item["command"]) for item in self._activations(affected)]
            report.services = [f"{verb} {name}" for verb, name in units]
        elif affected or units or self._activations([]):
            self._change(plan, pending, units, interrupted, report)
        else:
            self._record([])
        return report

    def _refuse_targets(self) -> None:
        if not self.desired:
            raise Refused("PAR-0308", owner=self.owner)
        for path in [*self.desired, *self.absent]:
            check_target(self.node, path, self.request["roots"])
        for other in sorted(self.manifest_file.parent.glob("*.json")):
            if other == self.manifest_file:
                continue
            theirs = read_json(other)["entries"]
            for path in sorted(theirs.keys() & self.desired.keys()):
                if not theirs[path]["kind"] == self.desired[path].kind == "directory":
                    raise Refused("PAR-0305", path=path, other=other.stem, owner=self.owner)

    # --- what is there ------------------------------------------------------------------------

    def _read_journal(self) -> Interrupted:
        journal = read_json(self.folder / "journal.json")
        if journal is None:
            return Interrupted()
        return Interrupted(
            journal["phase"],
            frozenset(journal["paths"]),
            frozenset(journal["owed"]),
            tuple(journal["made"]),
            load_snapshot(self.folder / journal["snapshot"]),
        )

    def _current(self, interrupted: Interrupted) -> dict[str, Entry | None]:
        """Return what stands, or in check mode will stand after the undo, at every path of ours."""
        owned = self.manifest["entries"]
        paths = {*self.desired, *self.absent}
        paths |= {p for p in owned if owned[p]["kind"] != "directory"}
        if not interrupted.undo:
            # A run that was killed after its swap may have created files no manifest lists yet.
            paths |= {p for p, entry in interrupted.snapshot.items() if entry is None}
        secret = {p for p, entry in self.desired.items() if entry.secret}
        secret |= {p for p in owned if owned[p]["secret"]}
        found = {}
        for path in paths:
            if interrupted.undo and path in interrupted.snapshot:
                entry = interrupted.snapshot[path]
            else:
                entry = observe(self.node, path)
            found[path] = replace(entry, secret=path in secret) if entry else None
        return {
            p: e
            for p, e in found.items()
            if p in self.desired or e is None or e.kind != "directory"
        }

    # --- validators ---------------------------------------------------------------------------

    def _validate(self, affected: list[str], *, check: bool) -> list[dict[str, str]]:
        results = []
        with self._staged(check=check) as root:
            for item in self.request["validate"]:
                for argv, path in _commands(item, affected, self.desired, root):
                    results.append(self._validate_one(item, argv, path, root, check=check))
        return results

    def _validate_one(
        self, item: dict[str, Any], argv: list[str], path: str, root: Path, *, check: bool
    ) -> dict[str, str]:
        command = " ".join(item["command"]).replace("{staged}", path)
        missing = [need for need in item["needs"] if not self.node.real(need).exists()]
        if check and missing:
            return {
                "command": command,
                "result": "not run",
                "reason": f"{missing[0]} is not there yet",
            }
        outcome = self.run(argv, 60)
        if check and outcome.status == 127:
            return {"command": command, "result": "not run", "reason": outcome.err}
        if outcome.status != 0:
            hidden = any(self.desired[p].secret for p in self.desired if matches(p, item["paths"]))
            reason = "output withheld, the file is secret" if hidden else outcome.tail
            raise Refused(
                "PAR-0310", path=path, command=command, reason=reason.replace(str(root), "")
            )
        return {"command": command, "result": "ok", "reason": ""}

    @contextlib.contextmanager
    def _staged(self, *, check: bool) -> Iterator[Path]:
        """Yield the root of a private copy of the whole desired tree."""
        parent = None
        if not check:
            parent = self.node.state / "staging"
            shutil.rmtree(parent, ignore_errors=True)
            parent.mkdir(mode=0o700, parents=True)
        root = Path(tempfile.mkdtemp(prefix="paranal-", dir=parent))
        try:
            for path, entry in sorted(self.desired.items()):
                _stage(root / path.lstrip("/"), entry)
            yield root
        finally:
            shutil.rmtree(root, ignore_errors=True)

    # --- the swap -----------------------------------------------------------------------------

    def _change(
        self,
        plan: Plan,
        owed: set[str],
        units: list[tuple[str, str]],
        interrupted: Interrupted,
        report: Report,
    ) -> None:
        """Swap, activate and record; on failure put everything back and refuse."""
        affected = sorted({*plan.paths, *owed})
        self.node.prepare()
        self.folder.mkdir(mode=0o700, exist_ok=True)
        missing = missing_parents(self.node, self.desired)
        try:
            journal = {
                "paths": affected,
                "owed": sorted(owed),
                "made": sorted({*missing, *interrupted.made}),
                "snapshot": self._snapshot(affected, interrupted.snapshot),
            }
            self._journal("swap", journal)
            self._swap(plan, missing)
        except OSError as error:
            self._undo(self._read_journal())
            raise Refused("PAR-0313", path=error.filename or "", reason=error.strerror) from error
        except Refused:
            self._undo(self._read_journal())
            raise
        self._journal("activate", journal)
        try:
            self._activate(affected, units, report)
        except Refused as failure:
            self._roll_back(journal, report, failure)
        self._finish(plan, journal, report)

    def _snapshot(self, affected: Iterable[str], older: dict[str, Entry | None]) -> str:
        """Keep every affected path as it was before the first unfinished run; return its name."""
        kept = {p: older[p] if p in older else observe(self.node, p) for p in affected}
        name = f"undo-{time.time_ns()}"
        save_snapshot(self.folder / name, kept)
        self.step("snapshot saved")
        return name

    def _journal(self, phase: str, journal: dict[str, Any]) -> None:
        write_json(self.folder / "journal.json", {**journal, "phase": phase})
        for old in self.folder.glob("undo-*"):
            if old.name != journal["snapshot"]:
                shutil.rmtree(old)
        self.step(f"journal: {phase}")

    def _swap(self, plan: Plan, missing: list[str]) -> None:
        for path in missing:
            self.node.real(path).mkdir(mode=0o755)
            self.step(f"made {path}")
        writes = [*plan.created, *plan.replaced]
        for path in sorted(writes):
            self._prepare(path, self.desired[path])
            self.step(f"prepared {path}")
        for path in sorted(writes):
            if self.desired[path].kind != "directory":
                beside(self.node.real(path)).replace(self.node.real(path))
                self.step(f"swapped {path}")
        for path in plan.removed:
            self.node.real(path).unlink(missing_ok=True)
            self.step(f"removed {path}")
        for folder in sorted({self.node.real(path).parent for path in plan.paths}):
            if folder.is_dir():
                sync_directory(folder)

    def _prepare(self, path: str, entry: Entry) -> None:
        """Write a file or link beside its target; a directory is made in place."""
        real = self.node.real(path)
        if entry.kind == "link":
            beside(real).unlink(missing_ok=True)
            beside(real).symlink_to(os.fsdecode(entry.content))
            return
        uid, gid = user_id(entry.owner), group_id(entry.group)
        if entry.kind == "file":
            write_beside(real, entry.content, int(entry.mode, 8), uid, gid)
            return
        real.mkdir(exist_ok=True)
        os.chown(real, uid, gid)
        real.chmod(int(entry.mode, 8))

    def _undo(self, interrupted: Interrupted) -> None:
        """Put back the snapshot of a swap or a rollback that did not end."""
        if not interrupted.undo:
            return
        self._restore(interrupted.snapshot, interrupted.made)
        if interrupted.pending:
            self._remember_pending(interrupted.pending)
        (self.folder / "journal.json").unlink()
        self.step("undone")

    def _restore(self, snapshot: dict[str, Entry | None], made: Iterable[str]) -> None:
        for path, entry in sorted(snapshot.items()):
            real = self.node.real(path)
            if real.parent.is_dir():
                beside(real).unlink(missing_ok=True)
            if entry is None:
                remove(real)
            elif facts_of(observe(self.node, path)) != entry.facts:
                self._prepare(path, entry)
                if entry.kind != "directory":
                    beside(real).replace(real)
            self.step(f"restored {path}")
        for path in sorted(made, reverse=True):
            remove(self.node.real(path))

    # --- activation ---------------------------------------------------------------------------

    def _activations(self, affected: Iterable[str]) -> list[dict[str, Any]]:
        return [
            item
            for item in self.request["activate"]
            if item["due"] or any(matches(path, item["paths"]) for path in affected)
        ]

    def _activate(self, affected: list[str], units: list[tuple[str, str]], report: Report) -> None:
        self._reload_units(affected)
        for verb, name in units:
            if verb in ("enable", "disable", "mask"):
                self._systemctl(verb, name, report)
        for item in self._activations(affected):
            report.activated.append(" ".join(item["command"]))
            problem = self._activate_one(item)
            if problem:
                raise Refused("PAR-0311", command=problem[0], reason=problem[1])
            self.step(f"activated {report.activated[-1]}")
        for verb, name in self._unit_actions():
            self._systemctl(verb, name, report)
        for verb, name in until(self._unit_actions, lambda left: not left, 10):
            raise Refused("PAR-0311", command=f"systemctl {verb} {name}", reason="no effect")

    def _activate_one(self, item: dict[str, Any]) -> tuple[str, str] | None:
        """Run one activation and its check; return (command, reason) when it did not take."""
        outcome = self.run(item["command"], item["seconds"])
        if outcome.status != 0:
            return " ".join(item["command"]), outcome.tail
        if item["check"]:
            outcome = until(
                lambda: self.run(item["check"], item["seconds"]),
                lambda outcome: outcome.status in (0, 127),
                min(item["seconds"], CHECK_SECONDS),
            )
            if outcome.status != 0:
                return " ".join(item["check"]), outcome.tail
        return None

    def _reload_units(self, affected: Iterable[str]) -> None:
        if any(matches(path, UNIT_FILES) for path in affected):
            outcome = self.run(["systemctl", "daemon-reload"], 60)
            if outcome.status != 0:
                raise Refused("PAR-0311", command="systemctl daemon-reload", reason=outcome.tail)

    def _unit_actions(self) -> list[tuple[str, str]]:
        return unit_actions(self.request["services"], self.run)

    def _systemctl(self, verb: str, name: str, report: Report) -> None:
        outcome = self.run(["systemctl", verb, name], 90)
        if outcome.status != 0:
            raise Refused("PAR-0311", command=f"systemctl {verb} {name}", reason=outcome.tail)
        report.services.append(f"{verb} {name}")
        self.step(report.services[-1])

    def _roll_back(self, journal: dict[str, Any], report: Report, failure: Refused) -> NoReturn:
        """Put the old content back, activate it again, and refuse with what ``failure`` says."""
        self._journal("rollback", journal)
        affected = journal["paths"]
        for action in report.services:
            verb, name = action.split(" ")
            if verb in OPPOSITE:
                self.run(["systemctl", OPPOSITE[verb], name], 90)
        before = load_snapshot(self.folder / journal["snapshot"])
        self._restore(before, journal["made"])
        again = []
        try:
            self._reload_units(affected)
        except Refused as refused:
            again.append(str(refused.params["reason"]))
        for item in self._activations(affected):
            if " ".join(item["command"]) in report.activated:
                problem = self._activate_one(item)
                # Where nothing was before, there is nothing old that could fail to activate.
                if problem and any(before[p] for p in affected if matches(p, item["paths"])):
                    again.append(f"{problem[0]}: {problem[1]}")
        if again:
            self._remember_pending(affected)
        (self.folder / "journal.json").unlink()
        code = "PAR-0312" if again else "PAR-0311"
        raise Refused(code, **failure.params, again="; ".join(again)) from failure

    # --- the record ---------------------------------------------------------------------------

    def _remember_pending(self, paths: Iterable[str]) -> None:
        """Record that the content of ``paths`` still has to be activated."""
        self.manifest["pending"] = sorted({*self.manifest["pending"], *paths})
        write_json(self.manifest_file, self.manifest)

    def _record(self, made: Iterable[str]) -> None:
        """Write the manifest, where it does not say so already: what is ours, whoever wrote it."""
        made = {*self.manifest["made"], *made, *self._former_directories()}
        manifest = {
            "entries": {p: {**e.facts, "secret": e.secret} for p, e in self.desired.items()},
            "absent": self.absent,
            "services": [item["name"] for item in self.request["services"]],
            "made": self._remove_empty(made),
            "pending": [],
        }
        if manifest != self.manifest:
            self.node.prepare()
            write_json(self.manifest_file, manifest)

    def _finish(self, plan: Plan, journal: dict[str, Any], report: Report) -> None:
        self._record(journal["made"])
        self.step("manifest written")
        if plan.paths:
            previous = self.folder / "previous"
            shutil.rmtree(previous, ignore_errors=True)
            (self.folder / journal["snapshot"]).rename(previous)
        else:
            shutil.rmtree(self.folder / journal["snapshot"])
        self.step("generation kept")
        changes = [f"created {p}" for p in plan.created] + [f"replaced {p}" for p in plan.replaced]
        changes += [f"removed {p}" for p in plan.removed]
        note_change(self.node, self.owner, changes + report.activated + report.services)
        (self.folder / "journal.json").unlink()
        self.step("done")

    def _former_directories(self) -> list[str]:
        entries = self.manifest["entries"]
        return [p for p in entries if entries[p]["kind"] == "directory" and p not in self.desired]

    def _remove_empty(self, made: Iterable[str]) -> list[str]:
        """Remove directories we made that hold nothing any more; return those that stay."""
        stay = []
        for path in sorted(made, reverse=True):
            needed = any(f"{p}/".startswith(f"{path}/") for p in self.desired)
            if needed or not remove(self.node.real(path)):
                stay.append(path)
        return sorted(stay)


# --- helpers without state --------------------------------------------------------------------


def _commands(
    item: dict[str, Any], affected: Iterable[str], desired: Tree, root: Path
) -> Iterator[tuple[list[str], str]]:
    """Yield (argv, the path it is about) for one validator."""
    touched = [path for path in affected if matches(path, item["paths"])]
    each = any("{staged}" in word for word in item["command"])
    about = [path for path in touched if path in desired] if each else touched[:1]
    for path in about:
        staged = str(root / path.lstrip("/"))
        argv = [
            word.replace("{staged}", staged).replace("{root}", str(root))
            for word in item["command"]
        ]
        yield argv, path


def _stage(target: Path, entry: Entry) -> None:
    """Write one entry into the staged tree; owners that do not exist yet are left out."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if entry.kind == "link":
        target.symlink_to(os.fsdecode(entry.content))
        return
    if entry.kind == "directory":
        target.mkdir(exist_ok=True)
    else:
        target.write_bytes(entry.content)
    with contextlib.suppress(Refused, PermissionError):
        os.chown(target, user_id(entry.owner), group_id(entry.group))
    target.chmod(int(entry.mode, 8))
