"""``paranal audit prove``: what no packet can do to a member's rules, shown for every packet."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paranal.agreement import Agreement, load, member_view
from paranal.agreement.cli import DEFAULT
from paranal.agreement.connections import connections
from paranal.agreement.suspension import Suspensions, narrowed, read_suspensions
from paranal.audit.proof.declared import given, listing, rules, variables
from paranal.audit.proof.prove import Counterexample, Property, prove
from paranal.audit.proof.words import PROPERTIES, by, fields, sentence
from paranal.messages import Refusal

PLANES = ("kernel", "userspace")
SUSPENDED_HINT = (
    "¿este nodo suspendió algo? Compare también con --suspended suspended.json (RB-004)",
    "has this node suspended anything? Compare with --suspended suspended.json too (RB-004)",
)


@dataclass(frozen=True)
class Node:
    """What was proved of one member on one data plane."""

    agreement: Path
    member: str
    plane: str
    seconds: float
    properties: list[Property]
    hint: bool = False
    """Whether a suspension that was not given may be why an open direction is closed."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the words of the audit and their options."""
    words = parser.add_subparsers(dest="word", required=True, metavar="WORD")
    summary = "prove rules and tunnel selectors, or show a packet that breaks them"
    word = words.add_parser("prove", help=summary, description=f"{summary} (docs/proof.md)")
    word.add_argument(
        "--agreement",
        action="append",
        type=Path,
        metavar="FILE",
        help=f"default {DEFAULT}; may be given again",
    )
    word.add_argument(
        "--member", action="append", metavar="CC", help="default every member; may be given again"
    )
    word.add_argument(
        "--data-plane",
        choices=(*PLANES, "both"),
        help="instead of the one that the agreement declares",
    )
    word.add_argument(
        "--vars",
        type=Path,
        metavar="FILE",
        help="a country's firewall_* variables and paranal_wan_local_address, as in its inventory",
    )
    word.add_argument(
        "--ruleset",
        type=Path,
        metavar="FILE",
        help="prove these rules (nft's text, or JSON of `nft --json list ruleset`) of one member",
    )
    word.add_argument(
        "--suspended",
        type=Path,
        metavar="FILE",
        help="what this member suspended by itself: its node's /var/lib/paranal/suspended.json",
    )
    word.add_argument("--json", action="store_true", help="print data instead of text")


def run(args: argparse.Namespace) -> int:
    """Prove; 0 every property holds, 1 one is broken, 3 refused.

    Raises ``Refusal`` PAR-0802 to PAR-0809 for what cannot be judged, PAR-0477 for a record of
    suspensions that is none.
    """
    inventory = variables(args.vars) if args.vars else {}
    for file in (args.ruleset, args.suspended):
        if file and len(args.member or ()) != 1:
            raise Refusal("PAR-0809", where=str(file))
    record = _record(args.suspended) if args.suspended else Suspensions()
    nodes: list[Node] = []
    for file in args.agreement or [DEFAULT]:
        agreement = load(file)
        for code in args.member or sorted(agreement.members):
            local = inventory.get("paranal_wan_local_address")
            for view in _views(agreement, code, args.data_plane, local):
                nodes.append(_prove(file, view, args.ruleset, inventory, record))
                if not args.json:
                    sys.stdout.writelines(f"{line}\n" for line in _lines(nodes[-1]))
    if args.json:
        data = [_data(node) for node in nodes]
        sys.stdout.write(json.dumps({"nodes": data}, ensure_ascii=False) + "\n")
    return int(any(each.broken for node in nodes for each in node.properties))


def _record(file: Path) -> Suspensions:
    """Return a node's own record; raises ``Refusal`` PAR-0477 where it cannot be read.

    The node itself suspends everything by such a record, or nothing without one: neither is to be
    taken for what somebody meant to give.
    """
    found = read_suspensions(file)
    if found.unreadable or not file.exists():
        raise Refusal("PAR-0477", where=str(file), reason=found.unreadable or "-")
    return found


def _views(
    agreement: Agreement, code: str, plane: str | None, local: str | None
) -> Iterator[dict[str, Any]]:
    """Yield a member's view on each data plane that was asked for."""
    for each in PLANES if plane == "both" else [plane]:
        view = member_view(agreement, code, local)
        if each:
            for member in (view["member"], *view["peers"]):
                member["data_plane"] = each
        yield view


def _prove(
    file: Path,
    agreed: Mapping[str, Any],
    ruleset: Path | None,
    inventory: Mapping[str, Any],
    record: Suspensions,
) -> Node:
    started = time.monotonic()
    view = narrowed(agreed, record)
    member = view["member"]
    # A pinned root changes a connection's name, never its selectors.
    declared = connections(view, {peer["code"]: "" for peer in view["peers"]})
    where = str(ruleset) if ruleset else f"{file} {member['code']}"
    text = given(ruleset) if ruleset else rules(view, inventory)
    properties = prove(view, declared, listing(text, where))
    elapsed = time.monotonic() - started
    closed = any(each.broken for each in properties if each.key in ("open-in", "open-out"))
    hint = bool(ruleset and closed and not record)
    return Node(file, member["code"], member["data_plane"], elapsed, properties, hint)


def finding(node: Node, key: str, broken: Counterexample) -> Refusal:
    """Return what to say of a property that does not hold."""
    spanish, english = sentence(broken)
    property_es, property_en = PROPERTIES[key]
    code = "PAR-0807" if key == "selectors" else "PAR-0801"
    return Refusal(
        code,
        member=f"{node.member} ({node.plane})",
        property_es=property_es,
        property_en=property_en,
        packet_es=spanish,
        packet_en=english,
        by="; ".join(broken.by),
    )


def _lines(node: Node) -> Iterator[str]:
    classes = sum(each.classes for each in node.properties)
    yield (
        f"{node.member} · {node.plane} · {node.agreement}: "
        f"{classes:,} clases de paquetes | classes of packets, {node.seconds:.2f} s"
    )
    for each in node.properties:
        verdict = "NO SE CUMPLE | BROKEN" if each.broken else "se cumple | holds"
        spanish, english = PROPERTIES[each.key]
        with_es, with_en = by(node.plane, each.key)
        kept = with_es if with_es == with_en else f"{with_es} | {with_en}"
        yield f"  {verdict:22} {each.classes:>17,}  {spanish} | {english} ({kept})"
        if each.broken:
            yield f"    {finding(node, each.key, each.broken)}"
    if node.hint:
        yield f"    {' | '.join(SUSPENDED_HINT)}"


def _data(node: Node) -> dict[str, Any]:
    return {
        "agreement": str(node.agreement),
        "member": node.member,
        "data_plane": node.plane,
        "seconds": round(node.seconds, 3),
        "properties": [
            {
                "property": each.key,
                "holds": each.broken is None,
                "classes": each.classes,
                "by": by(node.plane, each.key)[1],
                "counterexample": fields(each.broken) if each.broken else None,
                "decided_by": list(each.broken.by) if each.broken else [],
                "finding": finding(node, each.key, each.broken).as_dict() if each.broken else None,
            }
            for each in node.properties
        ],
    }
