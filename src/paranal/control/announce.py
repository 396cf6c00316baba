"""``paranal control notice``: announce maintenance to the peers, and read what they announced."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

from paranal.control import notice
from paranal.control.notice import Heard, Window
from paranal.messages import Refusal
from paranal.serving.view import View


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the argument and the options."""
    parser.add_argument("text", nargs="?", metavar="TEXT", help="what the peers should know of it")
    parser.add_argument("--from", dest="begin", metavar="TIME", help="RFC 3339; default: now")
    parser.add_argument("--until", metavar="TIME", help="RFC 3339 with an offset, or Z")
    parser.add_argument("--withdraw", action="store_true", help="announce nothing any more")


def run(args: argparse.Namespace, view: View) -> int:
    """Announce a window, withdraw all, or show what is announced; 0 done.

    Raises ``Refusal`` PAR-0928 for what is no window, PAR-0929 for a record that cannot be read.
    """
    now = datetime.now(UTC)
    held = () if args.withdraw else notice.current(notice.own_windows(), now)
    if args.text:
        held = (*held, _window(args, now))
    elif args.begin or args.until:
        raise Refusal("PAR-0928", reason="TEXT")
    if args.text or args.withdraw:
        notice.announce(held)
    said = notice.heard(peer.code for peer in view.peers)
    _print(args, {view.member.code: held}, said, now)
    return 0


def _window(args: argparse.Namespace, now: datetime) -> Window:
    try:
        if args.withdraw or not args.until:
            raise ValueError("--until")
        begin = datetime.fromisoformat(args.begin) if args.begin else now
        end = datetime.fromisoformat(args.until)
        if None in (begin.tzinfo, end.tzinfo):
            raise ValueError("Z, +00:00, -05:00...")
        if end <= now:
            raise ValueError(f"--until {args.until} < {now.isoformat(timespec='seconds')}")
        return Window(begin.astimezone(UTC), end.astimezone(UTC), args.text.strip())
    except ValueError as error:
        raise Refusal("PAR-0928", reason=error) from None


def _print(
    args: argparse.Namespace,
    ours: dict[str, tuple[Window, ...]],
    said: dict[str, Heard],
    now: datetime,
) -> None:
    if args.json:
        data = {"ours": ours, "heard": said}
        sys.stdout.write(json.dumps(msgspec.to_builtins(data), ensure_ascii=False) + "\n")
        return
    windows = ours | {code: notice.current(one.notice.windows, now) for code, one in said.items()}
    lines = [*_announced(windows), *_closed(said)]
    sys.stdout.write("".join(f"{line}\n" for line in lines or ["sin avisos | no notices"]))


def _announced(windows: dict[str, Any]) -> Iterable[str]:
    for code, each in windows.items():
        for one in each:
            begin, end = (at.isoformat(timespec="minutes") for at in (one.begin, one.end))
            yield f"{code}: mantenimiento | maintenance {begin} - {end}: {one.text}"


def _closed(said: dict[str, Heard]) -> Iterable[str]:
    for code, heard in said.items():
        for one in heard.notice.closed:
            since = f" {one.since.isoformat()}" if one.since else ""
            yield f"{code}: suspendido | suspended {one.direction} {one.service}{since}"
