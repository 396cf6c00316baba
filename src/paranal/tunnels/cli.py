"""``paranal tunnels``: what a gateway does for itself, without a controller."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from paranal.agreement.connections import Connection
from paranal.messages import Refusal
from paranal.tunnels import narrow, ppk
from paranal.tunnels.anchors import declared_here
from paranal.tunnels.charon import Charon, CharonError, CharonSilent
from paranal.tunnels.gateway import VIEW, read_view, require_root
from paranal.tunnels.reconcile import swanctl_load_credentials
from paranal.tunnels.record import Paths, Record, edited, read_record
from paranal.tunnels.upkeep import (
    Daemon,
    ask_again,
    end_duplicates,
    end_left,
    give_own_exchange,
    missing,
    renew,
    renew_lately_changed,
    settle,
)
from paranal.tunnels.verify import problems, report

HEAL_SECONDS = 8.0
"""How long one run follows what it asked for."""
TURN_SECONDS = 0.5
KILL = ("/usr/bin/systemctl", "kill", "--signal=KILL", "strongswan.service")
STUBBORN_SECONDS = 600.0
"""An IKE_SA this old whose peer refuses a child is renewed, in case the peer has changed since."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the three words: show, verify, heal; and settings, which the role calls."""
    words = parser.add_subparsers(dest="word", required=True, metavar="WORD")
    show = words.add_parser("show", help="every pair with its algorithms and data plane")
    verify = words.add_parser("verify", help="the same, and fail where charon differs")
    for word in (show, verify):
        word.add_argument("--json", action="store_true", help="as data")
        word.add_argument("--view", type=Path, default=VIEW, help="the member's view")
    words.add_parser("heal", help="ask again for what is missing (paranal-heal.timer)")
    words.add_parser("settings", help="have charon read strongswan.conf, cutting no tunnel")


def run(args: argparse.Namespace) -> int:
    """Run one word; 0, or 3 where ``verify`` finds that charon differs.

    Raises ``Refusal`` PAR-0690 without root, PAR-0691 without a view, PAR-0704 when charon does not
    answer.
    """
    require_root(f"tunnels {args.word}")
    word = {"show": _show, "verify": _show, "heal": _heal, "settings": _settings}[args.word]
    try:
        return word(args)
    except CharonError as error:
        raise Refusal("PAR-0704", reason=str(error)) from error


def _show(args: argparse.Namespace) -> int:
    view = read_view(args.view)
    paths = Paths()
    declared, plane = declared_here(view, paths), view["member"]["data_plane"]
    with Charon() as charon:
        sas = charon.ike_sas()
        found = problems(declared, charon.connections(), sas, charon.plugins(), plane)
    if edited(read_record(paths), paths):
        found.append(f"{paths.file} is not what was applied")
    absent = ppk.named(declared) - ppk.delivered(paths).keys()
    found += [f"preshared key {name} is not on this node" for name in sorted(absent)]
    rows = report(declared, sas, plane)
    member = view["member"]
    addresses = {key: member[key] for key in ("wan_address", "wan_local_address")}
    data = {**addresses, "connections": rows, "problems": found}
    text = json.dumps(data) if args.json else "\n".join(_table(rows, **addresses))
    sys.stdout.write(text + "\n")
    if args.word == "show" or not found:
        return 0
    # Not raised: with --json the command would print it as data too, behind the data above.
    refusal = Refusal("PAR-0706", member=member["code"], problems="; ".join(found))
    sys.stderr.write(f"{refusal}\n")
    return 3


def _table(
    rows: Sequence[dict[str, Any]], wan_address: str, wan_local_address: str
) -> Iterator[str]:
    if wan_local_address != wan_address:
        yield f"NAT 1:1: {wan_local_address} = {wan_address}"
    for row in rows:
        yield f"{row['name']:18} {row['state']:17} {row['data_plane']:9} {row['ike']}"
        for name, suite in sorted(row["children"].items()):
            yield f"  {name:16} {suite}"


