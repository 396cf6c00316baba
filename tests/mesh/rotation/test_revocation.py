"""One country alone withdraws a leaf: refused by every peer in seconds, and nobody else notices.

Every two countries are 40 ms apart, one way. Seconds are counted from the moment at which the
country's authority wrote the revocation down.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import pytest
from testinfra.host import Host

from paranal.agreement import is_open, member_view
from paranal.lab import faults, people
from paranal.lab.home import ROOT
from paranal.lab.lab import Lab
from paranal.lab.playbook import play
from tests.mesh.conftest import AGREED, AGREEMENT
from tests.mesh.envelopes import ACCOUNTS as SIGNERS
from tests.mesh.envelopes import ANSWERER, opened, opened_until, signed
from tests.mesh.flows import background
from tests.mesh.lists import authority_of, brought, counts, next_list
from tests.mesh.support import (
    ASKER,
    PERSON,
    POST,
    Views,
    ask_from_border,
    connect,
    eventually,
    in_part,
    list_sas,
    on_node,
    played,
    sas_with,
    spis,
    tunnels_up,
)

pytestmark = [pytest.mark.req("B5"), pytest.mark.usefixtures("settled", "far_apart")]

REVOKED = "pe"
PEERS = [
    peer["code"]
    for peer in member_view(AGREED, REVOKED)["peers"]
    if is_open(peer["answers"]["control"])
]
AIM_SECONDS = 5.0
"""From the revocation to the refusal at the slowest peer, in the lab."""

BACK_SECONDS = 40.0
"""Until the initiators' timers have asked again, with a new leaf in place."""

WATCH_SECONDS = 90.0
CLEAN = people.DEMO_CLEAN_MRZ
CLAIM = "una consulta"
UNTOUCHED = list(zip(PEERS, [*PEERS[1:], PEERS[0]], strict=True))
"""Asker and answerer of the questions that go on meanwhile; none is the country that revokes."""


@pytest.fixture(scope="module")
def note() -> Iterator[Callable[[str, object], None]]:
    """Note a figure; all of them are kept beside the reports."""
    found: dict[str, object] = {}
    yield found.__setitem__
    report = ROOT / ".build" / "reports" / f"revocation-{AGREEMENT}.json"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


@pytest.fixture(autouse=True)
def given_back(lab: Lab, nodes: dict[str, Host]) -> Iterator[None]:
    """Begin with every pair up; whatever failed, the country has new leaves again afterwards."""
    assert eventually(partial(whole, nodes), BACK_SECONDS)
    yield
    if not whole(nodes):
        played(lab, "--limit", REVOKED)
        assert eventually(partial(whole, nodes), BACK_SECONDS)


@contextmanager
def questions(lab: Lab, views: Views) -> Iterator[Callable[[], dict[str, dict[str, Any]]]]:
    """Have posts of the other countries ask all the time; what is yielded ends it and counts."""
    stop = "/run/questions.stop"

    def asked(asker: str, answerer: str) -> dict[str, Any]:
        own = views[asker]["member"]
        question = {"to": [answerer], "officer": "t-1", "purpose": "border_entry", "person": PERSON}
        found: dict[str, Any] = in_part(
            lab,
            f"{asker}-border",
            "questions",
            address=own["addresses"]["national"],
            port=7440,
            server_name=f"n.{own['domain']}",
            credentials=POST,
            body=question,
            peer=answerer,
            at_once=1,
            stop=stop,
        )
        return found

    with ThreadPoolExecutor(len(UNTOUCHED)) as pool:
        for asker, _ in UNTOUCHED:
            lab.exec(f"{asker}-border", "rm", "--force", stop)
        running: dict[str, Future[dict[str, Any]]] = {
            f"{asker}>{answerer}": pool.submit(asked, asker, answerer)
            for asker, answerer in UNTOUCHED
        }

        def ended() -> dict[str, dict[str, Any]]:
            for asker, _ in UNTOUCHED:
                lab.exec(f"{asker}-border", "touch", stop)
            return {name: one.result() for name, one in running.items()}

        try:
            yield ended
        finally:
            ended()


