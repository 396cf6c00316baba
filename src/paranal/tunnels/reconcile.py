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

from paranal.agreement.connections import Connection, to_swanctl, to_vici
from paranal.messages import Refusal
from paranal.tunnels import ppk
from paranal.tunnels.charon import CharonError, IkeSa
from paranal.tunnels.plan import Plan, make_plan, reauthentications, stem, take_up
from paranal.tunnels.record import (
    Declared,
    Held,
    Paths,
    Record,
    credentials,
    edited,
    observed,
    proved,
    read_record,
    stale_credentials,
)
from paranal.tunnels.upkeep import Daemon, ask_again, end_left, missing, renew, settle

ASK_AGAIN_SECONDS = 1.0
"""A refused CHILD_SA is final for charon: the initiator asks again, no faster than this."""

RENEW_EVERY = 3
"""After so many times of asking in vain the IKE_SA itself is renewed; see ``renew``."""


SWANCTL = "/usr/sbin/swanctl"
SWANCTL_SECONDS = 60.0


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
    current, sas = credentials(paths), charon.ike_sas()
    plan = make_plan(
        declared,
        {name: list(entry.get("children", {})) for name, entry in loaded.items()},
        proved(record, loaded, start, paths),
        record,
        sas,
        stale_credentials(record, current, start, paths),
    )
    take_up(plan, sas, record.reauthenticate if record.started == start.identity else [])
    plan.file_edited = edited(record, paths)
    return record, plan


def preview(
    charon: Daemon, declared: Sequence[Declared], paths: Paths, keys: Mapping[str, str]
) -> Result:
    """Say what ``reconcile`` would do, and do nothing; it refuses the same."""
    if not declared:
        raise Refusal("PAR-0701", where=str(paths.file))
    record, plan = survey(charon, declared, paths)
    plan.credentials += [f"{ppk.FOLDER}/{name}.conf" for name in ppk.due(paths, keys)]
    after = _next_record(declared, record, plan)
    return Result(plan, _states(declared, charon.ike_sas()), _text(paths), after.text())


def reconcile(
    charon: Daemon,
    declared: Sequence[Declared],
    paths: Paths,
    keys: Mapping[str, str],
    *,
    wait_seconds: float,
    load_credentials: Callable[[], None],
) -> Result:
    """Make charon hold exactly ``declared``, and wait up to ``wait_seconds`` for what it starts.

    ``keys`` are the preshared keys that it names, in hexadecimal digits: loaded before anything
    names them, and removed when nothing that is held does.
    Raises ``Refusal`` PAR-0701 for an empty declaration, PAR-0702 when charon refuses to load
    (everything is as before then), PAR-0703 when it refuses the credentials.
    """
    if not declared:
        raise Refusal("PAR-0701", where=str(paths.file))
    ppk.deliver(paths, keys)
    record, plan = survey(charon, declared, paths)
    before = _text(paths)
    if not plan.changes:
        settle(charon, record, paths)
    else:
        if plan.credentials:
            _read_credentials(load_credentials)
            # Also what came up while they were read may have sent the old leaf.
            begun = reauthentications(declared, charon.ike_sas(), plan.credentials)
            plan.reauthenticate += sorted(set(begun) - set(plan.reauthenticate))
        record = _load(charon, declared, record, plan, paths)
        _end(charon, plan)
        end_left(charon, _held(record))
        _wait(charon, declared, record, plan, paths, wait_seconds)
    return Result(plan, _states(declared, charon.ike_sas()), before, _text(paths))


def swanctl_load_credentials() -> None:
    """Have swanctl read every key, certificate and CRL into charon.

    Raises ``CharonError`` with the first line of what swanctl says, or why it says nothing.
    """
    _swanctl("--load-creds", "--noprompt")
    # Charon goes on with its copy of a list that it checked a peer with, while that one is valid.
    _swanctl("--flush-certs", "--type", "x509_crl")


