"""Does an agreement follow what this node has applied already? A node never goes back.

The controller sends the epochs that it found to be signed as needed (``paranal.agreement.accept``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .paranal_node import Node, Refused, read_json

VIEW = "/etc/paranal/view.json"


def refuse_unagreed(node: Node, trusted: Sequence[Mapping[str, Any]], member: str) -> None:
    """Refuse an agreement that is older than the node's (PAR-0154), or another one (PAR-0155).

    ``trusted`` is ``[{"epoch", "digest"}, ...]`` without a gap, the last one to be applied. What
    the node has must be one of them, unless it is older than the first, which everybody signed.
    """
    held = applied(node)
    if held is None:
        return
    epoch, last = held["epoch"], trusted[-1]["epoch"]
    if epoch > last:
        raise Refused("PAR-0154", member=member, held=epoch, epoch=last)
    same = [one for one in trusted if one["epoch"] == epoch]
    if same and same[0]["digest"] != held["digest"]:
        raise Refused("PAR-0155", member=member, held=epoch, digest=held["digest"][:16])


def applied(node: Node) -> dict[str, Any] | None:
    """Return the ``{"epoch", "digest"}`` that the node's view has; None where there is no view.

    One that a hand has broken says nothing, and the run is what repairs it.
    """
    try:
        view = read_json(node.real(VIEW))
        return {"epoch": int(view["epoch"]), "digest": str(view["digest"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None
