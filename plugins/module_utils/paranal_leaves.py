"""What a node remembers of its certificates, and the probe of them; standard library only.

``/var/lib/paranal/node/leaves.json`` holds ``{"leaves": {NAME: record}, "owed": [unit]}``. A record
says what was installed (names, serial, dates, issuer) and the digest of each file, so the probe
needs no certificate parser: a file whose digest is the recorded one holds what is recorded.
``rotations`` holds ``{NAME: {"stage", "serial", "replaces", "since"}}`` of each leaf whose rotation
is under way: every stage is written here before the next begins, and the last one removes it.
"""

from __future__ import annotations

import time
from typing import Any

from .paranal_node import Node, Refused, clock, read_json, write_json
from .paranal_tree import facts_of, observe

TRUST_RECORD = "/etc/paranal/trust.json"


def load_leaves(node: Node) -> dict[str, Any]:
    """Return the memory, empty on a node that has none."""
    return {
        "leaves": {},
        "owed": [],
        "rotations": {},
        **(read_json(node.state / "leaves.json") or {}),
    }


def save_leaves(node: Node, memory: dict[str, Any]) -> None:
    """Write the memory, for root only."""
    write_json(node.state / "leaves.json", memory)


def advance(memory: dict[str, Any], name: str, stage: str, **known: str) -> None:
    """Take a leaf's rotation to a stage of ``paranal.pki.rotation``; the caller saves."""
    held = memory["leaves"].get(name, {})
    fresh = {"replaces": held.get("serial", ""), "serial": ""}
    before = fresh if stage == "requested" else memory["rotations"].get(name, fresh)
    memory["rotations"][name] = {**before, **known, "stage": stage, "since": clock(time.time())}


def orphan_keys(node: Node, memory: dict[str, Any]) -> list[str]:
    """Return the leaves for which a key waits that no rotation knows: it is never used."""
    waiting = sorted(path.stem for path in (node.state / "requests").glob("*.key"))
    return [name for name in waiting if name not in memory["rotations"]]


def probe_certificates(node: Node) -> dict[str, Any]:
    """Return what the node holds of leaves, their rotations, and trust.

    A record gains ``files`` (path -> facts now, None for nothing) and ``altered``: the paths whose
    content is not what was installed. ``trust`` is what role ``ipsec`` wrote of CAs and lists, and
    ``lists`` every revocation list (PEM) that came without the controller, by ``CC-issuing``.
    """
    memory = load_leaves(node)
    leaves = {}
    for name, record in memory["leaves"].items():
        now = {path: _facts(node, path) for path in record["digests"]}
        altered = [
            path
            for path, facts in now.items()
            if facts is not None and facts.get("sha256") != record["digests"][path]
        ]
        leaves[name] = {**record, "files": now, "altered": sorted(altered)}
    trust = read_trust(node)
    left = {key: memory[key] for key in ("owed", "rotations")}
    kept = sorted((node.state / "lists").glob("*.crl"))
    lists = {path.stem: path.read_text(encoding="ascii") for path in kept}
    orphans = orphan_keys(node, memory)
    return {"leaves": leaves, **left, "orphans": orphans, "trust": trust, "lists": lists}


def read_trust(node: Node) -> dict[str, Any]:
    """Return what role ``ipsec`` wrote of CAs and lists; nothing where it was altered by hand."""
    try:
        return read_json(node.real(TRUST_RECORD)) or {}
    except ValueError:  # its owner's next run restores it
        return {}


def _facts(node: Node, path: str) -> dict[str, str] | None:
    try:
        return facts_of(observe(node, path))
    except Refused:
        return {"kind": "other", "mode": "", "owner": "", "group": ""}
