"""``paranal ppk``: the ceremony of a pair's postquantum preshared key (runbook RB-010).

No word prints a key or a passphrase; passphrases stand in files of the operator's, mode 0600.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from paranal.agreement import load
from paranal.ppk import lab
from paranal.ppk.store import Store, fingerprint

Answer = dict[str, Any]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the words of ``paranal ppk``."""
    words = parser.add_subparsers(dest="word", required=True, metavar="WORD")
    for word, (work, summary) in WORDS.items():
        command = words.add_parser(word, help=summary, description=summary)
        command.set_defaults(work=work)
        if word == "found":
            command.add_argument("lab", type=Path, help="the lab's folder, .lab/NAME")
        else:
            command.add_argument("--directory", type=Path, required=True, help="this country's own")
            command.add_argument(
                "--passphrase-file", type=Path, help="default: the directory's name + .passphrase"
            )
        if word in ("make", "seal", "drop"):
            command.add_argument("name", help="pair and generation, such as co-pe-g2")
        if word in ("seal", "open"):
            command.add_argument("file", type=Path, help="the sealed file that travels")
            command.add_argument(
                "--transport-passphrase-file",
                type=Path,
                required=True,
                help="what opens the sealed file, and travels by another route",
            )
        command.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> int:
    """Do one word and print its result; refusals are PAR-043x."""
    answer: Answer = args.work(args)
    sys.stdout.write(json.dumps(answer, indent=None if args.json else 1) + "\n")
    return 0


def _store(args: argparse.Namespace) -> Store:
    beside = args.directory.with_name(f"{args.directory.name}.passphrase")
    return Store(args.directory, args.passphrase_file or beside)


def _make(args: argparse.Namespace) -> Answer:
    return {"name": args.name, "fingerprint": _store(args).make(args.name)}


def _seal(args: argparse.Namespace) -> Answer:
    said = _store(args).seal(args.name, args.file, args.transport_passphrase_file)
    return {"name": args.name, "fingerprint": said, "sealed": str(args.file)}


def _open(args: argparse.Namespace) -> Answer:
    name, said = _store(args).open(args.file, args.transport_passphrase_file)
    return {"name": name, "fingerprint": said}


def _list(args: argparse.Namespace) -> Answer:
    store = _store(args)
    return {"keys": {name: fingerprint(name, store.key(name)) for name in store.names()}}


def _drop(args: argparse.Namespace) -> Answer:
    _store(args).drop(args.name)
    return {"dropped": args.name}


def _found(args: argparse.Namespace) -> Answer:
    return {"changed": lab.ensure(args.lab, load(args.lab / "agreement" / "agreement.yml"))}


WORDS = {
    "make": (_make, "make the key of a new generation"),
    "seal": (_seal, "write a key for the peer, under a passphrase that travels by another route"),
    "open": (_open, "take in a key that the peer has sealed"),
    "list": (_list, "the keys that this country holds, with the fingerprints to compare by voice"),
    "drop": (_drop, "forget a key whose generation is over"),
    "found": (_found, "play the ceremony for every pair of a lab"),
}
