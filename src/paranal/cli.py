"""The ``paranal`` command: one word per part of the house, loaded only when it is called."""

from __future__ import annotations

import argparse
import json
import os
import sys
from importlib import import_module
from typing import Any

from paranal import __version__
from paranal.messages import Refusal

COMMANDS = {
    "agreement": ("paranal.agreement.cli", "check and show the agreement and one member's view"),
    "query": ("paranal.query.ask", "ask other countries about one person (from a post)"),
    "source": ("paranal.query.source_cli", "import records into this country's own source"),
    "status": (
        "paranal.status.cli",
        "state of each pair and direction, and whose side a fault is on",
    ),
    "line-check": ("paranal.status.line_check", "prove the line of the pairs with nothing open"),
    "precheck": ("paranal.precheck.cli", "try the line to a peer before any key exists"),
    "tunnels": ("paranal.tunnels.cli", "what this gateway's charon holds; ask for what is missing"),
    "audit": ("paranal.audit.cli", "prove what no packet can do to a node's rules and tunnels"),
    "suspend": ("paranal.suspension.cli", "close a direction or a peer here, at once and alone"),
    "control": (
        "paranal.control.cli",
        "compare agreements with peers, take and send on lists, announce maintenance",
    ),
    "firewall": ("paranal.firewall.cli", "load this gateway's rules again when they are gone"),
    "pki": ("paranal.pki.cli", "this country's certificate authority"),
    "ppk": ("paranal.ppk.cli", "this country's postquantum preshared keys"),
    "member": ("paranal.member.cli", "make a country's own half, and the card it joins with"),
    "package": ("paranal.package", "build paranal.deb, what a node and a post install"),
    "lab": ("paranal.lab.cli", "bring up, break and tear down four countries in containers"),
    "bench": ("paranal.lab.bench", "measure the lab, each figure beside its mark"),
    "demo": ("paranal.lab.demo", "bring up the mesh and ask four questions"),
}
"""Word -> (module with ``configure(parser)`` and ``run(args) -> int``, one-line help)."""

EXIT_REFUSED = 3


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status.

    0 done, 2 wrong usage, 3 refused or failed, 130 interrupted, 141 nobody reads any more (as in
    ``paranal ... | head``); a command may add its own.
    """
    argv = sys.argv[1:] if argv is None else argv
    args = argparse.Namespace()
    try:
        args = _parser(argv).parse_args(argv)
        status: int = _module(args.command).run(args)
        sys.stdout.flush()
    except Refusal as refusal:
        return _refused(args, refusal)
    except KeyboardInterrupt:
        sys.stderr.write("paranal: interrumpido | interrupted\n")
        return 130
    except BrokenPipeError:
        _end_output()
        return 141
    except OSError as error:
        # A full or read-only disk can stop any word at any file, also at the one it prints to.
        where = error.filename or args.command
        status = _refused(args, Refusal("PAR-0002", where=where, reason=error.strerror or error))
        _end_output()
        return status
    return status


def _end_output() -> None:
    """Write what is still in the buffer, or let it go: it must not fail again when Python ends."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _refused(args: argparse.Namespace, refusal: Refusal) -> int:
    if getattr(args, "json", None) is True:
        sys.stdout.write(json.dumps({"refusal": refusal.as_dict()}, ensure_ascii=False) + "\n")
    sys.stderr.write(f"{refusal}\n")
    return EXIT_REFUSED


def _parser(argv: list[str]) -> argparse.ArgumentParser:
    """Return the parser; of the words, only the one that is called is loaded."""
    parser = argparse.ArgumentParser(prog="paranal", description=__doc__)
    parser.add_argument("--version", action="version", version=f"paranal {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for word, (_, summary) in COMMANDS.items():
        command = commands.add_parser(word, help=summary, description=summary)
        if argv and argv[0] == word:
            _module(word).configure(command)
    return parser


def _module(word: str) -> Any:  # noqa: ANN401 - a module with configure and run
    """Return a word's module; a node holds the package without the lab, a post without the rest."""
    try:
        return import_module(COMMANDS[word][0])
    except ModuleNotFoundError as missing:
        raise Refusal("PAR-0001", word=word, module=missing.name) from missing


if __name__ == "__main__":
    sys.exit(main())