def others(nodes: dict[str, Host]) -> dict[str, dict[str, str]]:
    """Return the SPIs of every tunnel that is not the revoking country's."""
    return {
        f"{one}-{other}": spis(nodes[one], other) for one in PEERS for other in PEERS if one < other
    }


def revoke(lab: Lab, *certificates: str) -> float:
    """Have Peru alone withdraw certificates; return when its list was signed."""
    asked = json.dumps(
        {"pki_revoke": list(certificates), "pki_revoke_before": "now", "revoke_replace": False}
    )
    play(lab, "revoke_certificate", "--limit", REVOKED, "--extra-vars", asked)
    return (authority_of(lab, REVOKED).directory / "issuing" / "crl.pem").stat().st_mtime


def serial_of(node: Host, path: str) -> str:
    shown: str = node.check_output("openssl x509 -noout -serial -in %s", path)
    return shown.partition("=")[2].strip().lower().lstrip("0")


def ended_at(node: Host, before: set[str], since: float) -> float:
    """Return when a node began to end its IKE_SA with the revoked gateway, by its own journal.

    Asking all the time would slow down what is measured.
    """

    def gone() -> bool:
        return not before & {sa["initiator-spi"] for sa in list_sas(node)}

    assert eventually(gone, WATCH_SECONDS), "an IKE_SA of the revoked gateway lives on"
    said = node.check_output("journalctl -u strongswan -o short-unix --since=@%s", f"{since:.0f}")
    times = [
        float(line.split()[0])
        for line in said.splitlines()
        if "deleting IKE_SA" in line and f"[gw.{REVOKED}." in line
    ]
    return min(one for one in times if one >= since)


def judged(
    what: str, counted: dict[str, dict[str, Any]], note: Callable[[str, object], None]
) -> None:
    """No question between the other countries was lost, and there were enough of them."""
    note(f"questions of others, {what}", {name: one["answered"] for name, one in counted.items()})
    assert {name: one["failed"] for name, one in counted.items()} == {name: [] for name in counted}
    assert all(one["answered"] > 50 for one in counted.values()), counted


def refused(node: Host, since: float) -> bool:
    """Tell whether a node's charon does not let the revoked gateway in, and says why."""
    (name, *_) = (
        name
        for name, _ in on_node(node, "charon", ask="connections")
        if REVOKED in name.split("-")[:2]
    )
    node.run("swanctl --initiate --ike %s --child operational --timeout 5", name)
    said = node.run("journalctl -u strongswan -o cat --since=@%s", f"{since:.0f}").stdout
    return "certificate was revoked" in said and not sas_established(node)


def sas_established(node: Host) -> list[str]:
    return [sa["name"] for sa in sas_with(node, REVOKED) if sa["state"] == "ESTABLISHED"]


def whole(nodes: dict[str, Host]) -> bool:
    return all(tunnels_up(nodes[code], [REVOKED]) for code in PEERS)


def test_the_tunnels_of_a_revoked_gateway_end_at_every_peer_and_no_others(
    lab: Lab, nodes: dict[str, Host], views: Views, note: Callable[[str, object], None]
) -> None:
    own = views[REVOKED]["member"]
    old = serial_of(nodes[REVOKED], "/etc/swanctl/x509/ike.pem")
    before, untouched = (
        {code: {sa["initiator-spi"] for sa in sas_with(nodes[code], REVOKED)} for code in PEERS},
        others(nodes),
    )
    assert all(before.values())
    begun = time.time()
    with questions(lab, views) as ended:
        revoked_at = revoke(lab, own["identities"]["ike"])
        seconds = {
            code: round(ended_at(nodes[code], before[code], revoked_at) - revoked_at, 2)
            for code in PEERS
        }
        note("seconds from the command to the revocation", round(revoked_at - begun, 2))
        note("seconds until the IKE_SA was gone", seconds)
        assert max(seconds.values()) < AIM_SECONDS
        for code in PEERS:
            assert refused(nodes[code], revoked_at), code
        played(lab, "--limit", REVOKED)
        assert serial_of(nodes[REVOKED], "/etc/swanctl/x509/ike.pem") != old
        assert eventually(partial(whole, nodes), BACK_SECONDS), "with a new leaf pairs are back"
        judged("tunnel", ended(), note)
    assert others(nodes) == untouched, "the other pairs keep their SPIs"
    assert ask_from_border(lab, REVOKED, PEERS, CLEAN)["outcome"] == "OK"


