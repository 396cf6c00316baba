"""Bring charon to the declared connections, one pair at a time undisturbed by the others.

The order is the contract: everything new is loaded before anything old goes; a load that fails
puts file and daemon back as they were; a closed channel waits for nobody; a superseded generation
goes only when its heir carries what it carried.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from paranal.agreement.connections import Connection, to_swanctl, to_vici
from paranal.messages import Refusal
from paranal.tunnels.charon import CharonError, IkeSa, Start
from paranal.tunnels.plan import Plan, make_plan, replaces, stem
from paranal.tunnels.record import (
    Declared,
    Held,
    Paths,
    Record,
    credentials,
    file_intact,
    observed,
    proved,
    read_record,
    stale_credentials,
)

ASK_AGAIN_SECONDS = 1.0
"""A refused CHILD_SA is final for charon: the initiator asks again, no faster than this."""

RENEW_EVERY = 3
"""After so many times of asking in vain the IKE_SA itself is renewed; see ``renew``."""


class Daemon(Protocol):
    """What this module needs of ``Charon``."""

    def started(self) -> Start: ...  # noqa: D102 - see Charon
    def connections(self) -> dict[str, dict[str, Any]]: ...  # noqa: D102
    def ike_sas(self) -> list[IkeSa]: ...  # noqa: D102
    def load(self, message: Mapping[str, Any]) -> None: ...  # noqa: D102
    def unload(self, name: str) -> None: ...  # noqa: D102
    def start(self, name: str, child: str | None = None) -> None: ...  # noqa: D102
    def end_ike(self, unique_id: str, seconds: int = 5) -> None: ...  # noqa: D102
    def end_child(self, unique_id: str, seconds: int = 5) -> None: ...  # noqa: D102
    def reauthenticate(self, unique_id: str) -> None: ...  # noqa: D102


@dataclass(frozen=True)
class Result:
    """What one run did: its plan, and by connection ``up``, ``loaded`` or ``waiting for peer``."""

    plan: Plan
    states: dict[str, str]
    file_before: str
    file_after: str


def survey(charon: Daemon, declared: Sequence[Declared], paths: Paths) -> tuple[Record, Plan]:
    """Read the record and the daemon, and decide; nothing is changed."""
    record, loaded, start = read_record(paths), charon.connections(), charon.started()
    current = credentials(paths)
    plan = make_plan(
        declared,
        {name: list(entry.get("children", {})) for name, entry in loaded.items()},
        proved(record, loaded, start, paths),
        record,
        charon.ike_sas(),
        stale_credentials(record, current, start, paths),
    )
    plan.file_edited = bool(record.held) and not file_intact(record, paths)
    return record, plan


def preview(charon: Daemon, declared: Sequence[Declared], paths: Paths) -> Result:
    """Say what ``reconcile`` would do, and do nothing; it refuses the same."""
    if not declared:
        raise Refusal("PAR-0701", where=str(paths.file))
    record, plan = survey(charon, declared, paths)
    after = _next_record(declared, record, plan)
    return Result(plan, _states(declared, charon.ike_sas()), _text(paths), after.text())


def reconcile(
    charon: Daemon,
    declared: Sequence[Declared],
    paths: Paths,
    *,
    wait_seconds: float,
    load_credentials: Callable[[], None],
) -> Result:
    """Make charon hold exactly ``declared``, and wait up to ``wait_seconds`` for what it starts.

    Raises ``Refusal`` PAR-0701 for an empty declaration, PAR-0702 when charon refuses to load
    (everything is as before then), PAR-0703 when it refuses the credentials.
    """
    if not declared:
        raise Refusal("PAR-0701", where=str(paths.file))
    record, plan = survey(charon, declared, paths)
    before = _text(paths)
    if not plan.changes:
        settle(charon, record, paths)
    else:
        if plan.credentials:
            _read_credentials(load_credentials)
        record = _load(charon, declared, record, plan, paths)
        _end(charon, plan)
        _wait(charon, declared, record, plan, paths, wait_seconds)
    return Result(plan, _states(declared, charon.ike_sas()), before, _text(paths))


def settle(charon: Daemon, record: Record, paths: Paths) -> list[str]:
    """Retire every superseded generation whose heir is up; return the names that went."""
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
    if gone:
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


def end_duplicates(charon: Daemon, wanted: Sequence[Connection]) -> list[str]:
    """End all but the newest complete IKE_SA of each connection we initiate; return their names.

    Two are left when both ends came up at once, or the responder reauthenticated. Only the
    initiator may end one: the peer only traps, so it does not start it again.
    """
    ended, sas = [], charon.ike_sas()
    for connection in wanted:
        whole = [
            sa
            for sa in sas
            if sa.name == connection["name"] and sa.installed() >= set(connection["channels"])
        ]
        for sa in whole[:-1] if connection["initiates"] else []:
            charon.end_ike(sa.unique_id)
            ended.append(sa.name)
    return ended


def missing(connection: Connection, sas: Sequence[IkeSa]) -> list[str]:
    """Return the channels of a connection that carry no traffic now."""
    mine = (sa.installed() for sa in sas if sa.name == connection["name"] and sa.established)
    there: frozenset[str] = frozenset().union(*mine)
    return [channel for channel in connection["channels"] if channel not in there]


def swanctl_load_credentials() -> None:
    """Have swanctl read every key, certificate and CRL into charon.

    Raises ``CharonError`` with the first line of what swanctl says.
    """
    done = subprocess.run(
        ["/usr/sbin/swanctl", "--load-creds", "--noprompt"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = (done.stderr + done.stdout).splitlines()
    if done.returncode != 0 or any("failed" in line for line in said):
        raise CharonError(next((line for line in said if "failed" in line), "swanctl failed"))


def _read_credentials(load: Callable[[], None]) -> None:
    try:
        load()
    except CharonError as error:
        raise Refusal("PAR-0703", reason=str(error)) from error


def _load(
    charon: Daemon, declared: Sequence[Declared], record: Record, plan: Plan, paths: Paths
) -> Record:
    """Load everything new and only then write file and record; or undo all of it and refuse."""
    wanted = {entry["connection"]["name"]: entry for entry in declared}
    after = _next_record(declared, record, plan)
    after.started, after.credentials = charon.started().identity, credentials(paths)
    failing = ""
    try:
        for name in plan.load:
            failing = name
            charon.load(to_vici(wanted[name]["connection"], paths.certificate))
        for name in touched(after, plan):
            failing = name
            if not after.held[name]["connection"]["initiates"]:
                charon.unload(name)
            charon.load(to_vici(after.held[name]["connection"], paths.certificate))
        shown_now = charon.connections()
        for name in plan.load + touched(after, plan):
            after.held[name]["observed"] = observed(shown_now[name])
        failing = str(paths.file)
        after.save(paths)
    except (CharonError, OSError) as error:
        _undo(charon, record, plan, paths)
        raise Refusal("PAR-0702", connection=failing, reason=str(error)) from error
    return after


def touched(record: Record, plan: Plan) -> list[str]:
    """Return the elders that must be loaded again beside their heirs.

    A responder's: of two equal candidates the one loaded first answers, and that must be the
    heir; unloading one that only traps leaves its SAs alone. An initiator's only where it loses a
    channel: charon then ends that CHILD_SA; to unload it would end them all.
    """
    return [
        name
        for name in plan.keep
        if name in plan.narrow or not record.held[name]["connection"]["initiates"]
    ]


def _narrowed(held: Held, channels: Sequence[str]) -> Held:
    """Return an elder without its closed channels; its name stays, for it is the same IKE_SA."""
    connection = held["connection"]
    children = {name: connection["config"]["children"][name] for name in channels}
    config = {**connection["config"], "children": children}
    less: Connection = {**connection, "channels": list(channels), "config": config}
    return {**held, "connection": less, "text": to_swanctl(less) + "\n"}


def _next_record(declared: Sequence[Declared], record: Record, plan: Plan) -> Record:
    """Return the record of the declared connections and of those kept beside them."""
    held = {name: record.held[name] for name in plan.keep}
    for name, channels in plan.narrow.items():
        held[name] = _narrowed(held[name], channels)
    for entry in declared:
        name = entry["connection"]["name"]
        shown = record.held[name]["observed"] if name in record.held else ""
        held[name] = {**entry, "observed": shown}
    return Record(held=held, superseded=sorted(plan.keep))


def _undo(charon: Daemon, record: Record, plan: Plan, paths: Paths) -> None:
    """Give charon back what it held before; the file was not touched yet."""
    loaded = charon.connections()
    for name in plan.load:
        if name in loaded and name not in record.held:
            charon.unload(name)
    for name in plan.load + touched(record, plan):
        if name in record.held:
            charon.load(to_vici(record.held[name]["connection"], paths.certificate))


def _end(charon: Daemon, plan: Plan) -> None:
    """End what is not declared, and have affected pairs authenticate anew."""
    for name in plan.unload:
        charon.unload(name)
    for unique_id in plan.end_children:
        charon.end_child(unique_id)
    for unique_id in plan.end_ike:
        charon.end_ike(unique_id)
    for unique_id in plan.reauthenticate:
        charon.reauthenticate(unique_id)


def _wait(
    charon: Daemon,
    declared: Sequence[Declared],
    record: Record,
    plan: Plan,
    paths: Paths,
    seconds: float,
) -> None:
    """Ask for what is missing and retire what is superseded, until all is done or time is up.

    Only what this run began and can bring about is waited for: the far end starts the rest, and
    a peer that is down must not slow every run.
    """
    begun = [
        entry["connection"]
        for entry in declared
        if entry["connection"]["name"] in plan.load and entry["connection"]["initiates"]
    ]
    now = time.monotonic()
    deadline, ask_at, asked = now + seconds, now + ASK_AGAIN_SECONDS, 0
    while time.monotonic() < deadline:
        settle(charon, record, paths)
        sas = charon.ike_sas()
        renewing = {sa.unique_id for sa in sas}.intersection(plan.reauthenticate)
        waiting = record.superseded or any(missing(one, sas) for one in begun)
        if not waiting and not renewing:
            return
        if time.monotonic() >= ask_at:
            asked += 1
            if asked % RENEW_EVERY:
                ask_again(charon, begun)
            else:
                renew(charon, begun, older_than=ASK_AGAIN_SECONDS)
            ask_at = time.monotonic() + ASK_AGAIN_SECONDS
        time.sleep(ASK_AGAIN_SECONDS / 4)
    if {sa.unique_id for sa in charon.ike_sas()}.intersection(plan.reauthenticate):
        # Not done: the next run must find these files unread and try again.
        for name in plan.credentials:
            record.credentials.pop(name, None)
        record.save(paths)


def _states(declared: Sequence[Declared], sas: Sequence[IkeSa]) -> dict[str, str]:
    states = {}
    for entry in declared:
        connection = entry["connection"]
        waiting = "waiting for peer" if missing(connection, sas) else "up"
        states[connection["name"]] = "loaded" if connection["line"] else waiting
    return states


def _text(paths: Paths) -> str:
    try:
        return paths.file.read_text(encoding="utf-8")
    except OSError:
        return ""
