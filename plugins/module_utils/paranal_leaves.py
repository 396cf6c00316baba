"""What a node remembers of its certificates, and the probe of them; standard library only.

``/var/lib/paranal/node/leaves.json`` holds ``{"leaves": {NAME: record}, "owed": [unit]}``. A record
says what was installed (names, serial, dates, issuer) and the digest of each file, so the probe
needs no certificate parser: a file whose digest is the recorded one holds what is recorded.
"""

from __future__ import annotations

from typing import Any

from .paranal_node import Node, Refused, read_json, write_json
from .paranal_tree import facts_of, observe

TRUST_RECORD = "/etc/paranal/trust.json"


def load_leaves(node: Node) -> dict[str, Any]:
    """Return the memory, empty on a node that has none."""
    known: dict[str, Any] = read_json(node.state / "leaves.json") or {"leaves": {}, "owed": []}
    return known


def save_leaves(node: Node, memory: dict[str, Any]) -> None:
    """Write the memory, for root only."""
    write_json(node.state / "leaves.json", memory)


def probe_certificates(node: Node) -> dict[str, Any]:
    """Return what the node holds: ``{"leaves": {NAME: record}, "owed": [unit], "trust": {...}}``.

    A record gains ``files`` (path -> facts now, None for nothing) and ``altered``: the paths whose
    content is not what was installed. ``trust`` is what role ``ipsec`` wrote of CAs and lists.
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
    try:
        trust = read_json(node.real(TRUST_RECORD)) or {}
    except ValueError:  # altered by hand; its owner's next run restores it
        trust = {}
    return {"leaves": leaves, "owed": memory["owed"], "trust": trust}


def _facts(node: Node, path: str) -> dict[str, str] | None:
    try:
        return facts_of(observe(node, path))
    except Refused:
        return {"kind": "other", "mode": "", "owner": "", "group": ""}
