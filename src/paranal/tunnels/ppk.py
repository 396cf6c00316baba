"""The preshared keys on a gateway: one swanctl file each, while a connection that is held names it.

The file is the key's only place on the node. It belongs to no other owner, so that no diff, no
earlier generation of a role and no record holds a copy of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from paranal.agreement.connections import Connection
from paranal.tunnels.record import Paths, replace

FOLDER = "ppk"


def section(name: str, key: str) -> str:
    """Return the swanctl file of one key; ``key`` in hexadecimal digits."""
    return f'secrets {{\n  ppk-{name} {{\n    id = "{name}"\n    secret = 0x{key}\n  }}\n}}\n'


def digests(texts: Mapping[str, str]) -> dict[str, str]:
    """Return SHA-256 (hex) of each file: it says nothing of the 256 random bits in it."""
    return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}


def delivered(paths: Paths) -> dict[str, str]:
    """Return the digest of each key's file on this node, by the key's name."""
    folder = paths.swanctl / FOLDER
    return digests({path.stem: path.read_text("ascii") for path in folder.glob("*.conf")})


def due(paths: Paths, keys: Mapping[str, str]) -> list[str]:
    """Return the names of the keys whose file is not there or has other content."""
    wanted, there = (
        digests({name: section(name, key) for name, key in keys.items()}),
        delivered(paths),
    )
    return sorted(name for name in wanted if wanted[name] != there.get(name))


def deliver(paths: Paths, keys: Mapping[str, str]) -> None:
    """Write the files of the keys that are due; ``keys`` by name, in hexadecimal digits."""
    for name in due(paths, keys):
        replace(paths.swanctl / FOLDER / f"{name}.conf", section(name, keys[name]), 0o600)


def named(connections: Iterable[Connection]) -> set[str]:
    """Return the names of the keys that connections name."""
    return {one["config"]["ppk_id"] for one in connections if "ppk_id" in one["config"]}


def retire(paths: Paths, connections: Iterable[Connection]) -> list[str]:
    """Remove the keys that none of the held connections names; return their names, sorted."""
    over = sorted(delivered(paths).keys() - named(connections))
    for name in over:
        (paths.swanctl / FOLDER / f"{name}.conf").unlink()
    return over
