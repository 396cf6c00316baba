"""``paranal agreement``: is it sound, what changes, who must sign, and what does a member get?"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from paranal.agreement import ceremony, joining, lab
from paranal.agreement.check import problems
from paranal.agreement.derive import member_view, parity
from paranal.agreement.load import Agreement, load
from paranal.agreement.sheet import pair_name, published, sheet
from paranal.agreement.sheet_page import page
from paranal.agreement.source import read
from paranal.messages import LANGUAGES, Refusal

DEFAULT = Path("agreement/pacific-alliance.yml")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the actions and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for action, (work, summary, options) in ACTIONS.items():
        command = actions.add_parser(action, help=summary, description=summary)
        command.set_defaults(work=work)
        for option in options:
            option(command)
        command.add_argument("--json", action="store_true", help="print data instead of text")


def run(args: argparse.Namespace) -> int:
    """Do one action; 0 sound or done, 3 refused or not signed as needed."""
    status: int = args.work(args)
    return status


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
    """Print the whole agreement's digest, or what both ends of a pair must agree on."""
    agreement = load(args.agreement)
    if args.pair:
        first, second = pair_name(agreement, "-".join(args.pair).lower()).split("-")
        digest = parity(agreement, first, second)
    else:
        digest = agreement.digest
    if args.json:
        data = {"epoch": agreement.document["epoch"], "digest": digest}
        sys.stdout.write(json.dumps({"file": str(args.agreement), **data}) + "\n")
    else:
        sys.stdout.write(f"{digest}\n")
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


def _found(args: argparse.Namespace) -> int:
    sys.stdout.write(json.dumps({"changed": lab.ensure(args.lab)}) + "\n")
    return 0


def _option(*flags: str, **settings: Any) -> Callable[[argparse.ArgumentParser], object]:  # noqa: ANN401 - argparse's own
    return lambda parser: parser.add_argument(*flags, **settings)


AGREEMENT = _option("--agreement", type=Path, default=DEFAULT, help=f"default {DEFAULT}")
LANGUAGE = _option("--lang", choices=LANGUAGES, default="es", help="default es")
ALLOWED = _option(
    "--allowed-signers",
    type=Path,
    required=True,
    help="the pinned keys of every member (paranal_allowed_signers_file)",
)
MEMBER = _option("--member", required=True, help="two-letter code, for example pe")

Action = tuple[
    Callable[[argparse.Namespace], int],
    str,
    Sequence[Callable[[argparse.ArgumentParser], object]],
]
ACTIONS: dict[str, Action] = {
    "check": (
        _check,
        "name every problem of the file, with its line",
        (_option("file", nargs="*", type=Path, default=[DEFAULT], help=f"default {DEFAULT}"),),
    ),
    "view": (
        _view,
        "print one member's half as JSON",
        (_option("file", nargs="?", type=Path, default=DEFAULT, help=f"default {DEFAULT}"), MEMBER),
    ),
    "digest": (
        _digest,
        "print the digest of the canonical content, or of what both ends of a pair must agree on",
        (_option("pair", nargs="*", metavar="MEMBER", help="two members: PE CO"), AGREEMENT),
    ),
    "sheet": (
        _sheet,
        "print one pair's parameters on a page, for a gateway of any make",
        (
            _option("pair", metavar="PAIR", help="for example pe-co"),
            AGREEMENT,
            _option("--from", dest="local", help="end to type it into (default: the first)"),
            LANGUAGE,
            _option("-o", dest="output", type=Path, metavar="FILE", help="default: print"),
        ),
    ),
    "diff": (
        ceremony.diff,
        "say in words what a proposal changes, for each pair and direction, and who must sign it",
        (
            AGREEMENT,
            _option("--old", type=Path, metavar="FILE", help="default: the bundle's epoch before"),
            LANGUAGE,
        ),
    ),
    "sign": (
        ceremony.sign,
        "say what changes, and put this member's signature into the bundle beside the file",
        (
            AGREEMENT,
            MEMBER,
            _option("--key", type=Path, required=True, help="SSH key, or its public half"),
            _option("--amend", action="store_true", help="replace the last epoch's text"),
            LANGUAGE,
        ),
    ),
    "verify": (
        ceremony.verify,
        "say of every epoch in the bundle who signed it, and what lacks a signature",
        (AGREEMENT, ALLOWED, LANGUAGE),
    ),
    "merge": (
        ceremony.merge,
        "take other members' bundles into ours, each signature checked",
        (
            AGREEMENT,
            ALLOWED,
            _option("bundle", nargs="+", type=Path, metavar="BUNDLE", help="file as received"),
        ),
    ),
    "add-member": (
        joining.add,
        "propose the member of a card, with nothing open, as the next epoch of the file",
        (
            _option("card", type=Path, metavar="CARD", help="what the state handed over"),
            AGREEMENT,
            _option(
                "--crypto-profile",
                choices=("classic", "ppk", "hybrid"),
                default="classic",
                help="of its pair with each member (default classic)",
            ),
        ),
    ),
    "remove-member": (
        joining.remove,
        "propose that a member leaves, as the next epoch of the file",
        (_option("code", metavar="CODE", help="two-letter code, for example pe"), AGREEMENT),
    ),
    "found": (
        _found,
        "name every root in a lab's agreement and sign it for every member",
        (_option("lab", type=Path, help="the lab's directory, .lab/NAME"),),
    ),
}
"""Action -> (work, one-line help, options)."""
