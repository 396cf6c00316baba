"""Our half's processes: what systemd says, what answers its health check, what TCP listens on."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterable
from pathlib import Path

from paranal.status.bounded import SECONDS, output
from paranal.status.facts import Services

SOCKETS = {
    "paranal-national.service": Path("/run/paranal/national/http.sock"),
    "paranal-alliance.service": Path("/run/paranal/alliance/http.sock"),
    "paranal-control.service": Path("/run/paranal/control/http.sock"),
}
"""The services that answer ``GET /health``, and where."""

CLUSTERS = Path("/etc/postgresql")


def read(units: Iterable[str]) -> Services:
    """Ask systemd, the services and the kernel; raises ``Unreadable`` when one cannot be asked."""
    database = database_unit()
    shown = output(["systemctl", "show", "--property=Id,ActiveState", *units, database])
    return Services(
        units=unit_states(shown),
        healthy=frozenset(unit for unit, path in SOCKETS.items() if is_healthy(path)),
        listening=listeners(output(["ss", "--no-header", "--listening", "--tcp", "--numeric"])),
        database=database,
    )


def database_unit(clusters: Path = CLUSTERS) -> str:
    """Return the unit of the cluster that role database configured; one that never is without it.

    Debian names a cluster by PostgreSQL's major version, and an upgrade leaves the old one there.
    """
    ours = sorted(path.parts[-4] for path in clusters.glob("*/main/conf.d/paranal.conf"))
    return f"postgresql@{ours[-1] if ours else 'none'}-main.service"


def unit_states(shown: str) -> dict[str, str]:
    """Return unit -> ActiveState from ``systemctl show``'s blocks."""
    blocks = [
        dict(line.split("=", 1) for line in block.splitlines()) for block in shown.split("\n\n")
    ]
    return {block["Id"]: block["ActiveState"] for block in blocks if "Id" in block}


def listeners(shown: str) -> frozenset[tuple[str, int]]:
    """Return the local (address, port) pairs from ``ss``; a wildcard address stays ``0.0.0.0``."""
    found = set()
    for line in shown.splitlines():
        address, port = line.split()[3].rsplit(":", 1)
        found.add((address.partition("%")[0].strip("[]"), int(port)))
    return frozenset(found)


def is_healthy(path: Path, seconds: float = SECONDS / 2) -> bool:
    """Tell whether the service behind a unix socket answers 200 to ``GET /health``."""
    connection = http.client.HTTPConnection("localhost", timeout=seconds)
    try:
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(seconds)
        connection.sock.connect(str(path))
        connection.request("GET", "/health")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