def _swanctl(*options: str) -> None:
    try:
        done = subprocess.run(  # noqa: S603 - our own words
            [SWANCTL, *options],
            capture_output=True,
            text=True,
            timeout=SWANCTL_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CharonError(str(error)) from error
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
    after, elders = _next_record(declared, record, plan), _elders(declared, record, plan)
    after.started, after.credentials = charon.started().identity, credentials(paths)
    # Durable before the first of them begins: a run that dies here leaves them to the next.
    after.reauthenticate = sorted(set(plan.reauthenticate))
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
        _undo(charon, {**record.held, **elders}, record, plan, paths)
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


def _repinned(held: Held, heir: Connection | None) -> Held:
    """Return an elder without the peer's roots that its heir no longer pins: their files are gone.

    It must not keep a withdrawn root alive, and a charon that starts must be able to load it.
    """
    connection = held["connection"]
    remote = connection["config"]["remote"]
    wanted = heir["config"]["remote"]["cacerts"] if heir else remote["cacerts"]
    left = [name for name in remote["cacerts"] if name in wanted] or wanted
    if left == remote["cacerts"]:
        return held
    config = {**connection["config"], "remote": {**remote, "cacerts": list(left)}}
    less: Connection = {**connection, "config": config}
    return {**held, "connection": less, "text": to_swanctl(less) + "\n"}


def _elders(declared: Sequence[Declared], record: Record, plan: Plan) -> dict[str, Held]:
    heirs = {entry["connection"]["stem"]: entry["connection"] for entry in declared}
    return {name: _repinned(record.held[name], heirs.get(stem(name))) for name in plan.keep}


def _next_record(declared: Sequence[Declared], record: Record, plan: Plan) -> Record:
    """Return the record of the declared connections and of those kept beside them."""
    held = _elders(declared, record, plan)
    for name, channels in plan.narrow.items():
        held[name] = _narrowed(held[name], channels)
    for entry in declared:
        name = entry["connection"]["name"]
        shown = record.held[name]["observed"] if name in record.held else ""
        held[name] = {**entry, "observed": shown}
    changed = {step.name for step in plan.steps if step.action == "change"}.intersection(plan.load)
    lately = changed.union(record.renew).intersection(held) - set(plan.keep)
    renew = sorted(name for name in lately if held[name]["connection"]["initiates"])
    return Record(held=held, superseded=sorted(plan.keep), renew=renew)


def _undo(
    charon: Daemon, before: Mapping[str, Held], record: Record, plan: Plan, paths: Paths
) -> None:
    """Give charon back what it held ``before``; the file was not touched yet.

    A root whose file is gone stays gone: an elder is there as ``_repinned`` has it.
    """
    loaded = charon.connections()
    for name in plan.load:
        if name in loaded and name not in record.held:
            charon.unload(name)
    for name in plan.load + touched(record, plan):
        if name in before:
            charon.load(to_vici(before[name]["connection"], paths.certificate))


def _end(charon: Daemon, plan: Plan) -> None:
    """End what is not declared, and have affected pairs authenticate anew."""
    for name in plan.unload:
        charon.unload(name)
    for unique_id in plan.end_children:
        charon.end_child(unique_id)
    for unique_id in plan.end_ike:
        charon.end_ike(unique_id)
    there = {sa.unique_id for sa in charon.ike_sas()}
    for unique_id in plan.reauthenticate:
        if unique_id in there:
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
        end_left(charon, _held(record))
        sas = charon.ike_sas()
        renewing = {sa.unique_id for sa in sas}.intersection(plan.reauthenticate)
        waiting = record.superseded or any(missing(one, sas) for one in begun)
        if not waiting and not renewing:
            break
        if time.monotonic() >= ask_at:
            asked += 1
            if asked % RENEW_EVERY:
                ask_again(charon, begun)
            else:
                renew(charon, begun, older_than=ASK_AGAIN_SECONDS)
            ask_at = time.monotonic() + ASK_AGAIN_SECONDS
        time.sleep(ASK_AGAIN_SECONDS / 4)
    _note_reauthenticated(charon, record, plan, paths)


def _note_reauthenticated(charon: Daemon, record: Record, plan: Plan, paths: Paths) -> None:
    """Write down which IKE_SAs still live on credentials that were replaced: none, if all is well.

    Where one does, the next run must find the files unread and try again.
    """
    there = {sa.unique_id for sa in charon.ike_sas()}
    left = sorted(there.intersection(record.reauthenticate))
    if left:
        for name in plan.credentials:
            record.credentials.pop(name, None)
    if record.reauthenticate:
        record.reauthenticate = left
        record.save(paths)


def signs_only_with(charon: Daemon, paths: Paths, key: str) -> str:
    """Return why an IKE_SA may stand on another key than ``key`` (as ``Charon.keys`` names it).

    Empty when none does: charon has read every file as it is now, holds that one key, and no IKE_SA
    is left that was to authenticate anew.
    """
    record, start = read_record(paths), charon.started()
    stale = stale_credentials(record, credentials(paths), start, paths)
    mine = [name for name in stale if name.startswith("x509/")]
    if mine:
        return f"charon has not read {mine[0]}"
    if charon.keys() != {key}:
        return f"charon holds other keys: {', '.join(sorted(charon.keys() - {key})) or 'none'}"
    old = record.reauthenticate if record.started == start.identity else []
    left = [sa.name for sa in charon.ike_sas() if sa.unique_id in old]
    return f"not reauthenticated: {', '.join(left)}" if left else ""


def _held(record: Record) -> list[Connection]:
    return [held["connection"] for held in record.held.values()]


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
