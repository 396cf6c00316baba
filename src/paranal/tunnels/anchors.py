"""The connections that a node's own view and pinned roots declare."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from paranal.agreement.connections import Connection, anchor_digest, connections, root_files
from paranal.messages import Refusal
from paranal.tunnels.record import Paths


def declared_here(view: dict[str, Any], paths: Paths) -> list[Connection]:
    """Return the connections that this node's own view and pinned roots declare.

    Raises ``Refusal`` PAR-0705 when a peer's root certificate is missing or unreadable.
    """
    folder = paths.swanctl / "x509ca"
    return connections(view, {peer["code"]: _pins(folder, peer["code"]) for peer in view["peers"]})


def _pins(folder: Path, code: str) -> dict[str, str]:
    pins = {}
    for name in root_files(folder, code):
        try:
            pins[name] = anchor_digest((folder / name).read_bytes())
        except (OSError, ValueError) as error:
            where = str(folder / name)
            raise Refusal("PAR-0705", where=where, member=code, reason=str(error)) from None
    return pins
