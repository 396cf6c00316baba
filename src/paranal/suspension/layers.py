"""Close in every layer what the record suspends, or finish what a crash left.

The services follow the record by themselves. The firewall's file comes before the record, so that
no boot between the two finds it open; the rest comes after, each layer whatever becomes of the
others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from paranal.firewall import suspended
from paranal.messages import Refusal
from paranal.status.bounded import Unreadable, output
from paranal.suspension import proxy
from paranal.tunnels.charon import Charon, CharonError
from paranal.tunnels.narrow import narrow
from paranal.tunnels.reconcile import swanctl_load_credentials
from paranal.tunnels.record import Paths

Layer = Callable[[Mapping[str, Any]], bool]


def close(view: Mapping[str, Any]) -> dict[str, str]:
    """Close every layer; return what each came to: ``closed``, ``stands``, or why it failed."""
    return {name: _state(layer, view) for name, layer in LAYERS.items()}


def _state(layer: Layer, view: Mapping[str, Any]) -> str:
    try:
        return "closed" if layer(view) else "stands"
    except (Refusal, CharonError, Unreadable, OSError, ValueError) as error:
        return f"failed: {error}"


def _firewall(view: Mapping[str, Any]) -> bool:
    return suspended.keep(view, output)


def _charon(view: Mapping[str, Any]) -> bool:
    paths = Paths()
    with paths.alone(wait=True), Charon() as charon:
        done = narrow(charon, view, paths, swanctl_load_credentials)
    return done is not None and done.plan.changes


LAYERS: dict[str, Layer] = {"nft": _firewall, "haproxy": proxy.close, "charon": _charon}
"""In this order: what cuts at once is first, what may have to wait is last."""
