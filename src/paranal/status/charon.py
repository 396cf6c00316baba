"""charon's own view over VICI: what is loaded, what is up, on which data plane."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from typing import Any

from paranal.status.bounded import SECONDS
from paranal.status.facts import Charon, Child, Tunnel

SOCKET = "/run/charon.vici"


def read(path: str = SOCKET, seconds: float = SECONDS) -> Charon:
    """Ask the daemon; one that is not there is ``running=False``, one that hangs raises.

    Raises ``OSError`` (also ``TimeoutError``) or a ``vici`` exception.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(seconds)
        try:
            connection.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return Charon(running=False)
        session = session_over(connection)
        return judge(session.list_conns(), session.list_sas(), session.stats())


def session_over(connection: socket.socket) -> Any:  # noqa: ANN401 - vici has no types
    """Return a VICI session; imported here, so that the package installs without vici."""
    import vici

    return vici.Session(connection)


def judge(
    connections: Iterator[Mapping[str, Any]],
    tunnels: Iterator[Mapping[str, Any]],
    stats: Mapping[str, Any],
) -> Charon:
    """Return the daemon's view from its raw answers (byte strings, as vici gives them)."""
    loaded = {
        _text(section.get("id"))
        for message in connections
        for connection in message.values()
        for name, section in connection.items()
        if name.startswith("remote-") and isinstance(section, Mapping)
    }
    plugins = {_text(plugin) for plugin in stats.get("plugins", ())}
    return Charon(
        running=True,
        loaded=frozenset(loaded),
        tunnels=tuple(_tunnel(name, sa) for message in tunnels for name, sa in message.items()),
        data_plane="userspace" if "kernel-libipsec" in plugins else "kernel",
    )


def _tunnel(name: str, sa: Mapping[str, Any]) -> Tunnel:
    return Tunnel(
        connection=name,
        peer_identity=_text(sa.get("remote-id")),
        peer_address=_text(sa.get("remote-host")),
        state=_text(sa.get("state")),
        algorithms=_algorithms(sa),
        age_seconds=int(sa.get("established", 0)),
        children=tuple(_child(child) for child in sa.get("child-sas", {}).values()),
    )


def _child(child: Mapping[str, Any]) -> Child:
    return Child(
        name=_text(child.get("name")),
        state=_text(child.get("state")),
        algorithms=_algorithms(child),
        bytes_in=int(child.get("bytes-in", 0)),
        bytes_out=int(child.get("bytes-out", 0)),
        age_seconds=int(child.get("install-time", 0)),
    )


def _algorithms(sa: Mapping[str, Any]) -> str:
    """Name what was negotiated as swanctl does: ``AES_GCM_16-256/PRF_HMAC_SHA2_384/ECP_384``."""
    cipher = "-".join(_text(sa[key]) for key in ("encr-alg", "encr-keysize") if key in sa)
    more = sorted(key for key in sa if key.startswith("ke") and key.endswith("-alg"))
    rest = [_text(sa[key]) for key in ("integ-alg", "prf-alg", "dh-group", *more) if key in sa]
    if _text(sa.get("ppk")) == "yes":
        rest.append("PPK")
    return "/".join(part for part in (cipher, *rest) if part)


def _text(value: Any) -> str:  # noqa: ANN401 - bytes, text or nothing
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")
