"""``paranal lab fault``: each fault's words, and what the alliance must do under it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass

from paranal.lab import faults, relay, report
from paranal.lab.lab import Lab
from paranal.lab.reading import codes, duration, percent, whole
from paranal.lab.tampering import DOWNGRADES

Args = argparse.Namespace


@dataclass(frozen=True)
class Verb:
    """One fault: how it is asked for, made, and what is expected of the mesh under it."""

    summary: str
    expected: str
    make: Callable[[Lab, Args], None]
    options: Callable[[argparse.ArgumentParser], None] = lambda _: None
    lasting: bool = False
    """It takes its time in the foreground, so other words must not wait for it."""


def configure(fault: argparse.ArgumentParser) -> None:
    """Declare every verb and its options."""
    kinds = fault.add_subparsers(dest="kind", required=True, metavar="KIND")
    for name, verb in VERBS.items():
        told = f"{verb.summary}. Expected: {verb.expected}."
        parser = kinds.add_parser(name, help=verb.summary, description=told)
        verb.options(parser)
        parser.add_argument("--json", action="store_true", help="print data instead of text")


def run(args: Args) -> int:
    """Make the fault and say which faults there are."""
    lab, verb = Lab(args.name), VERBS[args.kind]
    if verb.lasting:
        verb.make(lab, args)
    else:
        with lab.operated():
            verb.make(lab, args)
    present = faults.present(lab)
    text = "\n".join(report.faults_text(present))
    sys.stdout.write((json.dumps(present, indent=2) if args.json else text) + "\n")
    return 0


def _delay(lab: Lab, args: Args) -> None:
    times = {"delay_ms": args.delay * 1000, "jitter_ms": args.jitter * 1000}
    shares = {key: getattr(args, key) for key in ("loss", "reorder", "duplicate")}
    faults.impair(lab, relay.Impairment(**times, **shares))


def _delay_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("delay", type=duration, help="such as 40ms; 0ms for none")
    parser.add_argument("--jitter", type=duration, default=0.0, help="such as 5ms")
    for key in ("loss", "reorder", "duplicate"):
        parser.add_argument(f"--{key}", type=percent, default=0.0, help="such as 5%%")


def _link_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("node")
    parser.add_argument("state", choices=["up", "down"])


def _two(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("one")
    parser.add_argument("other")


def _groups(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("groups", nargs="+", type=codes, metavar="CC,CC")


def _node(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("node")


def _flap_options(parser: argparse.ArgumentParser) -> None:
    _node(parser)
    parser.add_argument("--times", type=whole(1, 1000), default=10)
    parser.add_argument("--period", type=duration, default=2.0, help="down and up (default: 2s)")


def _mtu_options(parser: argparse.ArgumentParser) -> None:
    _node(parser)
    parser.add_argument("octets", type=whole(faults.LEAST_MTU, faults.MTU - 1))
    parser.add_argument("--silent", action="store_true", help="nobody is told by ICMP")


def _downgrade_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=sorted(DOWNGRADES))


def _from(parser: argparse.ArgumentParser) -> None:
    _node(parser)
    parser.add_argument("--from", dest="sources", type=codes, default=(), help="default: all peers")
    parser.add_argument("--seed", type=whole(0, 2**32), default=1)


def _flood_options(parser: argparse.ArgumentParser) -> None:
    _from(parser)
    parser.add_argument("--rate", type=whole(20, 5000), default=500, help="packets a second")
    parser.add_argument("--for", dest="seconds", type=duration, default=30.0, help="default: 30s")


def _fuzz_options(parser: argparse.ArgumentParser) -> None:
    _from(parser)
    parser.add_argument("--count", type=whole(1, 100_000), default=3000)
    parser.add_argument("--rate", type=whole(1, 2000), default=300, help="packets a second")


def _replay_options(parser: argparse.ArgumentParser) -> None:
    _two(parser)
    parser.add_argument("--count", type=whole(1, 1000), default=20, help="packets taken")
    parser.add_argument("--after", type=duration, default=0.0, help="how much later (default: 0s)")
    parser.add_argument("--copies", type=whole(1, 10), default=1)
    parser.add_argument(
        "--ahead", type=whole(0, 2**31), default=0, help="add so much to the sequence numbers"
    )


def _replay(lab: Lab, args: Args) -> None:
    how = (args.count, args.after, args.copies, args.ahead)
    faults.replay(lab, args.one, args.other, *how)


def _attack(*asked: str) -> Callable[[Lab, Args], None]:
    def make(lab: Lab, args: Args) -> None:
        given = {key: getattr(args, key) for key in asked}
        faults.attack(lab, args.kind, args.node, args.sources, **given)

    return make


VERBS: dict[str, Verb] = {
    "delay": Verb(
        "delay every packet one way, with what else the line does",
        "queries are answered later; up to 30 % loss tunnels stay and no answer is a false OK",
        _delay,
        _delay_options,
    ),
    "link": Verb(
        "pull or plug a member's WAN cable",
        "its pairs go down within 15 s and come back by themselves within 10 s of plugging",
        lambda lab, args: faults.set_link(lab, args.node, args.state),
        _link_options,
    ),
    "flap": Verb(
        "pull and plug a member's WAN cable again and again",
        "afterwards one IKE_SA and one of each CHILD_SA per pair",
        lambda lab, args: faults.flap(lab, args.node, args.times, args.period),
        _flap_options,
        lasting=True,
    ),
    "partition": Verb(
        "two members no longer reach each other",
        "the two ask each other in vain and say so; the other pairs do not notice",
        lambda lab, args: faults.partition(lab, [args.one], [args.other]),
        _two,
    ),
    "isolate": Verb(
        "one member reaches no other",
        "queries to it are UNAVAILABLE or TIMEOUT, so INCOMPLETE; it is back within 10 s",
        lambda lab, args: faults.isolate(lab, args.node),
        _node,
    ),
    "split": Verb(
        "groups of members no longer reach each other",
        "each group goes on within itself; whole again within 10 s",
        lambda lab, args: faults.partition(lab, *args.groups),
        _groups,
    ),
    "oneway": Verb(
        "what one member sends another is lost, the way back is not",
        "dead peer detection ends the pair at both ends, no half-open IKE_SA stays",
        lambda lab, args: faults.lose(lab, [(args.one, args.other)]),
        _two,
    ),
    "mtu": Verb(
        "let only short packets through a member's WAN link",
        "key exchange and large answers pass at 1280, also when nobody is told",
        lambda lab, args: faults.narrow(lab, args.node, args.octets, silent=args.silent),
        _mtu_options,
    ),
    "downgrade": Verb(
        "a man in the middle edits each IKE_SA_INIT request",
        "no SA comes about; those there are stay",
        lambda lab, args: faults.downgrade(lab, args.what),
        _downgrade_options,
    ),
    "flood": Verb(
        "ask a member for IKE_SAs without end, under its peers' own addresses",
        "cookies start, half-open IKE_SAs stay few, tunnels stay, a true peer still connects",
        _attack("seed", "rate", "seconds"),
        _flood_options,
    ),
    "fuzz": Verb(
        "send a member malformed IKE and ESP, under its peers' own addresses",
        "dropped; charon neither ends nor grows, tunnels stay",
        _attack("seed", "rate", "count"),
        _fuzz_options,
    ),
    "fragments": Verb(
        "send a member overlapping, tiny, incomplete and disordered IP fragments",
        "put together or dropped; nothing ends",
        _attack("seed"),
        _from,
    ),
    "replay": Verb(
        "take ESP that one member sends another off the line and send it again, true or forged",
        "nothing is delivered twice, and what follows still is",
        _replay,
        _replay_options,
    ),
    "clear": Verb("mend everything", "full mesh within 10 s", lambda lab, _: faults.clear(lab)),
}
"""Every fault by its word; ``docs/faults.md`` lists the same."""
