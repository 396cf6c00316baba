"""``paranal status``: look at this gateway, judge what is seen, print it."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

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
from paranal.status.checks import SERVED_BY, SHARED_UNITS
from paranal.status.diagnose import diagnose, exit_code, warnings
from paranal.status.facts import Direction, Facts, Reach, directions

VIEW = Path("/etc/paranal/view.json")

UNITS = sorted({*SHARED_UNITS, *(unit for ways in SERVED_BY.values() for unit in ways.values())})


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
    if os.geteuid() != 0:
        raise Refusal("PAR-0690")
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
    try:
        view: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Refusal("PAR-0691", path=path, reason=error) from None
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
        "lines": ("/var/lib/paranal/line", line.read),
    }
    answers = bounded.collect(sources, bounded.SECONDS + 1)
    return Facts(now=datetime.now(UTC), view=view, reached=reached, **answers)


def _probe(member: Mapping[str, Any], flows: list[Direction]) -> dict[tuple[str, str], Reach]:
    """Try every direction in which we may ask; one that cannot be tried is left out."""
    sources: dict[str, tuple[str, Callable[[], Any]]] = {
        f"{each.peer['code']} {each.service}": (each.service, partial(probe.reach, member, each))
        for each in flows
        if each.way == "asks" and each.open and each.service in SERVED_BY
    }
    answers = bounded.collect(sources, 2 * probe.SECONDS)
    tried = {key: value for key, value in answers.items() if isinstance(value, Reach)}
    return {(key.split()[0], key.split()[1]): value for key, value in tried.items()}
