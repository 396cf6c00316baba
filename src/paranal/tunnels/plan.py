"""What has to happen so that charon holds exactly the declared connections: a pure decision."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from paranal.agreement.connections import Connection
from paranal.tunnels.charon import IkeSa
from paranal.tunnels.record import Declared, Record

_OWN_NAME = re.compile(r"(?P<stem>[a-z]{2}-[a-z]{2})-(?P<kind>line|g[0-9a-f]{8})\Z")


@dataclass(frozen=True)
class Step:
    """One thing done to one connection, in the house's words."""

    name: str
    peer: str
    action: str
    """``add``, ``change``, ``credentials`` or ``remove``."""
    reason: str


@dataclass
class Plan:
    """Everything one run will do, in the order of its fields."""

    steps: list[Step] = field(default_factory=list)
    credentials: list[str] = field(default_factory=list)
    """Files that charon has to read anew."""
    load: list[str] = field(default_factory=list)
    """Declared connections to load."""
    keep: list[str] = field(default_factory=list)
    """Superseded generations that serve until the peer follows."""
    narrow: dict[str, list[str]] = field(default_factory=dict)
    """Of those, the ones that lose a channel at once, and the channels that stay."""
    unload: list[str] = field(default_factory=list)
    """Connections that go at once."""
    end_ike: list[str] = field(default_factory=list)
    """IKE_SAs (charon's numbers) that nothing declares any more."""
    end_children: list[str] = field(default_factory=list)
    """CHILD_SAs (charon's numbers) of a channel that was closed."""
    reauthenticate: list[str] = field(default_factory=list)
    """IKE_SAs (charon's numbers) whose credentials changed at either end."""
    file_edited: bool = False
    """The swanctl file is not what we wrote."""

    @property
    def changes(self) -> bool:
        """Tell whether anything would be done."""
        return bool(self.steps or self.credentials or self.file_edited)


def make_plan(
    declared: Sequence[Declared],
    loaded: Mapping[str, Sequence[str]],
    sure: frozenset[str],
    record: Record,
    sas: Sequence[IkeSa],
    stale: Sequence[str],
) -> Plan:
    """Compare what is declared with what charon holds.

    ``loaded`` gives the CHILD names of every loaded connection, ``sure`` the names whose content
    is proved, ``stale`` the credential files charon has not read yet.
    """
    plan = Plan(credentials=list(stale))
    wanted = {entry["connection"]["name"]: entry for entry in declared}
    by_stem = {entry["connection"]["stem"]: entry["connection"] for entry in declared}
    for entry in declared:
        _plan_declared(plan, entry, loaded, sure, record, sas)
    for name in sorted(loaded.keys() - wanted.keys()):
        _plan_other(plan, name, by_stem, loaded, sure, record, sas)
    standing = wanted.keys() | set(plan.keep)
    for sa in sas:
        _plan_sa(plan, sa, standing, by_stem)
    _plan_credentials(plan, declared, sas, stale)
    return plan


def take_up(plan: Plan, sas: Sequence[IkeSa], unfinished: Sequence[str]) -> None:
    """Add to the plan the reauthentications that an earlier run wrote down and did not see done.

    ``unfinished`` are numbers of the charon that runs: after a restart every IKE_SA is a new one.
    """
    for sa in sas:
        known = {*plan.reauthenticate, *plan.end_ike}
        if sa.unique_id not in unfinished or sa.unique_id in known or not sa.established:
            continue
        plan.reauthenticate.append(sa.unique_id)
        if not any(step.name == sa.name for step in plan.steps):
            peer = stem(sa.name).partition("-")[2]
            plan.steps.append(Step(sa.name, peer, "credentials", "reauthentication cut short"))


def reauthentications(
    declared: Sequence[Declared], sas: Sequence[IkeSa], stale: Sequence[str]
) -> list[str]:
    """Return the IKE_SAs that must authenticate anew because the files ``stale`` changed."""
    names = {entry["connection"]["name"] for entry in declared if _concerned(entry, stale)}
    return [sa.unique_id for sa in sas if sa.name in names and sa.established and sa.children]


def stem(name: str) -> str:
    """Return ``pe-co`` of ``pe-co-g1a2b3c4d`` or ``pe-co-line``; empty for a name not ours."""
    match = _OWN_NAME.match(name)
    return match["stem"] if match else ""


def replaces(connection: Connection, sas: Sequence[IkeSa]) -> bool:
    """Tell whether a new generation carries all that its elder carries, so that this can go.

    A channel that only the new generation has may still wait for the peer; traffic that the elder
    carries may not.
    """
    mine = [sa for sa in sas if sa.name == connection["name"] and sa.established]
    elders = [
        sa for sa in sas if stem(sa.name) == connection["stem"] and sa.name != connection["name"]
    ]
    carried = frozenset().union(*(sa.installed() for sa in elders)) & set(connection["channels"])
    needed = carried or frozenset(connection["channels"])
    return any(needed <= sa.installed() for sa in mine)


