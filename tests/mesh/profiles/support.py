"""What a gateway is offered by hand from its peer's own node, beside the tunnel that runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from testinfra.host import Host

from tests.mesh.support import on_node, sas_with

RECORD = "/var/lib/paranal/node/connections.json"
PROBE = "probe"
PASSIVE = {"start_action": "none", "close_action": "none", "dpd_action": "clear"}
NOTHING: Mapping[str, Any] = MappingProxyType({})
Config = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """What a pair runs; and, when Colombia offers again what it ran before, who says what of it."""

    profile: str
    generation: int | None = None
    by: str = "pe"
    said: str = ""


NO_KEY = "PPK required but peer does not support PPK"
NO_SUITE = "received proposals unacceptable"
STEPS = {
    "trixie": [
        Step("classic"),
        Step("ppk", 1, "pe", NO_KEY),
        Step("ppk", 2, "pe", "received PPK_ID 'co-pe-g1', but require 'co-pe-g2'"),
        Step("classic", None, "co", NO_KEY),
    ],
    "forky": [
        Step("classic"),
        Step("hybrid", None, "pe", NO_SUITE),
        Step("classic", None, "pe", NO_SUITE),
    ],
}
"""By the Debian of the lab's nodes."""


@dataclass(frozen=True)
class Offered:
    """Why the child did not come up (None: it did), and the IKE_SA it was offered over, if any."""

    refusal: str | None
    sa: dict[str, Any] | None

    @property
    def selectors(self) -> list[tuple[list[str], list[str]]]:
        """Return the local and the remote selectors of each child that came up."""
        children = self.sa["child-sas"].values() if self.sa else ()
        return [(child["local-ts"], child["remote-ts"]) for child in children]


def configured(node: Host, name: str) -> Config:
    """Return the configuration of a connection that a node holds."""
    held: Config = json.loads(node.file(RECORD).content_string)["held"][name]
    found: Config = held["connection"]["config"]
    return found


def names_held(node: Host, peer: str) -> set[str]:
    """Return the connections with a peer that charon has loaded."""
    loaded = {name for name, _ in on_node(node, "charon", ask="connections")}
    return {name for name in loaded if name.split("-")[1:2] == [peer]}


def offer(config: Config, child: Mapping[str, Any] = NOTHING) -> Config:
    """Return a configuration with one child, ``strategic``, that stands beside the running one.

    ``child`` replaces what the configuration says of the child.
    """
    alone = {"strategic": {**config["children"]["strategic"], **PASSIVE, **child}}
    return {**config, "unique": "never", "keyingtries": "1", "children": alone}


@contextmanager
def offered(
    node: Host,
    peer: str,
    config: Config,
    child: Mapping[str, Any] = NOTHING,
    keys: Mapping[str, str] = NOTHING,
) -> Iterator[Offered]:
    """Offer a peer a second IKE_SA (``offer``) for the length of a block.

    ``keys`` are preshared keys to lend charon meanwhile.
    """
    given = {"name": PROBE, "config": offer(config, child), "keys": dict(keys)}
    try:
        said = on_node(node, "connection", **given, start=["strategic"])["strategic"]
        sas = [
            sa
            for sa in sas_with(node, peer)
            if sa["name"] == PROBE and sa["state"] == "ESTABLISHED"
        ]
        yield Offered(said, sas[0] if sas else None)
    finally:
        on_node(node, "connection", forget=PROBE)
