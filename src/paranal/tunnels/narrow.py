"""Close in charon what the node's own view closes: without a controller, and never the reverse."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from paranal.agreement.connections import Connection, to_swanctl
from paranal.tunnels.anchors import declared_here
from paranal.tunnels.reconcile import Result, reconcile
from paranal.tunnels.record import Declared, Held, Paths, Record, read_record
from paranal.tunnels.upkeep import Daemon

WAIT_SECONDS = 5.0
"""What is closed is closed before this wait; it is for the channel of the pair that stays."""


def narrower(view: Mapping[str, Any], record: Record, paths: Paths) -> list[Declared]:
    """Return what charon should hold: of each pair what it holds, or what has fewer channels.

    A connection that holds no more than the view opens stays as it is, comment and all, so that
    the other pairs keep their SPIs. Raises ``Refusal`` PAR-0705 without a peer's root.
    """
    wanted = {one["stem"]: one for one in declared_here(dict(view), paths)}
    current = [held for name, held in record.held.items() if name not in record.superseded]
    return [_narrower(held, wanted.get(held["connection"]["stem"])) for held in current]


def due(view: Mapping[str, Any], record: Record, paths: Paths) -> bool:
    """Tell whether a held connection has a channel that the view closes."""
    names = {entry["connection"]["name"] for entry in narrower(view, record, paths)}
    return bool(names - record.held.keys())


def narrow(
    charon: Daemon,
    view: Mapping[str, Any],
    paths: Paths,
    load_credentials: Callable[[], None],
) -> Result | None:
    """Unload, terminate and replace what has too many channels; None before the first apply.

    Raises ``Refusal`` as ``reconcile`` does.
    """
    declared = narrower(view, read_record(paths), paths)
    if not declared:
        return None
    return reconcile(
        charon,
        declared,
        paths,
        {},
        wait_seconds=WAIT_SECONDS,
        load_credentials=load_credentials,
    )


def _narrower(held: Held, wanted: Connection | None) -> Declared:
    """Return the held connection, unless it has a channel that ``wanted`` lacks."""
    connection = held["connection"]
    if wanted is None or set(connection["channels"]) <= set(wanted["channels"]):
        return {"connection": connection, "text": held["text"]}
    return {"connection": wanted, "text": to_swanctl(wanted) + "\n"}
