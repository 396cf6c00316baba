"""A live pair goes from one crypto profile to the next under traffic, 40 ms one way.

The two countries apply one after the other, as two countries do. No question is lost, at most one
packet for each renewal of the IKE_SA, and what was agreed before is over.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import pairwise

import pytest
from testinfra.host import Host

from paranal.agreement.crypto import PROFILES
from paranal.lab.home import ROOT
from paranal.lab.lab import Lab
from paranal.ppk.lab import ensure, store
from tests.mesh.faults.support import edited_in_vain, not_ok
from tests.mesh.flows import numbered
from tests.mesh.profiles.support import STEPS, Config, Step, configured, names_held, offered
from tests.mesh.profiles.traffic import questions
from tests.mesh.support import (
    Views,
    by_hand,
    eventually,
    every_spi,
    ike_suite,
    played,
    renewals,
    sas_with,
    spis,
)

ENDS = ("co", "pe")
REPORTS = ROOT / ".build" / "reports"
FOLDER = "/etc/swanctl/ppk"
WHERE = ("/etc", "/var/lib/paranal", "/var/log", "/run/log", "/home", "/root")
FOLLOWED_SECONDS = 60
"""A turn or two of the heal timer after the second country's apply, and one renewal."""
RENEWALS = 2
"""IKE_SAs made anew for each step: the new generation's, and its one renewal (ADR 0002)."""


@pytest.fixture
def steps(lab: Lab) -> Iterator[list[Step]]:
    """What the pair runs, one after the other; afterwards it is as the agreement had it."""
    before = lab.agreement().document
    yield STEPS[_suite(lab)]
    if lab.agreement().document != before:
        lab.declare(before)
        played(lab, "--limit", ",".join(ENDS))
    for code in ENDS:
        for name in store(lab.home.folder, code).names():
            store(lab.home.folder, code).drop(name)


def _suite(lab: Lab) -> str:
    suite: str = lab.facts()["members"]["co"]["suite"]
    return suite


def _declare(lab: Lab, step: Step) -> None:
    """Change the pair in the lab's agreement, and hold the ceremony where it needs one."""
    document = copy.deepcopy(lab.agreement().document)
    (pair,) = [one for one in document["pairs"] if one["members"] == list(ENDS)]
    pair.pop("ppk", None)
    pair["crypto_profile"] = step.profile
    if step.generation:
        pair["ppk"] = {"generation": step.generation}
    lab.declare(document)
    ensure(lab.home.folder, lab.agreement())


def _keys(lab: Lab, step: Step) -> dict[str, str]:
    """Return the key of a step by its name, none for a profile without one."""
    names = [f"co-pe-g{step.generation}"] if step.generation else []
    return {name: store(lab.home.folder, "co").key(name).hex() for name in names}


def _runs(node: Host, peer: str, profile: str) -> bool:
    """Tell whether one IKE_SA with the peer stands, of this profile, with both children."""
    sas, agreed = sas_with(node, peer), PROFILES[profile]
    if [sa["state"] for sa in sas] != ["ESTABLISHED"]:
        return False
    suite = ike_suite(sas[0]) == (agreed.encryption, agreed.prf, agreed.key_exchange)
    whole = sorted(child["name"] for child in sas[0]["child-sas"].values())
    keyed = sas[0].get("ppk") == "yes"
    return suite and keyed is agreed.ppk and whole == ["operational", "strategic"]


def _moved(nodes: dict[str, Host], profile: str, keys: Mapping[str, str]) -> bool:
    """Tell whether both ends run a profile, hold its key and nothing of what was before."""
    for code, peer in zip(ENDS, reversed(ENDS), strict=True):
        node = nodes[code]
        files = node.run(f"ls {FOLDER}").stdout.split()
        alone = len(names_held(node, peer)) == 1 and not renewals(node)
        if not (_runs(node, peer, profile) and alone and files == [f"{one}.conf" for one in keys]):
            return False
    return True


