"""Every way in which the relief of an authority can interleave and be cut short, enumerated.

Peru's authority is relieved while its peers run their own applies whenever they like and the
agreement moves on whenever its members sign it, also too early. Every run is killed at every point,
by the controller's death or the gateway's. What a run decides it decides by
``paranal.pki.rollover``, as the playbook does; what a gateway does is modelled here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from paranal.messages import Refusal
from paranal.pki import rollover
from paranal.pki.rollover import Generation
from tests.unit.pki.test_rotation_model import can_all_end

OLD, NEW = "old", "new"
HERE = [Generation(Path(root), root, root) for root in (OLD, NEW)]
EPOCHS = (frozenset({OLD}), frozenset({OLD, NEW}), frozenset({NEW}))
"""The roots that each epoch of the agreement names."""


@dataclass(frozen=True)
class Peer:
    """A peer's gateway: the roots in its files, in the connections' file, and in charon."""

    files: frozenset[str] = EPOCHS[0]
    conf: frozenset[str] = EPOCHS[0]
    pinned: frozenset[str] = EPOCHS[0]
    chain: str = OLD
    """The root of the leaf that its live IKE_SA with us was made with."""
    target: frozenset[str] | None = None
    """What the run at work wants, once it has been let in."""


@dataclass(frozen=True)
class Alliance:
    """The agreement's epoch, all peers, and our own gateway with its leaf in files and charon."""

    epoch: int
    peers: tuple[Peer, ...]
    files: str = OLD
    held: str = OLD
    again: frozenset[int] = frozenset()
    """Peers whose IKE_SA must authenticate anew, written down before the first does."""
    running: bool = False
    kills: int = 0

    def having(self, number: int, **changes: object) -> Alliance:
        peers = list(self.peers)
        peers[number] = replace(peers[number], **changes)  # type: ignore[arg-type]
        return replace(self, peers=tuple(peers))

    def authenticated(self, number: int) -> Alliance:
        """Return what a peer's IKE_SA made anew leads to: refused, it stays as it is."""
        accepted = self.held in self.peers[number].pinned
        return self.having(number, chain=self.held) if accepted else self


def wanted_leaf(alliance: Alliance) -> str | None:
    """Ask the code that the playbook asks; each peer says what it trusts, also within its run."""
    lacking = [
        str(number)
        for number, peer in enumerate(alliance.peers)
        if NEW not in peer.conf & peer.pinned & peer.files
    ]
    agreed = EPOCHS[alliance.epoch]
    try:
        return rollover.in_use(HERE, agreed, {alliance.files}, True, lambda _: lacking).root
    except Refusal:
        return None


def let_in(alliance: Alliance, peer: Peer) -> bool:
    try:
        rollover.refuse_removal("pe", EPOCHS[alliance.epoch], peer.files, {"pe": [peer.chain]})
    except Refusal:
        return False
    return True


def peer_steps(alliance: Alliance, number: int) -> Iterator[Alliance]:
    """Yield what a peer's next step leads to; what is new comes before what is old goes."""
    it = alliance.peers[number]
    if it.target is None:
        agreed = EPOCHS[alliance.epoch]
        if not it.files == it.conf == it.pinned == agreed and let_in(alliance, it):
            yield alliance.having(number, target=agreed)
        return
    if not it.target <= it.files:
        yield alliance.having(number, files=it.files | it.target)
    elif it.pinned != it.target:
        yield alliance.having(number, pinned=it.target)
    elif it.conf != it.target:
        yield alliance.having(number, conf=it.target)
    elif it.files != it.target:
        yield alliance.having(number, files=it.target)
    else:
        yield alliance.having(number, target=None)
    if alliance.kills:
        dead = replace(alliance, kills=alliance.kills - 1).having(number, target=None)
        yield dead
        yield dead.having(number, pinned=it.conf).authenticated(number)


def owner_steps(alliance: Alliance) -> Iterator[Alliance]:
    """Yield what our own next step leads to."""
    leaf = wanted_leaf(alliance)
    if not alliance.running:
        due = {leaf or alliance.files, alliance.held} != {alliance.files}
        if due or alliance.again:
            yield replace(alliance, running=True)
        return
    if leaf is not None and leaf != alliance.files:
        yield replace(alliance, files=leaf)
    elif alliance.held != alliance.files:
        everybody = frozenset(range(len(alliance.peers)))
        yield replace(alliance, held=alliance.files, again=everybody)
    elif alliance.again:
        number = min(alliance.again)
        yield replace(alliance.authenticated(number), again=alliance.again - {number})
    else:
        yield replace(alliance, running=False)
    if alliance.kills:
        dead = replace(alliance, kills=alliance.kills - 1, running=False)
        yield dead
        booted = replace(dead, held=dead.files, again=frozenset())
        for number in range(len(alliance.peers)):
            booted = booted.authenticated(number)
        yield booted


def done(alliance: Alliance) -> bool:
    """Say whether the relief is over, everywhere."""
    after = Peer(*EPOCHS[2:] * 3, chain=NEW)
    at_rest = not alliance.running and not alliance.again
    return at_rest and alliance.held == NEW and set(alliance.peers) == {after}


def following(alliance: Alliance) -> Iterator[Alliance]:
    if alliance.epoch + 1 < len(EPOCHS):
        yield replace(alliance, epoch=alliance.epoch + 1)
    elif not done(alliance):  # signed too early: the members name both roots again
        yield replace(alliance, epoch=1)
    yield from owner_steps(alliance)
    for number in range(len(alliance.peers)):
        yield from peer_steps(alliance, number)


def check(alliance: Alliance) -> None:
    """What holds at every moment: whatever restarts or authenticates anew, no pair goes down."""
    for peer in alliance.peers:
        assert peer.conf <= peer.files, "a charon that starts finds a root without its file"
        for pins in (peer.pinned, peer.conf):
            assert {alliance.files, alliance.held} <= pins, "a pair is down"


def walk(size: int, kills: int) -> dict[Alliance, list[Alliance]]:
    """Return every reachable state with what follows it; each one is checked."""
    start = Alliance(0, (Peer(),) * size, kills=kills)
    found: dict[Alliance, list[Alliance]] = {}
    queue = deque([start])
    while queue:
        alliance = queue.popleft()
        if alliance in found:
            continue
        check(alliance)
        found[alliance] = list(following(alliance))
        queue.extend(found[alliance])
    return found


@pytest.mark.req("B5")
@pytest.mark.parametrize(("size", "kills"), [(1, 3), (2, 2), (3, 0)])
def test_no_pair_goes_down_and_a_rerun_completes_wherever_a_relief_is_cut_short(
    size: int, kills: int
) -> None:
    found = walk(size, kills)
    ends = [alliance for alliance, successors in found.items() if not successors]
    assert ends
    assert all(end.epoch == 2 and end.files == NEW and done(end) for end in ends)
    assert can_all_end(found)


@pytest.mark.parametrize("unguarded", ["in_use", "refuse_removal"])
def test_without_either_refusal_a_pair_goes_down(
    monkeypatch: pytest.MonkeyPatch, unguarded: str
) -> None:
    """The control: the model sees what the two refusals are there for."""
    let = {"in_use": lambda *given: HERE[-1], "refuse_removal": lambda *given: None}[unguarded]
    monkeypatch.setattr(rollover, unguarded, let)
    with pytest.raises(AssertionError, match="a pair is down"):
        walk(1, 0)
