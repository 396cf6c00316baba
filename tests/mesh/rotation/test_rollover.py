"""Peru's authority is relieved under load: no query is lost, and nothing is trusted or gone early.

Faults F08 and F09. Every country's post asks all others 40 ms apart, while each node takes its part
in turn; the run is killed with the new authority on two of four nodes and run again. Then once more
with a gateway's power cut wherever a run has one thing done and the next not: what is between a new
leaf's files and charon is cut by F04 in ``test_crash``, of the same run.
"""

from __future__ import annotations

import copy
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

from paranal.lab import names
from paranal.lab.bench_rotate import asking
from paranal.lab.home import ROOT
from paranal.lab.lab import Lab
from paranal.lab.playbook import play
from paranal.messages import Refusal
from paranal.pki.authority import CertificateAuthority
from paranal.pki.certificates import authority_stem, fingerprint
from paranal.pki.rollover import directories
from paranal.pki.storage import ensure_passphrase
from tests.mesh.rotation.support import (
    RATE,
    STAGES,
    STATE,
    cut_power_when,
    kill_when,
    wait_for,
)
from tests.mesh.runs import begin
from tests.mesh.support import eventually, every_spi, sas_with, tunnels_up

pytestmark = [pytest.mark.req("B5"), pytest.mark.usefixtures("far_apart")]
PEERS = ["cl", "co", "mx"]
FOLLOWED_SECONDS = 60
PLAYBOOK = "rollover_ca"
ISSUE = (PLAYBOOK, "--limit", "pe", "--extra-vars", "pki_issue_next=true")
TOLD_SECONDS = 90
"""Each node looks once a minute at what it trusts."""

CONTROL = "paranal-control.socket paranal-control.service"
DAEMONS = "systemctl show --value --property=ActiveEnterTimestamp strongswan haproxy"
LEAVES = "/var/lib/paranal/node/leaves.json"
CONNECTIONS = "/etc/swanctl/conf.d/paranal.conf"
ANCHORS = "/etc/swanctl/x509ca"
REPORT = ROOT / ".build" / "reports" / "rollover.json"


def _ca(lab: Lab, stem: str) -> Path:
    return lab.home.folder / "ca" / stem


def _relieved(lab: Lab) -> tuple[str, str, list[str]]:
    """Found Peru's next authority and publish it; return both file stems, both roots' digests."""
    elder = CertificateAuthority(directories(_ca(lab, "pe"))[-1])
    stem = authority_stem("pe", elder.generation + 1)
    passphrase = ensure_passphrase(_ca(lab, f"{stem}.passphrase"))
    made = CertificateAuthority.create(
        _ca(lab, stem), "pe", elder.domain, passphrase, generation=elder.generation + 1
    )
    made.publish(lab.home.agreement.parent)
    return elder.directory.name, stem, [fingerprint(one.root) for one in (elder, made)]


def _declare(lab: Lab, roots: list[str]) -> None:
    document = copy.deepcopy(lab.agreement().document)
    document["members"]["pe"]["roots"] = roots
    lab.declare(document)
    assert lab.agreement().document["members"]["pe"]["roots"] == roots


def _enrol(lab: Lab, stem: str) -> dict[str, Any]:
    """Have Peru's post trust what is agreed, its leaf from one generation of the authority."""
    words = [sys.executable, "-m", "paranal", "pki", "post", "--json", "--post", "post-1"]
    words += ["--directory", str(_ca(lab, stem)), "--agreement", str(lab.home.agreement)]
    words += ["--passphrase-file", str(_ca(lab, f"{stem}.passphrase"))]
    words += ["--via", shlex.join(lab.command(names.border("pe"), []))]
    done = subprocess.run(words, capture_output=True, check=True)  # noqa: S603 - our own command
    enrolled: dict[str, Any] = json.loads(done.stdout)
    return enrolled


def _pinned(node: Host) -> set[str]:
    """Return the roots of Peru that a peer's connections name."""
    text = node.check_output("cat %s", CONNECTIONS)
    lines = [line for line in text.splitlines() if "cacerts" in line and "pe-" in line]
    return {name.strip(' "') for line in lines for name in line.partition("=")[2].split(",")}


def _killed_with_two_of_four(lab: Lab) -> None:
    """Begin on all nodes, one after the other, and end the controller when the third is begun."""
    begun = begin(lab, PLAYBOOK)
    # A shell that looks without a pause takes one core of those that the load needs.
    kill_when(begun, lambda: wait_for(lab, "mx", f"test -e {STATE}/lock", "sleep 0.2"))


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    """What was asked and lost, by part."""
    return {}


