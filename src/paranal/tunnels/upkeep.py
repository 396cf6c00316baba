"""What keeps tunnels up between two applies: ask again, renew, retire what is superseded.

The apply and the timer (``paranal tunnels heal``) both use it; each function does one turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from paranal.agreement.connections import Connection, foreign_starts
from paranal.tunnels import ppk
from paranal.tunnels.charon import INSTALLED, ChildSa, IkeSa, Start
from paranal.tunnels.plan import replaces, stem
from paranal.tunnels.record import Paths, Record, adopt

SETTLED_SECONDS = 20
"""After so long a peer that applied together with us has loaded its own new generation."""

BARE_SECONDS = 30
"""So long may a CHILD_SA of a foreign gateway carry traffic on keys of its IKE_SA's exchange."""


class Daemon(Protocol):
    """What this module needs of ``Charon``."""

    def started(self) -> Start: ...  # noqa: D102 - see Charon
    def keys(self) -> frozenset[str]: ...  # noqa: D102
    def connections(self) -> dict[str, dict[str, Any]]: ...  # noqa: D102
    def ike_sas(self) -> list[IkeSa]: ...  # noqa: D102
    def load(self, message: Mapping[str, Any]) -> None: ...  # noqa: D102
    def unload(self, name: str) -> None: ...  # noqa: D102
    def forget_ppk(self, name: str) -> None: ...  # noqa: D102
    def start(self, name: str, child: str | None = None) -> None: ...  # noqa: D102
    def end_ike(self, unique_id: str, seconds: int = 5) -> None: ...  # noqa: D102
    def end_child(self, unique_id: str, seconds: int = 5) -> None: ...  # noqa: D102
    def reauthenticate(self, unique_id: str) -> None: ...  # noqa: D102
    def renew_child(self, unique_id: str) -> None: ...  # noqa: D102


def settle(charon: Daemon, record: Record, paths: Paths) -> list[str]:
    """Retire every superseded generation whose heir is up; return the names that went.

    The preshared keys that nothing names any more go with them.
    """
    adopt(record, charon.started(), paths)
    sas, gone = charon.ike_sas(), []
    current = [held["connection"] for held in record.held.values()]
    heirs = [c for c in current if c["name"] not in record.superseded]
    for heir in heirs:
        if not replaces(heir, sas):
            continue
        for name in [n for n in record.superseded if stem(n) == heir["stem"]]:
            charon.unload(name)
            record.superseded.remove(name)
            del record.held[name]
            gone.append(name)
        for sa in sas:
            if stem(sa.name) == heir["stem"] and sa.name != heir["name"]:
                charon.end_ike(sa.unique_id)
                gone.append(sa.name)
    over = ppk.retire(paths, [held["connection"] for held in record.held.values()])
    for name in over:
        charon.forget_ppk(name)
        record.credentials.pop(f"{ppk.FOLDER}/{name}.conf", None)
    if gone or over:
        record.save(paths)
    return sorted(set(gone))


def ask_again(charon: Daemon, wanted: Sequence[Connection]) -> list[str]:
    """Start what is missing of the connections we initiate; return ``NAME/CHILD`` for each."""
    asked, sas = [], charon.ike_sas()
    for connection in wanted:
        mine = [sa for sa in sas if sa.name == connection["name"]]
        if not connection["initiates"] or any(sa.busy or not sa.established for sa in mine):
            continue
        there = frozenset().union(*({child.name for child in sa.children} for sa in mine))
        for channel in connection["channels"]:
            if channel not in there:
                charon.start(connection["name"], channel)
                asked.append(f"{connection['name']}/{channel}")
    return asked


def renew(charon: Daemon, wanted: Sequence[Connection], older_than: float) -> list[str]:
    """Renew the IKE_SAs, ``older_than`` seconds or more, whose peer refuses a child; return names.

    A peer judges by the configuration that it held when the IKE_SA was born. One that was born a
    moment before the peer's own apply would be refused for ever. What it carries goes on: only an
    IKE_SA that carries nothing is ended.
    """
    renewed, sas = [], charon.ike_sas()
    for connection in wanted:
        if not connection["initiates"] or not missing(connection, sas):
            continue
        for sa in sas:
            whole = sa.name == connection["name"] and sa.established and not sa.busy
            if not whole or sa.established_seconds < older_than:
                continue
            if sa.children:
                charon.reauthenticate(sa.unique_id)
            else:
                charon.end_ike(sa.unique_id)
            renewed.append(sa.name)
    return renewed