def test_the_same_revocation_by_name_again_withdraws_no_replacement(
    lab: Lab, nodes: dict[str, Host], views: Views
) -> None:
    pe, path = nodes[REVOKED], "/etc/swanctl/x509/ike.pem"
    old = serial_of(pe, path)
    named = pe.check_output("date --utc +%Y-%m-%dT%H:%M:%SZ")
    asked = {
        "pki_revoke": [views[REVOKED]["member"]["identities"]["ike"]],
        "pki_revoke_before": named,
    }
    words = ("revoke_certificate", "--limit", REVOKED, "--extra-vars", json.dumps(asked))
    assert play(lab, *words).changed[REVOKED] > 0
    replacement = serial_of(pe, path)
    assert replacement != old
    assert play(lab, *words).changed[REVOKED] == 0
    assert serial_of(pe, path) == replacement
    revoked = {one["serial"]: one["revoked"] for one in authority_of(lab, REVOKED).issued()}
    assert (revoked[old], revoked[replacement]) == ("key-compromise", None)
    assert eventually(partial(whole, nodes), BACK_SECONDS)


def answered_by_the_revoked(lab: Lab, asker: str) -> bool:
    line = ask_from_border(lab, asker, [REVOKED], CLEAN)["answers"][REVOKED]
    return line["answer"] in ("OK", "RQ", "ANT")


def _has(told: Callable[[], dict[str, Any] | None], key: str) -> bool:
    return key in (told() or {})


def test_a_revoked_client_is_cut_off_also_on_the_connection_that_it_kept(
    lab: Lab, nodes: dict[str, Host], views: Views, note: Callable[[str, object], None]
) -> None:
    own, pe = views[REVOKED]["member"], nodes[REVOKED]
    old = "/run/revoked.pem"
    pe.check_output("install --mode=0600 %s %s", ASKER, old)
    untouched, tunnels = others(nodes), {code: spis(nodes[code], REVOKED) for code in PEERS}
    with questions(lab, views) as ended, ExitStack() as stack:
        told = {
            code: stack.enter_context(
                background(
                    pe,
                    "kept",
                    f"/run/kept-{code}.json",
                    address=views[code]["member"]["addresses"]["operational"],
                    port=7443,
                    server_name=f"{REVOKED}.{views[code]['member']['identities']['operational']}",
                    source=own["addresses"]["operational"],
                    credentials=old,
                    body={"purpose": "border_entry", "person": PERSON},
                    seconds=WATCH_SECONDS,
                    pause=0.1,
                )
            )
            for code in PEERS
        }
        for code in PEERS:
            assert eventually(partial(_has, told[code], "answered"), 10), code
            assert answered_by_the_revoked(lab, code)
        # Its leaf as a client, and as a server the one that its peers keep connections to.
        revoked_at = revoke(lab, own["identities"]["operational"])
        for code in PEERS:
            assert eventually(partial(_has, told[code], "done"), 30), code
        found = {code: told[code]() for code in PEERS}
        seconds = {code: round(one["ended_at"] - revoked_at, 2) for code, one in found.items()}
        note("seconds until the kept connection was cut", seconds)
        assert 0 < min(seconds.values()) <= max(seconds.values()) < AIM_SECONDS
        assert {code: one["anew"] for code, one in found.items()} == dict.fromkeys(PEERS)
        assert not any(answered_by_the_revoked(lab, code) for code in PEERS)
        assert ask_from_border(lab, REVOKED, PEERS, CLEAN)["outcome"] == "INCOMPLETE"
        played(lab, "--limit", REVOKED)
        judged("client", ended(), note)
    pe.run("rm --force %s", old)
    assert others(nodes) == untouched
    # charon may have forgotten the tunnel's leaf, so it is asked for it; nobody is cut off by that.
    assert eventually(partial(whole, nodes), BACK_SECONDS)
    for code, before in tunnels.items():
        now = spis(nodes[code], REVOKED)
        assert now.keys() == before.keys()
        assert set(now.values()).isdisjoint(before.values())
    assert all(answered_by_the_revoked(lab, code) for code in PEERS)
    assert ask_from_border(lab, REVOKED, PEERS, CLEAN)["outcome"] == "OK"


