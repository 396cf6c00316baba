"""``paranal agreement check|view|digest|sheet``: is it sound, and what does a member get of it?"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from paranal.agreement.check import problems
from paranal.agreement.derive import member_view
from paranal.agreement.load import Agreement, load
from paranal.agreement.sheet import pair_name, published, sheet
from paranal.agreement.sheet_page import page
from paranal.agreement.source import read
from paranal.messages import LANGUAGES, Refusal

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
    summary = "print one pair's parameters on a page, for a gateway of any make"
    command = actions.add_parser("sheet", help=summary, description=summary)
    command.add_argument("pair", metavar="PAIR", help="for example pe-co")
    command.add_argument("--agreement", type=Path, default=DEFAULT, help=f"default {DEFAULT}")
    command.add_argument("--from", dest="local", help="end to type it into (default: the first)")
    command.add_argument("--lang", choices=LANGUAGES, default="es", help="default es")
    command.add_argument("--json", action="store_true", help="print data instead of text")
    command.add_argument("-o", dest="output", type=Path, metavar="FILE", help="default: print")


def run(args: argparse.Namespace) -> int:
    """Do one action; 0 sound, 3 refused."""
    action = {"check": _check, "view": _view, "digest": _digest, "sheet": _sheet}[args.action]
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


def _sheet(args: argparse.Namespace) -> int:
    agreement = load(args.agreement)
    pair = pair_name(agreement, args.pair)
    # Members publish their CA certificates beside the agreement.
    fingerprints = published(args.agreement.parent / "ca", pair)
    found = sheet(agreement, pair, args.local or args.pair.split("-")[0], fingerprints)
    if args.json:
        text = json.dumps(found, ensure_ascii=False, indent=2) + "\n"
    else:
        text = page(found, args.lang)
    if args.output:
        args.output.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
    return 0
