"""Judge what charon holds and negotiated against the member's own view; all of it is pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from paranal.agreement.connections import Connection
from paranal.agreement.crypto import PROFILES, CryptoProfile
from paranal.tunnels.charon import ChildSa, IkeSa
from paranal.tunnels.plan import stem
from paranal.tunnels.upkeep import missing

RETIRED_SECONDS = 60
"""How long an elder generation may outlast its heir's start: turns of the upkeep."""


def report(
    declared: Sequence[Connection], sas: Sequence[IkeSa], data_plane: str
) -> list[dict[str, Any]]:
    """Return one row per declared connection, as plain data.

    ``{"name", "peer", "state": "up"|"waiting for peer"|"loaded", "data_plane", "crypto_profile",
    "ike": "CIPHER/PRF/EXCHANGE", "children": {NAME: "CIPHER/EXCHANGE"}}``.
    """
    return [_row(connection, sas, data_plane) for connection in declared]


def problems(
    declared: Sequence[Connection],
    loaded: Mapping[str, Mapping[str, Any]],
    sas: Sequence[IkeSa],
    plugins: Sequence[str],
    data_plane: str,
) -> list[str]:
    """Return what differs from the view, one sentence each; a silent peer is not our problem."""
    return [
        *_loaded_problems(declared, loaded, sas),
        *_plane_problems(plugins, data_plane),
        *(found for sa in sas for found in _sa_problems(sa, declared)),
    ]


def running_plane(plugins: Iterable[str]) -> str:
    """Return the data plane of a charon with these plugins."""
    return "userspace" if "kernel-libipsec" in plugins else "kernel"


def _row(connection: Connection, sas: Sequence[IkeSa], data_plane: str) -> dict[str, Any]:
    mine = [sa for sa in sas if sa.name == connection["name"] and sa.established]
    waiting = "waiting for peer" if missing(connection, sas) else "up"
    return {
        "name": connection["name"],
        "peer": connection["peer"],
        "state": "loaded" if connection["line"] else waiting,
        "data_plane": data_plane,
        "crypto_profile": connection["crypto_profile"],
        "ike": ike_suite(mine[-1]) if mine else "",
        "children": {child.name: child_suite(child) for sa in mine for child in sa.children},
    }


def ike_suite(sa: IkeSa) -> str:
    """Return what an IKE_SA negotiated, in charon's names."""
    return "/".join((sa.encryption, sa.prf, sa.key_exchange))


def child_suite(child: ChildSa) -> str:
    """Return what a CHILD_SA negotiated, in charon's names."""
    return "/".join((child.encryption, child.key_exchange or "no key exchange"))


def _loaded_problems(
    declared: Sequence[Connection],
    loaded: Mapping[str, Mapping[str, Any]],
    sas: Sequence[IkeSa],
) -> Iterator[str]:
    names = {connection["name"] for connection in declared}
    waiting = {one["stem"] for one in declared if missing(one, sas) or _lately_up(one, sas)}
    for name in sorted(names - loaded.keys()):
        yield f"{name} is not loaded"
    for name in sorted(loaded.keys() - names):
        if stem(name) not in waiting:
            yield f"{name} is loaded and not declared"
    # A connection that was unloaded leaves its SAs, and they go on passing traffic.
    left = {sa.name for sa in sas if sa.established} - names - loaded.keys()
    for name in sorted(left):
        if stem(name) not in waiting:
            yield f"{name} is up and not declared"


def _lately_up(connection: Connection, sas: Sequence[IkeSa]) -> bool:
    return any(
        sa.name == connection["name"] and sa.established_seconds < RETIRED_SECONDS for sa in sas
    )


def _plane_problems(plugins: Sequence[str], data_plane: str) -> Iterator[str]:
    running = running_plane(plugins)
    if running != data_plane:
        yield f"the data plane is {running}, declared is {data_plane}"


def _sa_problems(sa: IkeSa, declared: Sequence[Connection]) -> Iterator[str]:
    connection = next((one for one in declared if one["name"] == sa.name), None)
    if connection is None or not sa.established:
        return
    profile = PROFILES[connection["crypto_profile"]]
    expected = f"{profile.encryption}/{profile.prf}/{profile.key_exchange}"
    if ike_suite(sa) != expected:
        yield f"{sa.name} negotiated {ike_suite(sa)}, agreed is {expected}"
    if profile.ppk != sa.ppk:
        yield f"{sa.name} runs {'with' if sa.ppk else 'without'} a postquantum preshared key"
    for child in sa.children:
        yield from _child_problems(sa.name, child, connection, profile)


def _child_problems(
    name: str, child: ChildSa, connection: Connection, profile: CryptoProfile
) -> Iterator[str]:
    where = f"{name}/{child.name}"
    if child.name not in connection["channels"]:
        yield f"{where} is installed and not declared"
        return
    config = connection["config"]["children"][child.name]
    expected = f"{profile.encryption}/{profile.key_exchange}"
    if child_suite(child) != expected:
        yield f"{where} negotiated {child_suite(child)}, agreed is {expected}"
    if child.esn != config["esp_proposals"][0].endswith("-esn"):
        yield f"{where} runs {'with' if child.esn else 'without'} extended sequence numbers"
    for ours, theirs, word in (
        (list(child.local_ts), config["local_ts"], "local"),
        (list(child.remote_ts), config["remote_ts"], "remote"),
    ):
        if ours != theirs:
            yield f"{where} carries {word} {', '.join(ours)}, agreed is {', '.join(theirs)}"