@contextmanager
def _lossless(
    lab: Lab,
    figures: dict[str, Any],
    part: str,
    among: Sequence[str] = (),
) -> Iterator[None]:
    """Ask from every post meanwhile; afterwards every question was answered in time."""
    begun = time.monotonic()
    with asking(lab, RATE, among) as ended:
        yield
        asked = ended()
    lost = [each for each in asked if ":" in each[2]]
    seconds = round(time.monotonic() - begun, 1)
    figures[part] = {"asked": len(asked), "lost": len(lost), "seconds": seconds}
    figures[part]["first_lost"] = [f"{at - asked[0][0]:.1f} s: {why}" for at, _, why in lost[:30]]
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    assert lost == []
    assert len(asked) > 100


def _serves(nodes: dict[str, Host]) -> bool:
    return tunnels_up(nodes["pe"], PEERS)


def _settled(nodes: dict[str, Host], roots: set[str]) -> bool:
    """Tell whether every peer names exactly these roots, no elder generation beside."""
    return all(_pinned(nodes[peer]) == roots for peer in PEERS) and _serves(nodes)


def test_an_authority_is_relieved_under_load_killed_on_two_of_four_and_run_again(
    lab: Lab, nodes: dict[str, Host], figures: dict[str, Any]
) -> None:
    elder, heir, roots = _relieved(lab)
    old, new = f"{elder}-root.pem", f"{heir}-root.pem"
    started = {code: node.check_output(DAEMONS) for code, node in nodes.items()}
    _declare(lab, roots)
    _enrol(lab, elder)
    with _lossless(lab, figures, "trusted and issued"):
        _killed_with_two_of_four(lab)
        assert [new in _pinned(nodes[peer]) for peer in PEERS] == [True, True, False]
        assert _serves(nodes)
        assert eventually(lambda: _trusting(nodes["pe"], roots[1]) == {"cl", "co"}, TOLD_SECONDS)
        with pytest.raises(Refusal, match=r"PAR-0450[^;]* mx;"):
            play(lab, *ISSUE)
        play(lab, PLAYBOOK)
        assert eventually(lambda: _settled(nodes, {old, new}), FOLLOWED_SECONDS)
        assert eventually(lambda: _trusting(nodes["pe"], roots[1]) == set(PEERS), TOLD_SECONDS)
        _refused_too_early(lab, nodes, roots)
        _refused_in_silence(lab, nodes)
        play(lab, *ISSUE)
        assert eventually(lambda: _serves(nodes), FOLLOWED_SECONDS)
    assert _enrol(lab, heir)["issued"], "the post's leaf is of the new authority"
    _declare(lab, roots[1:])
    _refused_while_a_leaf_is_left(lab, nodes, elder, heir)
    with _lossless(lab, figures, "removed"):
        play(lab, PLAYBOOK)
        assert eventually(lambda: _settled(nodes, {new}), FOLLOWED_SECONDS)
    assert set(play(lab, PLAYBOOK).changed.values()) == {0}
    for node in nodes.values():
        assert not node.file(f"/etc/swanctl/x509ca/{old}").exists
        assert len(node.check_output("grep BEGIN /etc/haproxy/paranal/pe-ca.pem").split("\n")) == 2
    assert {code: node.check_output(DAEMONS) for code, node in nodes.items()} == started
    assert all(len(sas_with(nodes["pe"], peer)) == 1 for peer in PEERS)


def _refused_too_early(lab: Lab, nodes: dict[str, Host], both: list[str]) -> None:
    """F09: every peer refuses to lose the old root while a tunnel chains to it."""
    files = "find /etc/swanctl /etc/haproxy /etc/paranal -type f | sort | xargs sha256sum"
    _declare(lab, both[1:])
    for peer in PEERS:
        before = nodes[peer].check_output(files), every_spi(nodes[peer])
        with pytest.raises(Refusal, match="PAR-0451"):
            play(lab, PLAYBOOK, "--limit", peer)
        after = nodes[peer].check_output(files), every_spi(nodes[peer])
        assert without_view(after[0]) == without_view(before[0])
        assert after[1] == before[1]
    _declare(lab, both)


def _trusting(node: Host, root: str) -> set[str]:
    """Return the peers that say, over control, that they trust a root of Peru where they run."""
    told = json.loads(node.run("paranal control parity --json").stdout)["pairs"].values()
    theirs = [one["theirs"] for one in told if one["theirs"]]
    return {one["member"] for one in theirs if root in one["trusts"]}


def _refused_in_silence(lab: Lab, nodes: dict[str, Host]) -> None:
    """One peer does not answer: nobody knows, and the new authority does not issue."""
    nodes["mx"].check_output(f"systemctl stop {CONTROL}")
    try:
        with pytest.raises(Refusal, match=r"PAR-0478[^,]* mx,"):
            play(lab, *ISSUE)
    finally:
        nodes["mx"].check_output(f"systemctl start {CONTROL}")
    assert eventually(lambda: len(_answering(nodes["pe"])) == len(PEERS), TOLD_SECONDS)


