"""Every way in which rotations can interleave and be cut short, enumerated on a small alliance.

A country runs its own rotation, whenever it likes: all interleavings of all runs, each killed at
every point, by the controller's death or the gateway's, are walked through breadth first. What a
run decides it decides by ``paranal.pki.rotation`` and ``renewal``, as the playbook does; what a
gateway does is modelled here: its files, what charon holds, and each pair's IKE_SA.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import TypeVar

import pytest

from paranal.pki.renewal import Leaf, reason_to_issue
from paranal.pki.rotation import STAGES, wants_issue, wants_proof

State = TypeVar("State")
ASKED = datetime(2026, 11, 25, 8, tzinfo=UTC)
LEAF = Leaf("ike", "ike", ("gw.pe.paranal.example",), "/k", "/c")
LIFE = timedelta(days=90)


@dataclass(frozen=True)
class Gateway:
    """A node and the run at work on it."""

    files: int
    """Serial of the pair in the files: what a started charon reads."""
    held: int
    """Serial of the key that charon signs with now."""
    stage: str = "retired"
    serial: int = 0
    """What the rotation under way installs, once its certificate has come."""
    key_waits: bool = False
    again: frozenset[str] = frozenset()
    """Peers whose IKE_SA must authenticate anew: written down before the first one does."""
    running: bool = False
    certificate: int = 0
    """Signed, and still on the controller alone: gone with it."""


@dataclass(frozen=True)
class Alliance:
    """All gateways, the IKE_SA of each pair as the two serials it stands on, and the register."""

    gateways: tuple[tuple[str, Gateway], ...]
    pairs: tuple[tuple[tuple[str, str], tuple[int, int]], ...]
    issued: tuple[int, ...]
    kills: int

    def __getitem__(self, name: str) -> Gateway:
        return dict(self.gateways)[name]

    def having(self, name: str, **changes: object) -> Alliance:
        changed = {**dict(self.gateways)}
        changed[name] = replace(changed[name], **changes)  # type: ignore[arg-type]
        return replace(self, gateways=tuple(sorted(changed.items())))

    def authenticated(self, name: str, *peers: str) -> Alliance:
        """Return the alliance after ``name`` and some peers made their IKE_SAs anew."""
        pairs = dict(self.pairs)
        for pair in pairs:
            if name in pair and (set(pair) - {name}) & set(peers):
                pairs[pair] = (self[pair[0]].held, self[pair[1]].held)
        return replace(self, pairs=tuple(sorted(pairs.items())))

    def peers_of(self, name: str) -> frozenset[str]:
        return frozenset(other for pair, _ in self.pairs if name in pair for other in pair) - {name}


def held_as_probed(gateway: Gateway, first: int) -> dict[str, object]:
    """Return what the probe tells of a leaf; the first ones are older than the rotation."""
    start = ASKED + (timedelta(hours=-48) if gateway.files <= first else timedelta(hours=1))
    place = {"key": LEAF.key, "certificate": LEAF.certificate, "chain": False, "altered": []}
    dates = {"not_before": start.isoformat(), "not_after": (start + LIFE).isoformat()}
    made = {"names": list(LEAF.names), "profile": "ike", "issuer_sha256": "i"}
    return {**place, **dates, **made, "serial": f"{gateway.files:x}", "files": {"/k": {}}}


def wanted(gateway: Gateway, first: int) -> bool:
    """Ask the code that the playbook asks whether a new leaf is to be issued."""
    rotation = None if gateway.stage == "retired" else {"stage": gateway.stage}
    held = held_as_probed(gateway, first)
    now = ASKED + timedelta(hours=2)
    return bool(reason_to_issue(LEAF, held, "i", (), 0.33, now, rotation, ASKED))


def advanced(alliance: Alliance, name: str, first: int) -> Alliance:
    """Return the alliance after the next effect of the run at work on ``name``."""
    it = alliance[name]
    if it.certificate:
        if it.stage == "requested":
            return alliance.having(name, stage="issued", serial=it.certificate)
        return alliance.having(
            name, stage="installed", files=it.serial, key_waits=False, certificate=0
        )
    if it.stage == "requested" and it.key_waits and it.serial == -1:
        serial = len(alliance.issued) + 1
        signed = replace(alliance, issued=(*alliance.issued, serial))
        return signed.having(name, certificate=serial)
    if wanted(it, first):
        return alliance.having(name, stage="requested", key_waits=True, serial=-1)
    if it.held != it.files:  # a fresh charon needs no reauthentication: it holds its files
        return alliance.having(name, held=it.files, again=alliance.peers_of(name))
    if it.stage == "installed":
        return alliance.having(name, stage="loaded")
    if it.again:
        peer = min(it.again)
        return alliance.authenticated(name, peer).having(name, again=it.again - {peer})
    if it.stage == "loaded":
        return alliance.having(name, stage="proven")
    if wants_proof({"stage": it.stage}):
        return alliance.having(name, stage="retired", serial=0)
    return alliance.having(name, running=False)


def killed(alliance: Alliance, name: str) -> Iterator[Alliance]:
    """Yield the alliance after the controller died, and after the gateway did."""
    it = alliance[name]
    serial = 0 if it.serial == -1 else it.serial
    dead = replace(alliance, kills=alliance.kills - 1).having(
        name, running=False, certificate=0, serial=serial
    )
    yield dead
    booted = dead.having(name, held=it.files, again=frozenset())
    yield booted.authenticated(name, *alliance.peers_of(name))


def following(alliance: Alliance, first: int) -> Iterator[Alliance]:
    for name, gateway in alliance.gateways:
        if gateway.running:
            yield advanced(alliance, name, first)
            if alliance.kills:
                yield from killed(alliance, name)
        elif not finished(gateway, first):
            yield alliance.having(name, running=True)


def finished(gateway: Gateway, first: int) -> bool:
    return gateway.stage == "retired" and not wanted(gateway, first)


def check(alliance: Alliance) -> None:
    """What holds at every moment: the mesh serves, and no serial is there twice."""
    assert len(set(alliance.issued)) == len(alliance.issued)
    for pair, standing in alliance.pairs:
        for end, serial in zip(pair, standing, strict=True):
            gateway = alliance[end]
            assert serial in alliance.issued, "an IKE_SA stands on no leaf of the authority"
            # What this end would send now is there with its key, before and after a restart.
            assert {gateway.files, gateway.held} <= set(alliance.issued)
    for _, gateway in alliance.gateways:
        if gateway.stage == "retired" and not gateway.running:
            assert not gateway.key_waits, "an orphan key is left"


@pytest.mark.req("D3")
@pytest.mark.parametrize(("size", "kills"), [(2, 3), (3, 0)])
def test_every_interleaving_of_every_rotation_killed_anywhere_completes(
    size: int, kills: int
) -> None:
    names = ["cl", "co", "mx", "pe"][:size]
    first = size
    gateways = tuple((name, Gateway(n, n)) for n, name in enumerate(names, 1))
    held = {name: gateway.held for name, gateway in gateways}
    pairs = tuple(((a, b), (held[a], held[b])) for a, b in combinations(names, 2))
    start = Alliance(gateways, pairs, tuple(held.values()), kills)
    seen, ends, queue, before = {start}, 0, deque([start]), {}
    while queue:
        alliance = queue.popleft()
        check(alliance)
        successors = list(following(alliance, first))
        before[alliance] = successors
        for successor in successors:
            if successor not in seen:
                seen.add(successor)
                queue.append(successor)
        if not successors:
            ends += 1
            for pair, standing in alliance.pairs:
                assert standing == tuple(alliance[end].files for end in pair), "an old leaf serves"
            for _, gateway in alliance.gateways:
                assert gateway.files == gateway.held > first
    assert ends
    assert can_all_end(before)
    assert {gateway.stage for one in seen for _, gateway in one.gateways} == set(STAGES)


def can_all_end(before: dict[State, list[State]]) -> bool:
    """Say whether from every state there is a way to an end: a rerun completes, wherever."""
    backwards: dict[State, list[State]] = {}
    for state, successors in before.items():
        for successor in successors:
            backwards.setdefault(successor, []).append(state)
    reached = {state for state, successors in before.items() if not successors}
    queue = deque(reached)
    while queue:
        for state in backwards.get(queue.popleft(), ()):
            if state not in reached:
                reached.add(state)
                queue.append(state)
    return len(reached) == len(before)


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_has_one_thing_to_do_next(stage: str) -> None:
    rotation = {"stage": stage}
    expected = {"retired": 0}.get(stage, 1)
    assert wants_issue(rotation) + wants_proof(rotation) == expected
