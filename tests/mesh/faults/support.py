"""What the tests of faults share: the whole mesh at a glance, and questions asked meanwhile."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import permutations
from typing import Any

from testinfra.host import Host

from paranal.lab import faults
from paranal.lab.lab import Lab
from paranal.lab.relay import Impairment
from tests.mesh.conftest import MEMBERS
from tests.mesh.support import PERSON, POST, Views, in_part, list_sas, sas_with, spis

DISTANCE = Impairment(delay_ms=40)
WHOLE_SECONDS = 10.0
"""From the end of a fault until every pair carries traffic again (issue: within 10 s at 40 ms)."""
SINGLE_SECONDS = 40.0
"""Until superfluous SAs of both ends' efforts have gone: a turn or two of the heal timer."""
GIVEN_UP_SECONDS = 20.0
"""A silent peer is given up: 3 s to the next liveness check, 5.5 s of retransmissions, and room."""
WATCHED_SECONDS = 12.0
"""Longer than a turn of the heal timer and than a sequence of retransmissions."""
REASONS = {
    "cipher": "NO_PROPOSAL_CHOSEN",
    "dh": "NO_PROPOSAL_CHOSEN",
    "ml-kem": "NO_PROPOSAL_CHOSEN",
    "prf": "NO_PROPOSAL_CHOSEN",
    "transcript": "AUTHENTICATION_FAILED|authentication of .* failed|AUTH_FAILED",
    "version": "INVALID_MAJOR_VERSION|INVALID_SYNTAX|no IKE config found|ignored",
}
"""Downgrade -> what one of the two charons says of it."""
CHILDREN = ["operational", "strategic"]
Sas = dict[str, list[dict[str, Any]]]
Asked = list[dict[str, Any]]


def every_sa(nodes: dict[str, Host]) -> Sas:
    """Return each node's IKE_SAs, asked side by side; a charon that is not there holds none."""

    def held(node: Host) -> list[dict[str, Any]]:
        return list_sas(node) if node.run("swanctl --version --daemon").rc == 0 else []

    with ThreadPoolExecutor(len(nodes)) as pool:
        return dict(zip(nodes, pool.map(held, nodes.values()), strict=True))


def between(sas: Sas, one: str, other: str) -> list[dict[str, Any]]:
    """Return the IKE_SAs that ``one`` holds with ``other``, in whatever state."""
    return [sa for sa in sas[one] if sa["name"].startswith(f"{one}-{other}-")]


def carries(sa: dict[str, Any]) -> bool:
    """Tell whether an IKE_SA is established and carries both channels."""
    children = {child["name"] for child in _children(sa)}
    return sa["state"] == "ESTABLISHED" and children >= set(CHILDREN)


def whole(nodes: dict[str, Host]) -> bool:
    """Tell whether both ends of every pair hold an IKE_SA with both channels."""
    sas = every_sa(nodes)
    return all(any(map(carries, between(sas, *pair))) for pair in permutations(nodes, 2))


def odd(nodes: dict[str, Host]) -> dict[str, list[str]]:
    """Return what is not exactly one IKE_SA with one CHILD_SA of each channel, by end of a pair."""
    sas, found = every_sa(nodes), {}
    for one, other in permutations(nodes, 2):
        held = between(sas, one, other)
        told = [f"{sa['state']} {sorted(child['name'] for child in _children(sa))}" for sa in held]
        if told != [f"ESTABLISHED {CHILDREN}"]:
            found[f"{one}-{other}"] = told
    return found


def until(true: Callable[[], bool], seconds: float) -> float | None:
    """Return after how many seconds something became true, None when it did not in time."""
    begun = time.monotonic()
    while not true():
        if time.monotonic() - begun > seconds:
            return None
        time.sleep(0.2)
    return time.monotonic() - begun


def healed(lab: Lab, nodes: dict[str, Host], bound: float = WHOLE_SECONDS) -> float:
    """Mend the lines, 40 ms apart, and return the seconds until the mesh was whole again."""
    faults.clear(lab)
    faults.impair(lab, DISTANCE)
    seconds = until(lambda: whole(nodes), bound)
    assert seconds is not None, odd(nodes)
    return seconds


def kept(nodes: dict[str, Host], pairs: Sequence[tuple[str, str]]) -> dict[str, dict[str, str]]:
    """Return the SPIs of some pairs: what a fault does not touch keeps them."""
    return {f"{one}-{other}": spis(nodes[one], other) for one, other in pairs}


