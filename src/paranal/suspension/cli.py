"""``paranal suspend``: close a direction or a peer here, at once, without anybody else."""

from __future__ import annotations

import argparse
import getpass
import json
import os
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from paranal.agreement.suspension import RECORD, Suspension, Suspensions, narrowed, read_suspensions
from paranal.firewall import suspended
from paranal.messages import Refusal
from paranal.suspension import last_word, layers
from paranal.suspension.record import (
    added,
    alone,
    checked_reason,
    checked_service,
    directions,
    without,
    write,
)
from paranal.tunnels.gateway import VIEW, declared_view, require_root
from paranal.tunnels.record import replace


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the argument and the options."""
    parser.add_argument("what", nargs="?", metavar="DIRECTION|PEER", help="pe>co, co>pe, or co")
    parser.add_argument("--service", help="only this service")
    parser.add_argument(
        "--reason", default="", help="why (required to suspend); shown by paranal status"
    )
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--lift", action="store_true", help="open it again with the next site.yml")
    ways.add_argument("--list", action="store_true", help="show what is suspended here")
    ways.add_argument("--apply", action="store_true", help="finish what a crash left")
    parser.add_argument("--json", action="store_true", help="as data")
    parser.set_defaults(usage_error=parser.error)


def run(args: argparse.Namespace) -> int:
    """Suspend, lift, list or apply; 0 done, or nothing to do.

    Raises ``Refusal`` PAR-0690 without root, PAR-0691 without a view, PAR-0740 to 0747.
    """
    if not args.what and not (args.list or args.apply):
        args.usage_error("DIRECTION|PEER")
    require_root("suspend")
    if args.list:
        _say(args, read_suspensions(), {})
        return 0
    with alone():
        if args.lift:
            return _lift(args)
        return _suspend(args) if args.what else _apply(args)


def _suspend(args: argparse.Namespace) -> int:
    started = time.monotonic()
    view, record = declared_view(), _readable()
    at = datetime.now(UTC).isoformat(timespec="seconds")
    service, reason = checked_service(view, args.service), checked_reason(args.reason)
    more = [
        Suspension(each, service, at, _operator(), reason) for each in directions(view, args.what)
    ]
    after = added(record, more)
    changed, told = after != record, {}
    if changed:
        told = last_word.say(view, record, after)
        # Before the record, so that no boot between the two would load the rules without it.
        replace(suspended.FILE, suspended.text(narrowed(view, after)), 0o600)
        write(after)
    found = layers.close(narrowed(view, after))
    _say(args, after, found, changed=changed, told=told, seconds=time.monotonic() - started)
    return _judged(found)


def _apply(args: argparse.Namespace) -> int:
    record = read_suspensions()
    found = layers.close(narrowed(declared_view(), record))
    _say(args, record, found)
    return _judged(found)


def _lift(args: argparse.Namespace) -> int:
    """Take it out of the record; the view keeps it closed until a controller applies its own."""
    view, record = declared_view(), _readable()
    after = without(record, directions(view, args.what), checked_service(view, args.service))
    keep_closed(view, record)
    write(after)
    _say(args, after, {}, lifted=True)
    return 0


def keep_closed(view: dict[str, Any], record: Suspensions, path: Path = VIEW) -> None:
    """Write into the node's own view what the record closes, in the form that role base writes.

    Only a controller's run puts the agreed status back, and shows that it does (``--diff``).
    """
    text = json.dumps(narrowed(view, record), ensure_ascii=False, indent=2, sort_keys=True) + "\n"
    replace(path, text, path.stat().st_mode & 0o777)


def _readable() -> Suspensions:
    record = read_suspensions()
    if record.unreadable:
        raise Refusal("PAR-0744", path=RECORD, reason=record.unreadable)
    return record


def _operator() -> str:
    return os.environ.get("SUDO_USER") or getpass.getuser()


def _judged(found: dict[str, str]) -> int:
    """Raise ``Refusal`` PAR-0745 for the layers that did not close; the record stands."""
    failed = {name: state for name, state in found.items() if state.startswith("failed")}
    if failed:
        raise Refusal("PAR-0745", layers="; ".join(f"{one}: {why}" for one, why in failed.items()))
    return 0


def _say(
    args: argparse.Namespace,
    record: Suspensions,
    found: dict[str, str],
    *,
    changed: bool = False,
    lifted: bool = False,
    told: Mapping[str, str] | None = None,
    seconds: float = 0.0,
) -> None:
    entries = [vars(entry) for entry in record.entries]
    if args.json:
        data = {
            "suspended": entries,
            "unreadable": record.unreadable,
            "layers": found,
            "told": told or {},
            "changed": changed or lifted,
            "seconds": round(seconds, 3),
        }
        sys.stdout.write(json.dumps(data, ensure_ascii=False) + "\n")
        return
    if args.what and not changed and not lifted:
        sys.stdout.write("ya estaba suspendido | suspended already\n")
    if lifted:
        sys.stdout.write(f"{_LIFTED}\n")
    if record.unreadable:
        sys.stdout.write(f"{Refusal('PAR-0744', path=RECORD, reason=record.unreadable)}\n")
    for entry in record.entries:
        service = entry.service or "*"
        sys.stdout.write(f"{entry.direction} {service}: {entry.since} {entry.by}: {entry.reason}\n")
    for name, state in found.items():
        sys.stdout.write(f"  {name}: {_STATES.get(state, state)}\n")
    for peer, why in (told or {}).items():
        sys.stdout.write(f"  {peer}: {_NOT_TOLD.format(why=why) if why else _TOLD}\n")


_STATES = {"closed": "cerrado | closed", "stands": "ya cerrado | closed already"}
_TOLD = "avisado | told"
_NOT_TOLD = "sin avisar, llame a su turno | not told, call its desk ({why})"
_LIFTED = (
    "levantado: sigue cerrado hasta el próximo site.yml | "
    "lifted: it stays closed until the next site.yml"
)
