"""Is this agreement signed as needed? What a node runs is decided here, before it is touched.

A bundle is trusted from an epoch that all its members signed; from there each epoch must be signed
by whom its changes bind (``paranal.agreement.changes``). Nothing else is believed, not even what
the node runs (docs/adr/0015).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from paranal.agreement import bundle as bundles
from paranal.agreement.bundle import Bundle, Step
from paranal.agreement.changes import Change, changes, unsigned
from paranal.agreement.load import Agreement
from paranal.messages import Refusal


@dataclass(frozen=True)
class Verdict:
    """One step, who signed it, and the changes that still lack a signature."""

    step: Step
    signers: frozenset[str]
    missing: tuple[Change, ...]
    whole: bool
    """True when every member signed: such a step needs no elder."""


def accepted(agreement: Agreement, allowed: Path) -> list[dict[str, object]]:
    """Return the trusted epochs up to this agreement's, oldest first: ``{"epoch", "digest"}``.

    The bundle is the one beside the agreement's file. Raises ``Refusal``: PAR-0145, PAR-0146,
    PAR-0150 (bundle or signature), PAR-0151 (not in the bundle), PAR-0152 (a change without its
    signatures), PAR-0153 (a member without a root).
    """
    path = bundles.beside(agreement.path)
    for code, member in agreement.members.items():
        if not member.get("roots"):
            raise Refusal("PAR-0153", where=agreement.path, member=code)
    steps = _until(bundles.read(path), agreement, path)
    trusted = _trusted(steps, allowed, path)
    return [{"epoch": step.epoch, "digest": step.digest} for step in trusted]


def judged(bundle: Bundle, allowed: Path) -> list[Verdict]:
    """Return the verdict on every step, oldest first; raises ``Refusal`` PAR-0145, PAR-0146."""
    found: list[Verdict] = []
    for elder, step in zip((None, *bundle.steps), bundle.steps, strict=False):
        signers = step.signers(allowed)
        whole = signers >= step.members
        found.append(Verdict(step, signers, _missing(elder, step, signers), whole))
    return found


def needs(elder: Step | None, step: Step) -> list[Change]:
    """Return what this step changes; the first one is everybody's, as one change."""
    if elder is None:
        return [Change("agreement", "first", None, step.epoch, (step.members,))]
    found = list(changes(elder.document, step.document))
    # Nothing but a new number: any member may say so, but somebody must.
    one = tuple(frozenset({member}) for member in sorted(step.members))
    return found or [Change("epoch", "renumbered", elder.epoch, step.epoch, one)]


def _missing(elder: Step | None, step: Step, signers: frozenset[str]) -> tuple[Change, ...]:
    return () if signers >= step.members else tuple(unsigned(needs(elder, step), signers))


def _until(bundle: Bundle, agreement: Agreement, path: Path) -> list[Step]:
    for index, step in enumerate(bundle.steps):
        if step.digest == agreement.digest:
            return list(bundle.steps[: index + 1])
    raise Refusal("PAR-0151", where=agreement.path, bundle=path, digest=agreement.digest[:16])


def _trusted(steps: Sequence[Step], allowed: Path, path: Path) -> list[Step]:
    """Walk back to an epoch that all signed, and require of each later one what it changes."""
    found: list[Step] = []
    for index in reversed(range(len(steps))):
        step = steps[index]
        signers = step.signers(allowed)
        found.insert(0, step)
        if signers >= step.members:
            break
        elder = steps[index - 1] if index else None
        for change in _missing(elder, step, signers):
            raise _refused(path, step, change, signers)
    return found


def _refused(path: Path, step: Step, change: Change, signers: frozenset[str]) -> Refusal:
    wanted = " | ".join(", ".join(sorted(each - signers)) for each in change.signers)
    return Refusal(
        "PAR-0152", where=path, epoch=step.epoch, es=change.text("es"), en=change.text("en"),
        wanted=wanted,
    )  # fmt: skip
