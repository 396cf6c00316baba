"""``paranal lab``: the words of ``scripts/lab``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

from paranal.agreement.crypto import PROFILES
from paranal.lab import countries, equip, fault_cli, image, lowering, playbook, raising, report
from paranal.lab.capture import capture
from paranal.lab.controllers import controllers
from paranal.lab.lab import Lab
from paranal.lab.reading import codes, duration
from paranal.lab.wish import Wish
from paranal.messages import Refusal


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the words and their options."""
    parser.add_argument(
        "--name", default=os.environ.get("PARANAL_LAB", "default"), help="lab's name"
    )
    words = parser.add_subparsers(dest="word", required=True, metavar="WORD")

    def word(
        name: str, run: Callable[[argparse.Namespace], int], summary: str
    ) -> argparse.ArgumentParser:
        command = words.add_parser(name, help=summary, description=summary)
        command.set_defaults(act=run)
        return command

    up = word("up", _up, "bring the lab up; a running one that fits is left alone")
    up.add_argument("--members", type=codes, help="which members, comma separated (default: all)")
    up.add_argument("--agreement", help="file, or a word for agreement/WORD.yml")
    up.add_argument(
        "--image",
        type=images,
        metavar="SUITE[,MEMBER=SUITE...]",
        help=f"the nodes' Debian: {', '.join(sorted(image.RECIPES))}; such as trixie,pe=forky",
    )
    crypto_profile(up)
    up.add_argument(
        "--data-plane",
        choices=["userspace", "kernel"],
        help="refuse an agreement without it; kernel: members that declare it are machines",
    )
    up.add_argument(
        "--foreign",
        type=codes,
        default=(),
        help="members whose gateway is a plain Debian with libreswan, no node of ours",
    )
    up.add_argument("--nat", type=codes, help="members whose WAN address is translated 1:1")
    up.add_argument("--owner", type=int, help="process the lab is for (default: the caller)")
    _json(up)
    down = word("down", _down, "take the lab down and leave nothing")
    down.add_argument("--keep-logs", action="store_true", help="leave .lab/NAME/log")
    _json(word("status", _status, "each node's state and the faults on the lines"))
    _json(word("list", _list, "every lab on this machine"))
    gc = word("gc", _gc, "take down the labs whose owner has gone")
    gc.add_argument("--older-than", type=duration, default=2 * 3600.0, help="such as 2h (default)")
    gc.add_argument("only", nargs="*", metavar="LAB", help="these labs only (default: all)")
    _json(gc)
    execute = word("exec", _exec, "run a command in a member, a border (pe-border) or wan")
    execute.add_argument("node")
    execute.add_argument("words", nargs=argparse.REMAINDER)
    reboot = word("reboot", _reboot, "restart a node as a machine restarts")
    reboot.add_argument("node")
    reboot.add_argument("--hard", action="store_true", help="cut the power instead")
    dump = word("capture", _capture, "capture packets in a node or in wan")
    dump.add_argument("node")
    dump.add_argument(
        "options",
        nargs=argparse.REMAINDER,
        metavar="[-i IF] [--for SECONDS] [-w FILE] [FILTER]",
        help="interface (default: wan; in wan, all); when to stop; a pcap file; tcpdump's filter",
    )
    play = word("playbook", _playbook, "run ansible-playbook on the lab")
    play.add_argument("playbook", help="name under playbooks/, with or without .yml")
    play.add_argument("options", nargs=argparse.REMAINDER)
    _json(word("equip", _equip, "enrol the posts and load synthetic records, after site.yml"))
    word("found", _found, "give each country a user of its own, which alone can reach its node")
    own = word("apply", _apply, "play site.yml as each country's own user, one after the other")
    own.add_argument("members", nargs="+", metavar="MEMBER", help="in this order")
    _json(own)
    fault_cli.configure(word("fault", fault_cli.run, "break the lines, or mend them"))


def run(args: argparse.Namespace) -> int:
    """Run the word and return its exit status."""
    act: Callable[[argparse.Namespace], int] = args.act
    return act(args)


def _up(args: argparse.Namespace) -> int:
    wish = Wish(
        args.members,
        args.agreement,
        args.image,
        args.crypto_profile,
        args.data_plane,
        args.foreign,
        args.nat,
    )
    facts = raising.up(Lab(args.name), wish, args.owner or os.getppid())
    nodes = ", ".join(sorted(facts["members"]))
    return _print(args, facts, f"{facts['name']}: {nodes} up, {facts['seconds']} s")


