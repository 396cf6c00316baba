"""charon's own view over VICI: what is loaded, what is up, on which data plane."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from paranal.status.bounded import SECONDS
from paranal.status.facts import Charon
from paranal.tunnels import charon as vici
from paranal.tunnels.record import Paths, edited, read_record
from paranal.tunnels.verify import running_plane


def read(path: str = vici.SOCKET, seconds: float = SECONDS) -> Charon:
    """Ask the daemon; one that is not there is ``running=False``.

    Raises ``CharonError`` when it is there and does not answer, or refuses.
    """
    paths = Paths()
    boots = not edited(read_record(paths), paths)
    try:
        with vici.Charon(path, seconds) as session:
            found = judge(session.connections(), session.ike_sas(), session.plugins())
    except vici.CharonError as error:
        if isinstance(error.__cause__, FileNotFoundError | ConnectionRefusedError):
            return Charon(running=False, boots=boots)
        raise
    return replace(found, boots=boots)


def judge(
    connections: Mapping[str, Mapping[str, Any]],
    tunnels: Iterable[vici.IkeSa],
    plugins: Iterable[str],
) -> Charon:
    """Return the daemon's view from its answers."""
    loaded = {
        section["id"]
        for connection in connections.values()
        for name, section in connection.items()
        if name.startswith("remote-") and "id" in section
    }
    return Charon(True, frozenset(loaded), tuple(tunnels), running_plane(plugins))
