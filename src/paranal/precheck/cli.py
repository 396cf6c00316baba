"""``paranal precheck``: does the line to a peer serve? Both teams run it at the same time.

Before keys exist, on the gateway or on any machine at its address: UDP 500 and 4500, ESP where it
will be used, the clocks and the path MTU, each both ways. It speaks to the declared peer alone.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from paranal.messages import Refusal
from paranal.precheck import report
from paranal.precheck.judge import FAIL, PASS, UNKNOWN, judge, verdict
from paranal.precheck.knowledge import Knowledge
from paranal.precheck.line import Line
from paranal.precheck.message import Carrier
from paranal.precheck.run import exchange

SECONDS = 60
EXIT = {PASS: 0, FAIL: 1, UNKNOWN: 2}


@dataclass(frozen=True)
class Ends:
    """Where it runs, whom it speaks to, and whether their packets will be ESP's own."""

    local: str
    peer: str
    esp: bool


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--peer", required=True, help="the peer's address; with --agreement, code")
    parser.add_argument("--local", help="this machine's own address (default: the agreement's)")
    parser.add_argument("--agreement", type=Path, metavar="FILE", help="who and where they are")
    parser.add_argument("--member", metavar="CODE", help="who we are in the agreement")
    parser.add_argument(
        "--esp", action="store_true", help="try ESP too (default: where the agreement's planes are)"
    )
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"default {SECONDS}")
    parser.add_argument("--json", action="store_true", help="print data instead of text")


def run(args: argparse.Namespace) -> int:
    """Try the line and print what was found: 0 it serves, 1 it does not, 2 not all could be told.

    Raises ``Refusal`` PAR-1010 to PAR-1013 (addresses, ports), PAR-1015 (half of a member).
    """
    found = ends(args)
    with Line(found.local, found.peer) as line:
        for carrier in Carrier:
            if found.esp or carrier is not Carrier.ESP:
                line.use(carrier)
        known = exchange(line, args.seconds, _progress)
        checks = judge(known, found.peer, line.without_esp, line.unsent)
    whole = verdict(checks)
    if args.json:
        data = {
            "local": found.local,
            "peer": found.peer,
            "verdict": whole,
            "checks": [check.as_dict() for check in checks],
        }
        sys.stdout.write(json.dumps(data, ensure_ascii=False) + "\n")
    else:
        sys.stdout.writelines(f"{line}\n" for line in report.lines(checks))
    return EXIT[whole]


def ends(args: argparse.Namespace) -> Ends:
    """Return both ends: as given, or as the agreement has them."""
    if args.agreement is None:
        if args.local is None or args.member is not None:
            raise Refusal("PAR-1015")
        return Ends(*_addresses(args.local, args.peer), args.esp)
    if args.member is None:
        raise Refusal("PAR-1015")
    # Here, because the agreement's checks are not there on every machine at a gateway's address.
    from paranal.agreement import load

    agreement = load(args.agreement)
    for code in (args.member, args.peer):
        if code not in agreement.members:
            known = ", ".join(agreement.members)
            raise Refusal("PAR-0106", where=args.agreement, member=code, members=known)
    own, peer = (agreement.members[code] for code in (args.member, args.peer))
    local = args.local or own["wan_address"]
    # Behind a translation ESP travels in UDP, and with the userspace plane at either end too.
    straight = local == own["wan_address"]
    kernel = own["data_plane"] == peer["data_plane"] == "kernel"
    return Ends(*_addresses(local, peer["wan_address"]), args.esp or (straight and kernel))


def _addresses(local: str, peer: str) -> tuple[str, str]:
    """Return both, of one family, neither of everybody nor of a group."""
    found = []
    for text in (local, peer):
        try:
            address = ip_address(text)
        except ValueError as error:
            raise Refusal("PAR-1010", value=text, reason=error) from None
        if address.is_multicast or address.is_unspecified or address.is_loopback:
            raise Refusal("PAR-1010", value=text, reason="multicast, unspecified, loopback")
        found.append(address)
    if found[0].version != found[1].version or found[0] == found[1]:
        raise Refusal("PAR-1010", value=peer, reason=local)
    return str(found[0]), str(found[1])


def _progress(seconds: float, known: Knowledge) -> None:
    sys.stderr.write(report.progress(seconds, known))
    sys.stderr.flush()
