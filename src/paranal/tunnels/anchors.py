"""The connections that a node's own view and pinned roots declare."""

from __future__ import annotations

from typing import Any

from paranal.agreement.connections import Connection, anchor_digest, connections
from paranal.messages import Refusal
from paranal.tunnels.record import Paths


def declared_here(view: dict[str, Any], paths: Paths) -> list[Connection]:
    """Return the connections that this node's own view and pinned roots declare.

    Raises ``Refusal`` PAR-0705 when a peer's root certificate is missing or unreadable.
    """
    anchors = {}
    for peer in view["peers"]:
        name = f"{peer['code']}-root.pem"
        try:
            anchors[peer["code"]] = anchor_digest(paths.certificate(name))
        except (OSError, ValueError) as error:
            where = str(paths.swanctl / "x509ca" / name)
            raise Refusal("PAR-0705", where=where, member=peer["code"], reason=str(error)) from None
    return connections(view, anchors)
