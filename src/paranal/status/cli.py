"""``paranal status``: look at this gateway, judge what is seen, print it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from paranal.agreement.suspension import read_suspensions
from paranal.control import notice
from paranal.messages import LANGUAGES, Refusal
from paranal.status import (
    bounded,
    certificates,
    charon,
    exchange,
    firewall,
    journal,
    line,
    probe,
    report,
    services,
)
from paranal.status.bounded import Unseen
from paranal.status.checks import PROXY, SERVED_BY
from paranal.status.diagnose import diagnose, exit_code, warnings
from paranal.status.facts import Direction, Facts, Reach, directions
from paranal.tunnels.gateway import VIEW, read_view, require_root

UNITS = sorted({PROXY, *(unit for ways in SERVED_BY.values() for unit in ways.values())})


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--json", action="store_true", help="print data instead of a table")
    parser.add_argument("--lang", choices=LANGUAGES, default="es", help="language of the texts")
    parser.add_argument("--service", action="append", help="only this service (repeatable)")
    parser.add_argument(
        "--probe",
        action="store_true",
        help="also try each peer's service now (TCP, TLS, an empty question)",
    )
    parser.add_argument("--view", type=Path, default=VIEW, help=f"default {VIEW}")


def run(args: argparse.Namespace) -> int:
    """Print the status; 0 all good, 1 something is broken, 2 something could not be seen.

    Raises ``Refusal`` PAR-0690 without root and PAR-0691 without a view.
    """
    require_root("status")
    view = load_view(args.view, args.service)
    facts = collect(view, active=args.probe)
    pairs = diagnose(facts)
    found = report.Report(facts, pairs, warnings(facts))
    if args.json:
        sys.stdout.write(json.dumps(report.as_dict(found), ensure_ascii=False, indent=2) + "\n")
    else:
        report.show(found, args.lang)
    return exit_code(pairs)


def load_view(path: Path, only: list[str] | None = None) -> dict[str, Any]:
    """Return the node's view, narrowed to some services; raises ``Refusal`` PAR-0691, PAR-0692."""
    view = read_view(path)
    for service in only or ():
        if service not in view["services"]:
            known = ", ".join(view["services"])
            raise Refusal("PAR-0692", service=service, known=known)
    kept = {key: each for key, each in view["services"].items() if key in (only or (key,))}
    return {**view, "services": kept}


def collect(view: Mapping[str, Any], *, active: bool) -> Facts:
    """Look at everything once, each source within ``bounded.SECONDS``.

    The active try comes first: it wakes tunnels, and leaves its trace in charon's journal.
    """
    member, peers = view["member"], view["peers"]
    flows = [each for peer in peers for each in directions(view, peer)]
    reached = _probe(member, flows) if active else {}
    codes = [member["code"], *(peer["code"] for peer in peers)]
    sources: dict[str, tuple[str, Callable[[], Any]]] = {
        "charon": ("charon (VICI)", charon.read),
        "firewall": ("nft", partial(firewall.read, member, flows)),
        "services": ("systemd", partial(services.read, UNITS)),
        "exchange": ("exchange.query (PostgreSQL)", partial(exchange.read, member["code"], flows)),
        "certificates": ("X.509", certificates.read_leaves),
        "crls": ("CRL", partial(certificates.read_crls, codes)),
        "traces": ("journalctl", partial(journal.read, peers, member["code"])),
        "notices": (str(notice.HEARD), partial(notice.heard, codes[1:])),
        "lines": ("/var/lib/paranal/line", line.read),
    }
    answers = bounded.collect(sources, bounded.SECONDS + 1)
    record = read_suspensions()
    return Facts(now=datetime.now(UTC), view=view, reached=reached, suspended=record, **answers)


def _probe(
    member: Mapping[str, Any], flows: list[Direction]
) -> dict[tuple[str, str], Reach | Unseen]:
    """Try every direction in which we may ask; one that could not be tried is ``Unseen``."""
    tried = {
        f"{each.peer['code']} {each.service}": each
        for each in flows
        if each.way == "asks" and each.open and each.service in SERVED_BY
    }
    sources: dict[str, tuple[str, Callable[[], Any]]] = {
        key: (f"--probe {key}", partial(probe.reach, member, each)) for key, each in tried.items()
    }
    answers = bounded.collect(sources, 2 * probe.SECONDS)
    return {(each.peer["code"], each.service): answers[key] for key, each in tried.items()}
