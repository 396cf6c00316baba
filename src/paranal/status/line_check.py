"""``paranal line-check``: prove the line of every pair that has nothing open.

The initiator of such a pair brings up an IKE_SA without children, notes whether both ends knew
each other, and ends it. ``paranal status`` shows the note.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict

from paranal.messages import Refusal
from paranal.status.line import FOLDER
from paranal.tunnels.charon import Charon, CharonError
from paranal.tunnels.gateway import VIEW, read_view, require_root
from paranal.tunnels.record import replace

SECONDS = 15
"""Longer than charon's 5.5 s of retransmission, so that the reason is charon's and not ours."""


class Note(TypedDict):
    """The result of one line check."""

    at: str
    """RFC 3339, UTC."""
    ok: bool
    reason: str
    """Charon's words when it failed; empty when it did not."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--view", type=Path, default=VIEW, help="the member's view")
    parser.add_argument("--json", action="store_true", help="as data")


def run(args: argparse.Namespace) -> int:
    """Check every line that is ours to check, note and print the results.

    Returns 0 also when a line fails: that is a result. Raises ``Refusal`` PAR-0690 without root,
    PAR-0691 without a view, PAR-0704 when our own charon does not answer.
    """
    require_root("line-check")
    view = read_view(args.view)
    results = {}
    with_lines = to_check(view)
    if with_lines:
        try:
            with Charon(seconds=SECONDS + 10) as charon:
                results = {peer: check(charon, name) for peer, name in with_lines.items()}
        except CharonError as error:
            raise Refusal("PAR-0704", reason=str(error)) from error
    keep(results, FOLDER)
    text = json.dumps(results) if args.json else _table(results)
    sys.stdout.write(text + "\n" if text else "")
    return 0


def to_check(view: dict[str, Any]) -> dict[str, str]:
    """Return ``{peer: connection}`` for the lines that this member checks."""
    me = view["member"]["code"]
    return {
        peer["code"]: f"{me}-{peer['code']}-line"
        for peer in view["peers"]
        if peer["pair"]["line_check"] and peer["pair"]["initiates"]
    }


def check(charon: Charon, name: str) -> Note:
    """Bring up one line, end it, and say how it went."""
    reason = ""
    try:
        charon.bring_up(name, SECONDS)
    except CharonError as error:
        reason = str(error)
    for sa in charon.ike_sas():
        if sa.name == name:
            charon.end_ike(sa.unique_id)
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return {"at": at, "ok": not reason, "reason": reason}


def keep(results: dict[str, Note], folder: Path) -> None:
    """Write one note per peer, and remove the notes of lines that are no longer checked."""
    for peer, note in results.items():
        replace(folder / f"{peer}.json", json.dumps(note) + "\n", 0o644)
    for path in folder.glob("*.json"):
        if path.stem not in results:
            path.unlink()


def _table(results: dict[str, Note]) -> str:
    return "\n".join(
        f"{peer} {'ok' if note['ok'] else note['reason']} {note['at']}"
        for peer, note in sorted(results.items())
    )
