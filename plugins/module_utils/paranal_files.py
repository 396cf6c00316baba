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

import os
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from .paranal_activate import Activation, Report
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
    missing_parents,
    observe,
    remove,
)
from .paranal_validate import staged, validate

NO_MANIFEST: dict[str, Any] = {
    "entries": {},
    "absent": [],
    "services": [],
    "made": [],
    "pending": [],
}


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
        self.activation = Activation(request, run, step)

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
        units = self.activation.unit_actions()
        due = self.activation.due(affected)
        if affected:
            report.validators = self._validate(affected, check=check)
        if check:
            report.activated = [" ".join(item["command"]) for item in due]
            report.services = [f"{verb} {name}" for verb, name in units]
        elif affected or units or due:
            self._change(plan, pending, interrupted, report)
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

    def _validate(self, affected: list[str], *, check: bool) -> list[dict[str, str]]:
        """Stage the tree, privately, and run the validators on it."""
        staging = None if check else self.node.state / "staging"
        try:
            with staged(self.desired, staging) as root:
                return validate(self.request, affected, self.node, root, self.run, check=check)
        except OSError as error:
            raise Refused("PAR-0313", path=error.filename or "", reason=error.strerror) from error

    # --- the swap -----------------------------------------------------------------------------

    def _change(
        self,
        plan: Plan,
        owed: set[str],
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
                "made": sorted({*missing, *self._new_directories(plan), *interrupted.made}),
                "snapshot": self._snapshot(affected, interrupted.snapshot),
            }
            self._journal("swap", journal)
            self._swap(plan, missing)
            self._journal("activate", journal)
        except OSError as error:
            left = self._read_journal()
            if left.phase == "activate":
                raise
            self._undo(left)
            raise Refused("PAR-0313", path=error.filename or "", reason=error.strerror) from error
        except Refused:
            self._undo(self._read_journal())
            raise
        try:
            self.activation.start(affected, report)
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
        writes = [*plan.created, *plan.replaced]
        # Outer paths first: a parent that nobody declared may stand in a directory that is.
        for path in sorted([*missing, *writes]):
            if path in self.desired:
                self._prepare(path, self.desired[path])
                self.step(f"prepared {path}")
            else:
                self.node.real(path).mkdir(mode=0o755)
                self.step(f"made {path}")
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
        for path in snapshot:
            real = self.node.real(path)
            if real.parent.is_dir():
                beside(real).unlink(missing_ok=True)
        before = {path: entry for path, entry in snapshot.items() if entry is not None}
        # Inner paths first: a directory goes only when nothing is left in it.
        for path in sorted({*snapshot, *made} - before.keys(), reverse=True):
            remove(self.node.real(path))
            self.step(f"removed {path}")
        for path, entry in sorted(before.items()):
            if facts_of(observe(self.node, path)) != entry.facts:
                self._prepare(path, entry)
                if entry.kind != "directory":
                    beside(self.node.real(path)).replace(self.node.real(path))
            self.step(f"restored {path}")

    def _roll_back(self, journal: dict[str, Any], report: Report, failure: Refused) -> NoReturn:
        """Put the old content back, activate it again, and refuse with what ``failure`` says."""
        self._journal("rollback", journal)
        affected = journal["paths"]
        self.activation.undo_services(report)
        before = load_snapshot(self.folder / journal["snapshot"])
        self._restore(before, journal["made"])
        again = self.activation.again(affected, before, report)
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
        made = {*self.manifest["made"], *made}
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

    def _new_directories(self, plan: Plan) -> list[str]:
        """Return the declared directories that this run makes: one that was there is not ours."""
        return [path for path in plan.created if self.desired[path].kind == "directory"]

    def _remove_empty(self, made: Iterable[str]) -> list[str]:
        """Remove directories we made that hold nothing any more; return those that stay."""
        stay = []
        for path in sorted(made, reverse=True):
            needed = any(f"{p}/".startswith(f"{path}/") for p in self.desired)
            if needed or not remove(self.node.real(path)):
                stay.append(path)
        return sorted(stay)
