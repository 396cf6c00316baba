"""``paranal firewall``: the rules come back when they are gone, or no tunnel stands."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from paranal.firewall import policies, suspended
from paranal.firewall.confirmed import boots_confirmed, confirmed
from paranal.messages import Refusal
from paranal.status import firewall as kernel
from paranal.status.bounded import Unreadable, output
from paranal.suspension import proxy
from paranal.tunnels.gateway import read_view, require_root

Run = Callable[[Sequence[str], str | None], str]
STOP_TUNNELS = ("systemctl", "--no-block", "stop", "strongswan.service")
PUT_BACK = ("systemctl", "restart", "paranal-drop-policies.service")
START_AFRESH = ("systemctl", "--no-block", "try-restart", "strongswan.service")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the two words."""
    words = parser.add_subparsers(dest="word", required=True, metavar="WORD")
    words.add_parser("heal", help="put back rules and policies that are gone (its own timer)")
    words.add_parser("check", help="refuse a file of the next boot that is not what was applied")


def run(args: argparse.Namespace) -> int:
    """Run the word and return 0; raises ``Refusal`` PAR-0690 without root, else as ``heal``.

    ``check`` raises PAR-0733.
    """
    require_root(f"firewall {args.word}")
    if args.word == "check":
        if not boots_confirmed():
            raise Refusal("PAR-0733")
        return 0
    # The journal keeps it: somebody flushed what is gone, and nobody else would tell.
    steps = ((heal, "PAR-0730"), (heal_policies, "PAR-0736"), (heal_suspended, "PAR-0748"))
    for healed, code in steps:
        if healed(output):
            sys.stderr.write(f"{Refusal(code)}\n")
    return 0


def heal(run: Run) -> bool:
    """Load the confirmed rules when the table is gone or drops no more; tell whether it had to.

    A table that stands and drops is left alone, whatever a hand did to its rules: an apply loads
    its own before it confirms them, and drift is the next apply's to undo. Raises ``Refusal``
    PAR-0732 when the kernel cannot be asked, and PAR-0731 when there is nothing to load: charon is
    then stopped, for no tunnel may serve without the firewall.
    """
    try:
        found = kernel.table({}, ())
    except Unreadable as error:
        raise Refusal("PAR-0732", reason=error) from None
    if found.present and found.drops:
        return False
    try:
        run(("nft", "--file", "-"), confirmed())
    except (OSError, ValueError, Unreadable) as error:
        run(STOP_TUNNELS, None)
        raise Refusal("PAR-0731", reason=error) from None
    return True


def heal_policies(run: Run) -> bool:
    """Put the kernel plane's drop policies back when some are gone; tell whether it had to.

    charon is started afresh then: its own policies went with them, and it would not notice. While a
    run changes the node nothing is done. Raises ``Refusal`` PAR-0732 when the kernel cannot be
    asked or does not take them.
    """
    with policies.undisturbed() as alone:
        try:
            if not alone or policies.stand(run):
                return False
            run(PUT_BACK, None)
            run(START_AFRESH, None)
        except (OSError, Unreadable) as error:
            raise Refusal("PAR-0732", reason=error) from None
    return True


def heal_suspended(run: Run) -> bool:
    """Close again what is suspended here and is not closed; tell whether it had to.

    A command that was killed leaves it so, or a run that was under way meanwhile. Raises
    ``Refusal`` PAR-0732 when the kernel or HAProxy does not take it.
    """
    try:
        view = read_view()
    except Refusal:  # nothing was applied yet
        return False
    try:
        if not suspended.due(view):
            return False
        kept = suspended.keep(view, run)
        return proxy.close(view) or kept
    except (OSError, ValueError, Unreadable) as error:
        raise Refusal("PAR-0732", reason=error) from None