def renew_lately_changed(charon: Daemon, record: Record, paths: Paths) -> list[str]:
    """Renew, once, what we changed lately; return the names.

    A responder that was a moment slower than we bound our new IKE_SA to its old generation, and
    cannot let go of that one before we come anew.
    """
    adopt(record, charon.started(), paths)
    renewed = []
    for sa in charon.ike_sas():
        ready = sa.name in record.renew and sa.established and not sa.busy and sa.children
        if ready and sa.established_seconds >= SETTLED_SECONDS:
            charon.reauthenticate(sa.unique_id)
            record.renew.remove(sa.name)
            renewed.append(sa.name)
    if renewed:
        record.save(paths)
    return renewed


def give_own_exchange(charon: Daemon) -> list[str]:
    """Renew every CHILD_SA whose keys come from its IKE_SA alone; return ``NAME/CHILD`` for each.

    Only a foreign gateway makes such a one, in IKE_AUTH; this end renews it, whoever began. One
    that the peer does not let us renew is ended: no traffic rather than traffic without PFS.
    """
    done = []
    for sa in charon.ike_sas():
        for child in sa.children if sa.established and not sa.busy else ():
            if child.key_exchange or child.name not in sa.installed():
                continue
            if child.installed_seconds > BARE_SECONDS:
                charon.end_child(child.unique_id)
            else:
                charon.renew_child(child.unique_id)
            done.append(f"{sa.name}/{child.name}")
    return done


def end_duplicates(charon: Daemon, wanted: Sequence[Connection]) -> list[str]:
    """Leave one complete IKE_SA of each connection, the newest; return what was ended.

    Two are left when both ends came up at once, or the responder reauthenticated. One that lacks a
    channel is left when a packet at the responder was first (its trap asks for one channel), and a
    channel twice in one IKE_SA when both ends asked for it; those go once nothing is just coming
    up. Only the initiator may end them: the peer only traps, so it does not start them again. A
    foreign initiator has no such timer: there we end what our own trap began (ADR 0014).
    """
    ended, sas = [], charon.ike_sas()
    for connection in wanted:
        mine = [sa for sa in sas if sa.name == connection["name"]]
        whole = [sa for sa in mine if sa.installed() >= set(connection["channels"])]
        foreign = foreign_starts(connection)
        if not (connection["initiates"] or foreign) or not whole:
            continue
        lacking = [sa for sa in mine if sa not in whole and sa.established and _settled(sa)]
        over = [sa for sa in lacking if sa.initiator] if foreign else [*whole[:-1], *lacking]
        for sa in over:
            charon.end_ike(sa.unique_id)
            ended.append(sa.name)
        for child in _superfluous(whole[-1]) if _settled(whole[-1]) else []:
            charon.end_child(child.unique_id)
            ended.append(f"{connection['name']}/{child.name}")
    return ended


def _settled(sa: IkeSa) -> bool:
    return not sa.busy and sa.established_seconds >= SETTLED_SECONDS


def _superfluous(sa: IkeSa) -> list[ChildSa]:
    """Return all but the newest CHILD_SA of each channel; one being renewed is not a second one."""
    newest: dict[str, ChildSa] = {}
    found = []
    for child in sa.children:
        if child.state == INSTALLED:
            found += [newest[child.name]] if child.name in newest else []
            newest[child.name] = child
    return found


def end_left(charon: Daemon, held: Sequence[Connection]) -> list[str]:
    """End the IKE_SAs whose connection is neither held nor loaded any more; return their names.

    A peer that ends an IKE_SA at the moment at which we unload its connection has charon start it
    once more (``close_action``), and that one would pass traffic for hours. One whose heir does not
    carry what it carries yet stays.
    """
    names, loaded, sas = {one["name"] for one in held}, charon.connections(), charon.ike_sas()
    waiting = {one["stem"] for one in held if not one["line"] and missing(one, sas)}
    ended = []
    for sa in sas:
        if sa.name not in names and sa.name not in loaded and stem(sa.name) not in waiting:
            charon.end_ike(sa.unique_id)
            ended.append(sa.name)
    return ended


def missing(connection: Connection, sas: Sequence[IkeSa]) -> list[str]:
    """Return the channels of a connection that carry no traffic now."""
    mine = (sa.installed() for sa in sas if sa.name == connection["name"] and sa.established)
    there: frozenset[str] = frozenset().union(*mine)
    return [channel for channel in connection["channels"] if channel not in there]
