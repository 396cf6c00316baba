"""``paranal agreement check|view|digest``: is this agreement sound, and what does a member get?"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from paranal.agreement.check import problems
from paranal.agreement.derive import member_view
from paranal.agreement.load import Agreement, load
from paranal.agreement.source import read
from paranal.messages import Refusal

DEFAULT = Path("agreement/pacific-alliance.yml")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the actions and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for action, summary in (
        ("check", "name every problem of the file, with its line"),
        ("view", "print one member's half as JSON"),
        ("digest", "print the digest of the canonical content"),
    ):
        command = actions.add_parser(action, help=summary, description=summary)
        many = action == "check"
        command.add_argument(
            "file",
            nargs="*" if many else "?",
            type=Path,
            default=[DEFAULT] if many else DEFAULT,
            help=f"default {DEFAULT}",
        )
        command.add_argument("--json", action="store_true", help="print data instead of text")
        if action == "view":
            command.add_argument("--member", required=True, help="two-letter code, for example pe")


def run(args: argparse.Namespace) -> int:
    """Do one action; 0 sound, 3 refused."""
    action = {"check": _check, "view": _view, "digest": _digest}[args.action]
    return action(args)


def _check(args: argparse.Namespace) -> int:
    return max([_checked(file, as_json=args.json) for file in args.file])


def _checked(file: Path, *, as_json: bool) -> int:
    """Check one file and print what is wrong with it, or that it is sound."""
    try:
        source = read(file)
        found = list(problems(source))
    except Refusal as refusal:
        found = [refusal]
    if as_json:
        data = {"file": str(file), "problems": [problem.as_dict() for problem in found]}
        sys.stdout.write(json.dumps(data, ensure_ascii=False) + "\n")
    elif found:
        sys.stderr.writelines(f"{problem}\n" for problem in found)
    else:
        agreement = Agreement(source.path, source.data)
        sys.stdout.write(
            f"{file}: correcto | sound (epoch {agreement.document['epoch']}, "
            f"{len(agreement.members)} members, digest {agreement.digest[:16]})\n"
        )
    return 3 if found else 0


def _view(args: argparse.Namespace) -> int:
    view = member_view(load(args.file), args.member)
    sys.stdout.write(json.dumps(view, ensure_ascii=False, indent=2) + "\n")
    return 0


def _digest(args: argparse.Namespace) -> int:
    agreement = load(args.file)
    if args.json:
        data = {
            "file": str(args.file),
            "epoch": agreement.document["epoch"],
            "digest": agreement.digest,
        }
        sys.stdout.write(json.dumps(data) + "\n")
    else:
        sys.stdout.write(f"{agreement.digest}\n")
    return 0