def _refused_while_a_leaf_is_left(lab: Lab, nodes: dict[str, Host], elder: str, heir: str) -> None:
    """Every tunnel is of the new root: the owner says that a TLS leaf is not, then nothing."""
    owner, peer = nodes["pe"], nodes["cl"]
    assert eventually(lambda: _leaves_of(peer) == [_issuing(lab, heir)], TOLD_SECONDS)
    memory = owner.check_output("cat %s", LEAVES)
    planted = json.loads(memory)
    planted["leaves"]["operational"]["issuer_sha256"] = _issuing(lab, elder)
    _write(owner, LEAVES, json.dumps(planted))
    try:
        owner.check_output("systemctl start paranal-crl.service")
        with pytest.raises(Refusal, match=r"PAR-0453.* de pe"):
            play(lab, PLAYBOOK, "--limit", "cl")
        owner.check_output(f"systemctl stop {CONTROL}")
        with pytest.raises(Refusal, match=r"PAR-0454.* de pe"):
            play(lab, PLAYBOOK, "--limit", "cl")
    finally:
        _write(owner, LEAVES, memory)
        owner.check_output(f"systemctl start {CONTROL} paranal-crl.service")
    assert _leaves_of(peer) == [_issuing(lab, heir)]


def _issuing(lab: Lab, stem: str) -> str:
    return fingerprint(CertificateAuthority(_ca(lab, stem)).issuing)


def _leaves_of(peer: Host) -> list[str]:
    """Return the issuing CAs of whose leaves Peru says that it uses."""
    told = json.loads(peer.run("paranal control parity pe --json").stdout)["pairs"]
    return [each for one in told.values() if one["theirs"] for each in one["theirs"]["issuers"]]


def _write(node: Host, path: str, text: str) -> None:
    """Replace a file's content; owner and mode stay."""
    node.check_output("printf %%s %s > %s", text, path)


def _answering(node: Host) -> list[str]:
    told = json.loads(node.run("paranal control parity --json").stdout)["pairs"]
    return [name for name, one in told.items() if one["theirs"]]


def without_view(digests: str) -> list[str]:
    return [line for line in digests.splitlines() if not line.endswith("/view.json")]


def test_a_gateway_that_dies_at_a_stage_disturbs_no_other_and_the_next_run_finishes(
    lab: Lab, nodes: dict[str, Host], figures: dict[str, Any]
) -> None:
    """A peer dies while it begins to trust and while it ceases to, the owner while it issues."""
    elder, heir, roots = _relieved(lab)
    old, new = f"{elder}-root.pem", f"{heir}-root.pem"
    _declare(lab, roots)
    _enrol(lab, elder)
    play(lab, PLAYBOOK, "--limit", "cl,co")
    with _lossless(lab, figures, "a peer dies trusting", ["cl", "co", "pe"]):
        _dies(lab, nodes, "mx", f"test -e {ANCHORS}/{new}")
        _dies(lab, nodes, "mx", f"grep -q {new} {CONNECTIONS}")
        play(lab, PLAYBOOK, "--limit", "mx,pe")
        assert eventually(lambda: _settled(nodes, {old, new}), FOLLOWED_SECONDS)
    assert eventually(lambda: _trusting(nodes["pe"], roots[1]) == set(PEERS), TOLD_SECONDS)
    with _lossless(lab, figures, "the owner dies issuing", PEERS):
        _dies(lab, nodes, "pe", STAGES["F02-requested"], *ISSUE[3:])
        _dies(lab, nodes, "pe", STAGES["F05-reauthenticating"], *ISSUE[3:])
        play(lab, PLAYBOOK, "--limit", "pe")
        assert eventually(lambda: _settled(nodes, {old, new}), FOLLOWED_SECONDS)
    assert _enrol(lab, heir)["issued"], "the post's leaf is of the new authority"
    _declare(lab, roots[1:])
    wanted = [_issuing(lab, heir)]
    assert eventually(
        lambda: all(_leaves_of(nodes[peer]) == wanted for peer in PEERS), TOLD_SECONDS
    )
    with _lossless(lab, figures, "a peer dies removing", ["cl", "co", "pe"]):
        _dies(lab, nodes, "mx", f"! grep -q {old} {CONNECTIONS}")
        _dies(lab, nodes, "mx", f"! test -e {ANCHORS}/{old}")
        play(lab, PLAYBOOK)
        assert eventually(lambda: _settled(nodes, {new}), FOLLOWED_SECONDS)
    assert set(play(lab, PLAYBOOK).changed.values()) == {0}
    assert not any(node.file(f"{ANCHORS}/{old}").exists for node in nodes.values())


def _dies(lab: Lab, nodes: dict[str, Host], member: str, sign: str, *options: str) -> None:
    """Cut a gateway's power once a run there shows a sign; it comes back with every pair up."""
    assert nodes[member].run(sign).rc != 0, "the sign was there before the run"
    nodes[member] = cut_power_when(lab, member, sign, PLAYBOOK, *options)
    others = [code for code in nodes if code != member]
    assert eventually(lambda: tunnels_up(nodes[member], others), FOLLOWED_SECONDS)