def _heal(args: argparse.Namespace) -> int:
    """Do one turn of the upkeep; end a charon that hangs, which its unit starts again.

    A charon of the userspace plane can hang for ever when a CHILD_SA is deleted under traffic
    (strongSwan issue 2891): its process lives, and only its silence tells. Asked twice, half a
    minute each, for a machine may be busy. Raises ``Refusal`` PAR-0735 when it was ended.
    """
    try:
        return _turn()
    except CharonSilent as first:
        try:
            with Charon() as charon:
                charon.ike_sas()
        except CharonSilent:
            subprocess.run(KILL, check=True)  # noqa: S603 - our own words
            raise Refusal("PAR-0735", reason=first) from None
        raise


def _turn() -> int:
    """Ask for missing children, retire what is superseded; say only what was done."""
    paths = Paths()
    with paths.alone(wait=False) as mine, Charon() as charon:
        if mine:
            narrowed = _narrow(charon, paths)
        record = read_record(paths)
        wanted = [
            held["connection"]
            for name, held in record.held.items()
            if name not in record.superseded
        ]
        said = narrowed + heal(charon, record, wanted, paths) if mine else []
    for line in said:
        sys.stdout.write(f"{line}\n")
    return 0


def _narrow(charon: Charon, paths: Paths) -> list[str]:
    """Close what was suspended here and is still held: a command was killed, a run was late."""
    try:
        view = read_view()
    except Refusal:  # nothing was applied yet
        return []
    if not narrow.due(view, read_record(paths), paths):
        return []
    done = narrow.narrow(charon, view, paths, swanctl_load_credentials)
    return [f"{step.action} {step.name}" for step in done.plan.steps] if done else []


def heal(charon: Daemon, record: Record, wanted: list[Connection], paths: Paths) -> list[str]:
    """Ask for each missing child and follow it for a while; return what was done, in words.

    What was refused is asked for again after one turn, two turns, four: a peer that starts at the
    same moment refuses until it has loaded its connections.
    """
    ours = [one for one in wanted if one["initiates"]]
    asked: list[str] = []
    due: dict[str, int] = {}
    turn = 0
    gone = settle(charon, record, paths) + end_duplicates(charon, wanted)
    kept = [record.held[name]["connection"] for name in record.superseded]
    gone += end_left(charon, [*wanted, *kept])
    gone += renew_lately_changed(charon, record, paths) + give_own_exchange(charon)
    deadline = time.monotonic() + HEAL_SECONDS
    while any(missing(one, charon.ike_sas()) for one in ours):
        if time.monotonic() > deadline:
            gone += renew(charon, wanted, STUBBORN_SECONDS)
            break
        # One that is busy just now (a liveness check, say) is asked in the next turn.
        for each in ask_again(charon, [one for one in ours if turn >= due.get(one["name"], 0)]):
            name = each.split("/")[0]
            due[name] = turn + 2 ** sum(said == each for said in asked)
            asked.append(each)
        time.sleep(TURN_SECONDS)
        turn += 1
        gone += settle(charon, record, paths)
    return [f"asked again for {child}" for child in dict.fromkeys(asked)] + [
        f"retired or renewed {name}" for name in gone
    ]


def _settings(args: argparse.Namespace) -> int:
    """Restart charon while it holds no IKE_SA; otherwise only have it read its settings.

    A restart drops every pair, so with tunnels up it belongs to a window and its own playbook;
    ``verify`` says when what runs is not what is declared.
    """
    try:
        with Charon() as charon:
            if charon.ike_sas():
                charon.reload_settings()
                sys.stdout.write("settings read\n")
                return 0
    except CharonError:
        sys.stdout.write("charon does not answer\n")
    subprocess.run(["/usr/bin/systemctl", "restart", "strongswan.service"], check=True)
    sys.stdout.write("restarted\n")
    return 0