def _down(args: argparse.Namespace) -> int:
    lowering.down(Lab(args.name), keep_log=args.keep_logs)
    return 0


def _status(args: argparse.Namespace) -> int:
    now = report.status(Lab(args.name))
    return _print(args, now, report.status_text(now))


def _list(args: argparse.Namespace) -> int:
    labs = lowering.listing()
    data = [{**asdict(lab), "created": lab.created.isoformat()} for lab in labs]
    return _print(args, data, report.list_text(labs) or "no lab")


def _gc(args: argparse.Namespace) -> int:
    gone = lowering.collect_garbage(timedelta(seconds=args.older_than), args.only)
    return _print(args, gone, "\n".join(gone) or "nothing to clear")


def _exec(args: argparse.Namespace) -> int:
    words = args.words[1:] if args.words[:1] == ["--"] else args.words
    if not words:
        raise Refusal("PAR-0218", reason="exec NODE -- COMMAND")
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    command = Lab(args.name).command(args.node, words, terminal=terminal)
    os.execvp(command[0], command)  # noqa: S606 - standard streams and exit status pass untouched


def _reboot(args: argparse.Namespace) -> int:
    raising.reboot(Lab(args.name), args.node, hard=args.hard)
    return 0


def _found(args: argparse.Namespace) -> int:
    countries.found(Lab(args.name))
    return 0


def _apply(args: argparse.Namespace) -> int:
    lab = Lab(args.name)
    own = {one.member: one for one in controllers(lab.name)}
    for member in args.members:
        if member not in own:
            raise Refusal("PAR-0213", part=member, lab=lab.name, parts=", ".join(sorted(own)))
    played = {member: countries.apply(lab, own[member]) for member in args.members}
    data = {code: {"seconds": run.seconds, "changed": run.changed} for code, run in played.items()}
    return _print(args, data, "\n".join(f"{code}: {run.seconds} s" for code, run in played.items()))


def _capture(args: argparse.Namespace) -> int:
    given = _capture_options(args.options)
    return capture(
        Lab(args.name), args.node, given.interface, given.seconds, given.file, given.filter
    )


def _capture_options(words: list[str]) -> argparse.Namespace:
    """Read the options of ``capture``, which may stand before or after the filter's words."""
    parser = argparse.ArgumentParser(prog="lab capture NODE")
    parser.add_argument("-i", dest="interface")
    parser.add_argument("--for", dest="seconds", type=float)
    parser.add_argument("-w", dest="file", type=new_file)
    parser.add_argument("filter", nargs="*")
    return parser.parse_intermixed_args(words)


def _playbook(args: argparse.Namespace) -> int:
    lab = Lab(args.name)
    lab.facts()
    options = args.options[1:] if args.options[:1] == ["--"] else args.options
    words = playbook.command(args.playbook, options)
    os.execve(words[0], words, playbook.environment(lab))  # noqa: S606 - output and status pass


def _equip(args: argparse.Namespace) -> int:
    changed = equip.equip(Lab(args.name))
    posts, sources = (", ".join(changed[key]) or "-" for key in ("posts", "sources"))
    return _print(args, changed, f"posts: {posts}; sources: {sources}")


def _print(args: argparse.Namespace, data: object, text: str) -> int:
    output = json.dumps(data, indent=2, ensure_ascii=False) if args.json else text
    sys.stdout.write(f"{output}\n")
    return 0


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print data instead of text")


def crypto_profile(parser: argparse.ArgumentParser) -> None:
    """Add the option that gives every pair of the lab's own agreement one crypto profile."""
    parser.add_argument(
        "--crypto-profile",
        choices=sorted(PROFILES),
        help="of every pair, in the lab's own copy of the agreement; hybrid brings the forky image",
    )


def images(text: str) -> dict[str, str]:
    """Return member -> suite of ``trixie,pe=forky``; under "" stands the suite of all others.

    Raises ``Refusal`` PAR-0240 for a suite that no image is built of.
    """
    found = {}
    for item in text.split(","):
        member, _, suite = item.strip().rpartition("=")
        if suite not in image.RECIPES:
            raise Refusal("PAR-0240", given=item, known=", ".join(sorted(image.RECIPES)))
        found[member] = suite
    return found


def new_file(text: str) -> Path:
    """Return a path to write to. Raises ``Refusal`` PAR-0218 for a folder or one in no folder."""
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        raise Refusal("PAR-0218", reason=f"«{text}»: {path.parent}/FILE")
    return path
