"""The bundle (expediente): every agreement since the first, each with its signatures, in one file.

It stands beside the agreement (``pacific-alliance.yml``, ``pacific-alliance.bundle.json``) and
travels by any channel: it holds public facts, and what is not signed as needed is refused whoever
brought it. See docs/adr/0015.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from paranal.agreement import signatures
from paranal.agreement.check import problems
from paranal.agreement.load import Agreement, canonical, canonical_digest
from paranal.agreement.source import Source
from paranal.messages import Refusal

SCHEMA = 1
SUFFIX = ".bundle.json"


@dataclass(frozen=True)
class Step:
    """One epoch: what was agreed, what it replaces, and who signed it."""

    document: dict[str, Any]
    previous: str | None
    """Digest of the epoch before; None for the first."""
    signatures: dict[str, str] = field(default_factory=dict)
    """Member -> armoured signature of ``content``."""

    @property
    def epoch(self) -> int:
        """The number that grows by one with each agreement."""
        epoch: int = self.document["epoch"]
        return epoch

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the canonical content, as a member's view has it."""
        return canonical_digest(self.document)

    @property
    def members(self) -> frozenset[str]:
        """Every member of this epoch."""
        return frozenset(self.document["members"])

    @property
    def content(self) -> bytes:
        """What is signed."""
        return canonical({"agreement": self.document, "previous": self.previous})

    def signers(self, allowed: Path) -> frozenset[str]:
        """Return who signed, each signature checked; raises ``Refusal`` PAR-0145, PAR-0146."""
        for member, signature in self.signatures.items():
            signatures.check(self.content, signature, member, allowed)
        return frozenset(self.signatures)


@dataclass(frozen=True)
class Bundle:
    """The steps of one agreement, in the order of their epochs without a gap."""

    steps: tuple[Step, ...] = ()

    @property
    def last(self) -> Step | None:
        """The newest epoch."""
        return self.steps[-1] if self.steps else None

    def proposed(self, agreement: Agreement, *, amend: bool = False) -> Bundle:
        """Return the bundle whose last step is ``agreement``.

        ``amend`` puts another text in the place of the last epoch's, whose signatures go. Raises
        ``Refusal`` PAR-0147 for another text of an epoch that the bundle has, PAR-0148 for an epoch
        that is not the next.
        """
        document, last = agreement.document, self.last
        if last is None:
            return Bundle((Step(document, None),))
        if last.digest == agreement.digest:
            return self
        if document["epoch"] == last.epoch and amend:
            return Bundle((*self.steps[:-1], Step(document, last.previous)))
        where, epoch = agreement.path, document["epoch"]
        if any(step.epoch == epoch for step in self.steps):
            raise Refusal("PAR-0147", where=where, epoch=epoch, wanted=last.epoch + 1)
        if epoch != last.epoch + 1:
            raise Refusal("PAR-0148", where=where, epoch=epoch, wanted=last.epoch + 1)
        return Bundle((*self.steps, Step(document, last.digest)))

    def signed(self, member: str, signature: str) -> Bundle:
        """Return the bundle with a member's signature on its last step."""
        *elder, last = self.steps
        return Bundle((*elder, replace(last, signatures={**last.signatures, member: signature})))

    def merged(self, other: Bundle) -> Bundle:
        """Return the union with a bundle that came from elsewhere: longer, or with more signatures.

        Raises ``Refusal`` PAR-0149 when both have another text of one epoch. Signatures are not
        checked here.
        """
        found: dict[int, Step] = {step.epoch: step for step in self.steps}
        for step in other.steps:
            mine = found.setdefault(step.epoch, step)
            if (mine.digest, mine.previous) != (step.digest, step.previous):
                raise Refusal("PAR-0149", epoch=step.epoch, ours=mine.digest, theirs=step.digest)
            found[step.epoch] = replace(mine, signatures={**step.signatures, **mine.signatures})
        return Bundle(tuple(found[epoch] for epoch in sorted(found)))


def beside(agreement: Path) -> Path:
    """Return where the bundle of an agreement's file stands."""
    return agreement.with_suffix(SUFFIX)


def read(path: Path) -> Bundle:
    """Read a bundle; one that is not there is empty. Raises ``Refusal`` PAR-0150 for a wrong one.

    Every document in it is checked as an agreement is, but for its lines.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Bundle()
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal("PAR-0150", where=path, reason=error) from None
    try:
        found = json.loads(text)
        if found["schema"] != SCHEMA:
            raise ValueError(f"schema {found['schema']}")
        steps = tuple(_step(each) for each in found["steps"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refusal("PAR-0150", where=path, reason=error) from None
    for step in steps:
        for problem in problems(Source(path, step.document, {})):
            raise problem
    _check_chain(path, steps)
    return Bundle(steps)


def write(path: Path, bundle: Bundle) -> None:
    """Replace the bundle's file in one step."""
    steps = [
        {"agreement": step.document, "previous": step.previous, "signatures": step.signatures}
        for step in bundle.steps
    ]
    data = {"schema": SCHEMA, "steps": steps}
    new = path.with_suffix(".new")
    new.write_text(json.dumps(data, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    new.replace(path)


def _step(data: dict[str, Any]) -> Step:
    signed = {str(member): str(text) for member, text in data["signatures"].items()}
    previous = data["previous"]
    return Step(data["agreement"], None if previous is None else str(previous), signed)


def _check_chain(path: Path, steps: Sequence[Step]) -> None:
    """Refuse a step that is not the next of the one before it; the first may be any."""
    for elder, step in pairwise(steps):
        if (step.epoch, step.previous) != (elder.epoch + 1, elder.digest):
            raise Refusal("PAR-0150", where=path, reason=f"epoch {elder.epoch} -> {step.epoch}")