def pairs_without(*members: str) -> list[tuple[str, str]]:
    """Return every pair that none of the members is in."""
    left = [code for code in MEMBERS if code not in members]
    return [(one, other) for one, other in permutations(left, 2) if one < other]


def ask_for(
    lab: Lab,
    views: Views,
    asker: str,
    to: Sequence[str],
    seconds: float,
    **other: Any,  # noqa: ANN401
) -> Asked:
    """Ask from a border over and over for so many seconds; return every answer (``asking.py``)."""
    own = views[asker]["member"]
    question = {"to": list(to), "officer": "t-1", "purpose": "border_entry", "person": PERSON}
    where = {"address": own["addresses"]["national"], "port": 7440}
    named = {"server_name": f"n.{own['domain']}", "credentials": POST, "body": question}
    given = {**where, **named, "seconds": seconds, "pause": 0.1, **other}
    answers: Asked = in_part(lab, f"{asker}-border", "asking", **given)
    assert answers
    return answers


@contextmanager
def asking(
    lab: Lab, views: Views, asker: str, to: Sequence[str], seconds: float
) -> Iterator[Future[Asked]]:
    """Ask over and over while the block runs; its result is there once the seconds are over."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(ask_for, lab, views, asker, to, seconds)


def not_ok(answers: Asked) -> Asked:
    """Return the exchanges that were not answered OK."""
    return [one for one in answers if one["outcome"] != "OK"]


def charon(node: Host) -> dict[str, Any]:
    """Return charon's process: ``pid``, ``started`` (clock ticks since boot) and ``rss_kib``."""
    pid = int(node.check_output("systemctl show --value --property=MainPID strongswan.service"))
    stat = node.check_output("cat /proc/%s/stat", str(pid)).rpartition(")")[2].split()
    status = node.check_output("cat /proc/%s/status", str(pid)).splitlines()
    rss = next(line.split()[1] for line in status if line.startswith("VmRSS:"))
    return {"pid": pid, "started": int(stat[19]), "rss_kib": int(rss)}


def half_open(nodes: dict[str, Host], one: str) -> int:
    """Return how many IKE_SAs of a node are not established yet."""
    return sum(sa["state"] == "CONNECTING" for sa in list_sas(nodes[one]))


def at_once(*acts: Callable[[], object]) -> None:
    """Do things side by side; raise what the first that fails raises."""
    with ThreadPoolExecutor(len(acts)) as pool:
        for done in [pool.submit(act) for act in acts]:
            done.result()


def edited_in_vain(lab: Lab, nodes: dict[str, Host], what: str) -> None:
    """Have a man in the middle edit what Colombia asks Peru: no SA comes about, and all else stays.

    Afterwards the lines are mended and the pair is back.
    """
    others = [pair for pair in pairs_without() if pair != ("co", "pe")]
    tunnels = kept(nodes, others)
    faults.downgrade(lab, what)
    (name,) = {sa["name"] for sa in sas_with(nodes["co"], "pe")}
    nodes["co"].run("swanctl --terminate --ike %s --force --timeout 3", name)

    def established() -> bool:
        sas = every_sa(nodes)
        ends = between(sas, "co", "pe") + between(sas, "pe", "co")
        return any(sa["state"] == "ESTABLISHED" for sa in ends)

    assert until(lambda: not established(), 10) is not None
    assert until(established, WATCHED_SECONDS) is None, "an SA came about that was tampered with"
    assert faults.present(lab)["caught"][f"downgrade {what}"] > 0, "he edited what he is there for"
    assert kept(nodes, others) == tunnels
    journals = [
        nodes[one].run("journalctl -u strongswan --since=-40s -o cat | grep -E %s", REASONS[what])
        for one in ("co", "pe")
    ]
    assert any(journal.rc == 0 for journal in journals), "the reason is named"
    # A refusal is final for charon: the timer asks again.
    healed(lab, nodes, WATCHED_SECONDS)


def attack_ended(lab: Lab, seconds: float) -> dict[str, int]:
    """Wait for the end of an attack and return what it counted."""
    assert until(lambda: faults.attacked(lab)["ended"], seconds) is not None, json.dumps(  # type: ignore[index] # an attack was started
        faults.attacked(lab)
    )
    found = faults.attacked(lab)
    assert found is not None
    counted: dict[str, int] = found["counted"]
    return counted


def _children(sa: dict[str, Any]) -> list[dict[str, Any]]:
    return [child for child in sa["child-sas"].values() if child["state"] == "INSTALLED"]
