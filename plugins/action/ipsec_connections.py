"""Derive the connections on the controller, and run the module only where charon differs.

The module ``ipsec_connections`` documents the options.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from jinja2 import TemplateError

from paranal.agreement.connections import (
    Connection,
    anchor_digest,
    connections,
    root_files,
    to_swanctl,
)
from paranal.messages import Refusal, refusal_in
from paranal.pki.rollover import trusted_roots
from paranal.rendering import render
from paranal.tunnels import ppk

TEMPLATES = Path(__file__).resolve().parents[2] / "templates"
TEMPLATE = "swanctl/connection.conf.j2"


class ActionModule(ActionBase):
    """The controller's half of ``ipsec_connections``."""

    _VALID_ARGS = frozenset(
        {
            *("published", "wait_seconds", "ppk_directory", "ppk_passphrase_file", "after", "root"),
            "held",
        }
    )

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Derive, render, compare with the probe, and reconcile."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        session = variables.get("node_session") or {}
        probe = session.get("probe") or {}
        held = probe if self._task.args.get("held") else None
        try:
            declared = self._declared(session["view"], held)
            keys = self._keys(declared)
        except Refusal as refusal:
            return {**result, "failed": True, "msg": str(refusal)}
        is_empty = held is not None and not declared
        believed = not any(one.get("changed") for one in self._task.args.get("after") or [])
        if is_empty or (believed and holds(probe, declared, keys)):
            return {**result, "changed": False, "steps": []}
        arguments = {
            "declared": declared,
            "keys": keys,
            "wait_seconds": int(self._task.args.get("wait_seconds") or 20),
            "session": session.get("session", {}).get("id", ""),
            "root": self._task.args.get("root", "/"),
        }
        answer = self._execute_module(
            "ipsec_connections", module_args=arguments, task_vars=variables
        )
        refusal_in(answer)
        return {**result, **answer}

    def _keys(self, declared: list[dict[str, Any]]) -> dict[str, str]:
        """Open the preshared keys that the connections name (PAR-0432, PAR-0433)."""
        names = ppk.named(entry["connection"] for entry in declared)
        if not names:
            return {}
        from paranal.pki.vault import opener
        from paranal.ppk.store import Store

        arguments = self._task.args
        passphrase, opened = Path(arguments["ppk_passphrase_file"]), opener(self._loader)
        store = Store(Path(arguments["ppk_directory"]), passphrase, opened)
        return {name: store.key(name).hex() for name in sorted(names)}

    def _declared(
        self, view: Mapping[str, Any], held: Mapping[str, Any] | None
    ) -> list[dict[str, Any]]:
        """Return the connections; with ``held``, a probe, only with roots that the node has."""
        published = Path(self._task.args["published"])
        peers = {peer["code"]: peer for peer in view["peers"]}
        roots = {code: set(peer.get("roots", [])) for code, peer in peers.items()}
        if held is not None:
            roots = {code: each & trusted_roots(held, code) for code, each in roots.items()}
            # Whose authority was replaced at once has no root here to stand on until its files are.
            peers = {code: peer for code, peer in peers.items() if roots[code]}
        anchors = {code: pins(published, code, roots[code]) for code in peers}
        return [
            {"connection": one, "text": text(one, peers[one["peer"]])}
            for one in connections({**view, "peers": list(peers.values())}, anchors)
        ]


def texts_of(keys: Mapping[str, str]) -> dict[str, str]:
    """Return the digest that the probe shows of each preshared key's file."""
    return ppk.digests({name: ppk.section(name, key) for name, key in keys.items()})


def text(connection: Connection, peer: Mapping[str, Any]) -> str:
    """Return one connection's section of the swanctl file, with the comment that explains it."""
    values = {"connection": connection, "peer": peer, "section": to_swanctl(connection)}
    try:
        return render(TEMPLATES, TEMPLATE, values)
    except TemplateError as error:
        raise Refusal("PAR-0306", template=f"templates/{TEMPLATE}", reason=str(error)) from error


def pins(published: Path, code: str, agreed: Collection[str]) -> dict[str, str]:
    """Return the digest of each of a peer's published roots that the agreement names, by file.

    Raises ``Refusal`` PAR-0705 without one.
    """
    found, reason = {}, "-"
    for name in root_files(published / "ca", code):
        path = published / "ca" / name
        try:
            digest = anchor_digest(path.read_bytes())
        except (OSError, ValueError) as error:
            raise Refusal("PAR-0705", where=str(path), member=code, reason=str(error)) from error
        if digest in agreed:
            found[name] = digest
        reason = digest[:16]
    if not found:
        raise Refusal("PAR-0705", where=str(published / "ca"), member=code, reason=reason)
    return found


def holds(
    probe: Mapping[str, Any], declared: list[dict[str, Any]], keys: Mapping[str, str]
) -> bool:
    """Say whether charon, as probed in this run, provably holds exactly this."""
    found = probe.get("tunnels") or {}
    texts = {
        entry["connection"]["name"]: hashlib.sha256(entry["text"].encode()).hexdigest()
        for entry in declared
    }
    same = found.get("texts") == texts and found.get("ppks", {}) == texts_of(keys)
    return bool(found.get("clean") and same)