def _nowhere_but_in_its_file(lab: Lab, keys: Mapping[str, str], shown: str) -> None:
    for name, key in keys.items():
        assert key not in shown, "a run that shows everything shows no key"
        # Not over SSH: sudo would write the key that is looked for into the journal.
        for code in ENDS:
            found = lab.exec(code, "grep", "-rl", key, *WHERE, check=False).stdout.decode()
            assert found.split() == [f"{FOLDER}/{name}.conf"]
            mode = lab.exec(code, "stat", "--format=%U %a", f"{FOLDER}/{name}.conf")
            assert mode.stdout.split() == [b"root", b"600"]
            assert key not in lab.exec(code, "journalctl", "--since=-15min").stdout.decode()


def _heard(node: Host, said: str) -> int:
    """Return how often charon has said something so far."""
    journal = "journalctl --unit=strongswan --output=cat"
    return int(node.run(f"{journal} | grep --count --fixed-strings %s", said).stdout)


def _over(nodes: dict[str, Host], step: Step, elder: Config, keys: Mapping[str, str]) -> None:
    """Peru takes no more what it ran before, and (the control) takes what it runs now."""
    co, pe = nodes["co"], nodes["pe"]
    (name,) = names_held(co, "pe")
    with by_hand(co, "heal"), by_hand(pe, "heal"):
        before, heard = (every_spi(co), every_spi(pe)), _heard(nodes[step.by], step.said)
        with offered(co, "pe", elder, keys=keys) as probe:
            assert probe.refusal is not None
            assert probe.selectors == []
        assert _heard(nodes[step.by], step.said) > heard, "the reason is named"
        with offered(co, "pe", configured(co, name)) as probe:
            assert probe.refusal is None
        assert (every_spi(co), every_spi(pe)) == before


@pytest.mark.req("R6", "B4")
@pytest.mark.usefixtures("settled", "far_apart")
def test_a_live_pair_changes_its_profile_under_traffic_and_what_it_ran_before_is_refused(
    lab: Lab, nodes: dict[str, Host], views: Views, steps: list[Step]
) -> None:
    others = [("co", "cl"), ("co", "mx"), ("pe", "cl"), ("pe", "mx")]
    kept = [spis(nodes[one], other) for one, other in others]
    assert all(kept)
    figures: dict[str, dict[str, object]] = {}
    REPORTS.mkdir(parents=True, exist_ok=True)
    report = REPORTS / f"migration-{_suite(lab)}.json"
    for turn, (last, step) in enumerate(pairwise(steps)):
        (name,) = names_held(nodes["co"], "pe")
        elder, had = configured(nodes["co"], name), _keys(lab, last)
        old = spis(nodes["co"], "pe")
        with questions(lab, views) as asked, numbered(nodes, views) as counted:
            _declare(lab, step)
            keys = _keys(lab, step)
            shown = ""
            # The initiator of the pair first, the next time the responder.
            for code in ENDS if turn % 2 == 0 else reversed(ENDS):
                shown += played(lab, "--limit", code, "--diff", "-vvv")
            moved = eventually(partial(_moved, nodes, step.profile, keys), FOLLOWED_SECONDS)
            answers, (sent, lost) = asked(), counted()
        figures[f"{turn}: to {step.profile}"] = {
            "asked": len(answers),
            "sent": sent,
            "lost": lost,
        }
        report.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
        assert moved, [sas_with(nodes[code], peer) for code, peer in (ENDS, ENDS[::-1])]
        assert set(spis(nodes["co"], "pe").values()).isdisjoint(old.values())
        assert not_ok(answers) == []
        assert len(answers) > 20
        assert len(lost) <= RENEWALS
        _nowhere_but_in_its_file(lab, keys, shown)
        _over(nodes, step, elder, had)
        if step.profile == "hybrid":
            edited_in_vain(lab, nodes, "ml-kem")
    assert [spis(nodes[one], other) for one, other in others] == kept


@pytest.mark.usefixtures("settled", "far_apart")
def test_to_break_before_making_loses_packets(nodes: dict[str, Host], views: Views) -> None:
    """The control: what a step would look like, were it done the simple way."""
    (name,) = {sa["name"] for sa in sas_with(nodes["co"], "pe")}
    with by_hand(nodes["co"], "heal"), numbered(nodes, views) as counted:
        nodes["co"].check_output("swanctl --terminate --ike %s --timeout 5", name)
        # A packet meets the trap, which asks for the tunnel.
        assert eventually(lambda: "operational" in spis(nodes["co"], "pe"), FOLLOWED_SECONDS)
        _, lost = counted()
    assert len(lost) > RENEWALS