def _plan_declared(
    plan: Plan,
    entry: Declared,
    loaded: Mapping[str, Sequence[str]],
    sure: frozenset[str],
    record: Record,
    sas: Sequence[IkeSa],
) -> None:
    connection = entry["connection"]
    name, peer = connection["name"], connection["peer"]
    held = record.held.get(name)
    if name in sure and held and held["connection"]["config"] != connection["config"]:
        # An elder that had lost a channel is declared again: it gets the channel back in place.
        plan.load.append(name)
        plan.steps.append(Step(name, peer, "change", "declared again"))
    elif name in sure and held and held["text"] == entry["text"]:
        return
    elif name in sure:
        # Only the comment differs (a new telephone number): charon need not know.
        plan.steps.append(Step(name, peer, "change", "comment only"))
    elif name in loaded:
        # No generation can stand beside its own name: it is ended and begun again.
        plan.load.append(name)
        plan.end_ike += [sa.unique_id for sa in sas if sa.name == name]
        plan.steps.append(Step(name, peer, "change", "charon holds it with other content"))
    else:
        elders = [other for other in loaded if stem(other) == connection["stem"]]
        serving = [other for other in elders if not other.endswith("-line")]
        beside = bool(serving) and not connection["line"]
        plan.load.append(name)
        reason = f"beside {', '.join(sorted(serving))}" if beside else "not loaded"
        plan.steps.append(Step(name, peer, "change" if beside else "add", reason))


def _plan_other(
    plan: Plan,
    name: str,
    by_stem: Mapping[str, Connection],
    loaded: Mapping[str, Sequence[str]],
    sure: frozenset[str],
    record: Record,
    sas: Sequence[IkeSa],
) -> None:
    """Decide on a loaded connection that is not declared: keep it for a while, or end it."""
    heir = by_stem.get(stem(name))
    peer = heir["peer"] if heir else ""
    if heir is None or heir["line"] or name.endswith("-line") or name not in sure:
        plan.unload.append(name)
        plan.steps.append(Step(name, peer, "remove", "not declared"))
        return
    if name in record.superseded and heir["name"] not in loaded:
        # Two ends may be one agreement apart, not two: only the last elder can still be agreed on.
        plan.unload.append(name)
        plan.steps.append(Step(name, peer, "remove", "superseded twice"))
        return
    closed = sorted(set(loaded[name]) - set(heir["channels"]))
    if closed:
        # Narrowing waits for nobody: the elder loses the closed channel now, and what is open goes
        # on over it until the heir is up.
        plan.steps.append(Step(name, peer, "remove", f"closed: {', '.join(closed)}"))
        plan.narrow[name] = sorted(set(loaded[name]) - set(closed))
        plan.end_children += [
            child.unique_id
            for sa in sas
            if sa.name == name
            for child in sa.children
            if child.name in closed
        ]
    plan.keep.append(name)


def _plan_sa(plan: Plan, sa: IkeSa, standing: set[str], by_stem: Mapping[str, Connection]) -> None:
    """End an IKE_SA whose connection is not declared, unless its heir is not up yet."""
    heir = by_stem.get(stem(sa.name))
    waits = heir is not None and not heir["line"] and not sa.name.endswith("-line")
    if sa.name in standing or waits:
        return
    plan.end_ike.append(sa.unique_id)
    if not any(step.name == sa.name for step in plan.steps):
        peer = heir["peer"] if heir else ""
        plan.steps.append(Step(sa.name, peer, "remove", "its IKE_SA is not declared"))


def _plan_credentials(
    plan: Plan, declared: Sequence[Declared], sas: Sequence[IkeSa], stale: Sequence[str]
) -> None:
    """Reauthenticate the pairs whose own or peer's credentials changed.

    Our leaf and our CA concern every pair, a peer's CA and CRLs the pair with it. Our own CRLs
    concern nobody here: the peers judge by them.
    """
    plan.reauthenticate += reauthentications(declared, sas, stale)
    for entry in declared:
        reasons, name = _concerned(entry, stale), entry["connection"]["name"]
        if reasons and not any(step.name == name for step in plan.steps):
            step = Step(name, entry["connection"]["peer"], "credentials", ", ".join(reasons))
            plan.steps.append(step)


def _concerned(entry: Declared, stale: Sequence[str]) -> list[str]:
    """Return which of the files ``stale`` a connection authenticates with."""
    own, peer = entry["connection"]["stem"].split("-")
    ours, theirs = ("x509/", f"x509ca/{own}-"), (f"x509ca/{peer}-", f"x509crl/{peer}-")
    return [path for path in stale if path.startswith(ours + theirs)]
