"""The work of ``paranal agreement diff|sign|verify|merge``: what a ministry does with a proposal.

Whoever proposes has no power: a proposal is a text and its bundle, and every member reads in its
own words what changes (``diff``) before it signs.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from paranal.agreement import bundle as bundles
from paranal.agreement import signatures
from paranal.agreement.accept import Verdict, judged, needs
from paranal.agreement.bundle import Bundle, Step
from paranal.agreement.changes import Change
from paranal.agreement.load import Agreement, load
from paranal.messages import Refusal

SIGNS = {"es": "firma", "en": "signed by"}
OR = {"es": " o ", "en": " or "}
ALL = {"es": "todos", "en": "all"}


def diff(args: argparse.Namespace) -> int:
    """Print what the agreement changes of the bundle's last other text, or of ``--old``."""
    agreement = load(args.agreement)
    elder = _elder(bundles.read(bundles.beside(args.agreement)), agreement, args)
    step = Step(agreement.document, elder.digest if elder else None)
    found = needs(elder, step)
    if args.json:
        data = {
            "from": elder and {"epoch": elder.epoch, "digest": elder.digest},
            "to": {"epoch": step.epoch, "digest": step.digest},
            "changes": [one.as_dict() for one in found],
        }
        _print(data)
    else:
        sys.stdout.writelines(_lines(found, step, args.lang))
    return 0


def sign(args: argparse.Namespace) -> int:
    """Say what changes, then add this member's signature to the bundle."""
    agreement = load(args.agreement)
    path = bundles.beside(args.agreement)
    bundle = bundles.read(path).proposed(agreement, amend=args.amend)
    *elder, last = bundle.steps
    may = last.members | (elder[-1].members if elder else frozenset())
    if args.member not in may:
        known = ", ".join(sorted(may))
        raise Refusal("PAR-0156", where=args.agreement, member=args.member, members=known)
    sys.stderr.writelines(_lines(needs(elder[-1] if elder else None, last), last, args.lang))
    bundles.write(path, bundle.signed(args.member, signatures.sign(last.content, args.key)))
    sys.stdout.write(f"{path}\n")
    return 0


def verify(args: argparse.Namespace) -> int:
    """Print every step of the bundle, who signed it, and what still lacks a signature."""
    agreement = load(args.agreement)
    path = bundles.beside(args.agreement)
    verdicts = judged(bundles.read(path), args.allowed_signers)
    if agreement.digest not in {one.step.digest for one in verdicts}:
        digest = agreement.digest[:16]
        raise Refusal("PAR-0151", where=args.agreement, bundle=path, digest=digest)
    if args.json:
        _print({"steps": [_verdict(one) for one in verdicts]})
    else:
        for one in verdicts:
            sys.stdout.writelines(_told(one, args.lang))
    return 3 if any(one.missing for one in verdicts) else 0


def merge(args: argparse.Namespace) -> int:
    """Take other members' bundles into ours, each signature checked; say what is new."""
    path = bundles.beside(args.agreement)
    ours = merged = bundles.read(path)
    for file in args.bundle:
        other = bundles.read(file)
        if not other.steps:
            raise Refusal("PAR-0150", where=file, reason="no steps")
        judged(other, args.allowed_signers)
        merged = merged.merged(other)
    if merged != ours:
        bundles.write(path, merged)
    before = {(step.epoch, member) for step in ours.steps for member in step.signatures}
    new = [
        {"epoch": step.epoch, "member": member}
        for step in merged.steps
        for member in step.signatures
        if (step.epoch, member) not in before
    ]
    _print({"changed": merged != ours, "signatures": new})
    return 0


def _elder(bundle: Bundle, agreement: Agreement, args: argparse.Namespace) -> Step | None:
    if args.old:
        return Step(load(args.old).document, None)
    others = [step for step in bundle.steps if step.epoch < agreement.document["epoch"]]
    return others[-1] if others else None


def _lines(found: Sequence[Change], step: Step, language: str) -> list[str]:
    """Return each change in words, and below it who must sign."""
    return [
        f"- {one.text(language)}\n  {SIGNS[language]}: {_who(one, step, language)}\n"
        for one in found
    ]


def _who(change: Change, step: Step, language: str) -> str:
    alternatives = (
        ALL[language] if each == step.members else ", ".join(sorted(each))
        for each in change.signers
    )
    return OR[language].join(alternatives)


def _verdict(one: Verdict) -> dict[str, Any]:
    return {
        "epoch": one.step.epoch,
        "digest": one.step.digest,
        "signers": sorted(one.signers),
        "missing": [change.as_dict() for change in one.missing],
    }


def _told(one: Verdict, language: str) -> list[str]:
    signers = ", ".join(sorted(one.signers)) or "—"
    head = f"{one.step.epoch} {one.step.digest[:16]} {SIGNS[language]}: {signers}"
    wanting = _lines(one.missing, one.step, language)
    lacking = {"es": "faltan firmas", "en": "signatures missing"}[language]
    return [f"{head} ({lacking})\n" if wanting else f"{head}\n", *wanting]


def _print(data: Any) -> None:  # noqa: ANN401 - any JSON value
    sys.stdout.write(json.dumps(data, ensure_ascii=False) + "\n")