def test_what_a_revoked_signer_signed_is_refused_at_every_peer_and_what_others_sign_is_not(
    lab: Lab, nodes: dict[str, Host], views: Views, note: Callable[[str, object], None]
) -> None:
    old = {file: signed(nodes[REVOKED], CLAIM, file) for file in SIGNERS}
    shown = {
        code: {
            **{file: (text, REVOKED) for file, text in old.items()},
            "another's": (signed(nodes[other], CLAIM), other),
        }
        for code, other in UNTOUCHED
    }
    begun = {code: opened(nodes[code], shown[code]) for code in PEERS}
    assert begun == {code: dict.fromkeys([*SIGNERS, "another's"], CLAIM) for code in PEERS}
    untouched = others(nodes)
    try:
        with ThreadPoolExecutor(len(PEERS)) as pool:
            watching = {
                code: pool.submit(opened_until, connect(lab, code), ANSWERER, shown[code])
                for code in PEERS
            }
            revoked_at = revoke(lab, views[REVOKED]["member"]["identities"]["signing"])
            found = {code: one.result() for code, one in watching.items()}
        seconds = {code: round(one["at"] - revoked_at, 2) for code, one in found.items()}
        note("seconds until a revoked signature was refused", seconds)
        assert 0 < min(seconds.values()) <= max(seconds.values()) < AIM_SECONDS
        gone = {**dict.fromkeys(SIGNERS, "PAR-0465"), "another's": CLAIM}
        assert {code: one["last"] for code, one in found.items()} == dict.fromkeys(PEERS, gone)
    finally:
        played(lab, "--limit", REVOKED)
    assert others(nodes) == untouched
    new = {file: (signed(nodes[REVOKED], CLAIM, file), REVOKED) for file in SIGNERS}
    for code in PEERS:
        assert opened(nodes[code], new) == dict.fromkeys(SIGNERS, CLAIM)
        assert opened(nodes[code], shown[code]) == gone


def test_a_list_goes_around_a_line_that_is_down(
    lab: Lab, nodes: dict[str, Host], note: Callable[[str, object], None]
) -> None:
    pe, mx = nodes["pe"], nodes["mx"]
    faults.partition(lab, ["pe"], ["mx"])
    try:
        _, text = next_list(lab, "pe")
        begun = time.time()
        done = pe.run("paranal control push --json %s", brought(pe, text))
        assert done.rc == 2
        told = json.loads(done.stdout)["told"]
        assert "PAR-0913" in told["mx"]
        assert {code: why for code, why in told.items() if code != "mx"} == dict.fromkeys(
            code for code in PEERS if code != "mx"
        )
        assert eventually(partial(counts, mx, "pe", text), 10)
        note("seconds around a line that is down, from the command", round(time.time() - begun, 2))
        journal = mx.check_output("journalctl --unit paranal-control --output cat --lines 30")
        (taken, *_) = [
            line
            for line in reversed(journal.splitlines())
            if '"list taken"' in line and '"source": "pe"' in line
        ]
        assert json.loads(taken)["member"] in PEERS
    finally:
        faults.clear(lab)
    assert eventually(partial(tunnels_up, mx, ["pe"]), 60)
