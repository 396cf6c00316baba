"""Another make of gateway, configured from the parameter sheet, at either end of a pair.

libreswan 5.2 of Debian 13 against our own charon, our own connection and settings: IKE and
certificates are for real. What a foreign end offers beside the agreement is refused or narrowed
(F39), whichever end begins.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from paranal.agreement import member_view
from paranal.lab.lab import Lab
from tests.foreign.ends import (
    FOREIGN,
    OURS,
    PLUTO_LOG,
    Ends,
    agreed,
    eventually,
    two_ends,
    unwire,
    wire,
)
from tests.service.nodes import Node

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces and containers need root")

SUITE = "AES_GCM_16-256/PRF_HMAC_SHA2_384/ECP_384"
CHILD_SUITE = "selected proposal: ESP:AES_GCM_16_256/ECP_384/NO_EXT_SEQ"
SELECTORS = {
    "co": ("10.51.{n}.1/32 === 10.57.{n}.1/32"),
    "pe": ("10.57.{n}.1/32 === 10.51.{n}.1/32"),
}
"""Foreign member -> the selectors of our end, ``{n}`` 1 operational, 2 strategic."""
Made = Callable[[str], Ends]


@pytest.fixture(scope="module")
def nodes() -> Iterator[dict[str, Node]]:
    """Both containers, with nothing started and no link."""
    with two_ends(str(os.getpid())) as made:
        yield made


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A lab's folder for each choice of the foreign member: agreement and authorities."""
    return {code: tmp_path_factory.mktemp(code) for code in ("co", "pe")}


@pytest.fixture
def made(nodes: dict[str, Node], folders: dict[str, Path]) -> Iterator[Made]:
    """Make the pair's two ends, one of the members being foreign; nothing is started."""
    ends: list[Ends] = []

    def make(foreign: str) -> Ends:
        folder = folders[foreign] / ".lab" / "ends"
        folder.mkdir(parents=True, exist_ok=True)
        agreement = agreed(foreign, folder)
        ours = "pe" if foreign == "co" else "co"
        views = {OURS: member_view(agreement, ours), FOREIGN: member_view(agreement, foreign)}
        members = {end: view["member"] for end, view in views.items()}
        wire(
            nodes,
            {
                end: [
                    member["wan_address"],
                    *(member["addresses"][channel] for channel in ("operational", "strategic")),
                ]
                for end, member in members.items()
            },
        )
        lab = Lab("ends", folders[foreign])
        ends.append(Ends(folder, agreement, nodes[OURS], nodes[FOREIGN], ours, foreign, lab))
        return ends[0]

    yield make
    for each in ends:
        each.stop()
        unwire(nodes)


@pytest.mark.req("R6", "B4")
@pytest.mark.parametrize("foreign", ["co", "pe"], ids=["it begins", "we begin"])
def test_the_pair_comes_up_with_what_was_agreed_and_nothing_else(made: Made, foreign: str) -> None:
    ends = made(foreign)
    if foreign == "pe":  # whoever answers is there first
        ends.start_foreign()
        ends.start_ours()
    else:
        ends.start_ours()
        ends.start_foreign()
    wanted = {SELECTORS[foreign].format(n=number) for number in (1, 2)}
    assert eventually(lambda: SUITE in ends.sas())
    if foreign == "co":
        assert eventually(lambda: set(established_children(ends)) == wanted)
        assert CHILD_SUITE in ends.said()
    else:
        assert "parsed IKE_AUTH response 1 [ IDr CERT" in ends.said()
        # Without ESP in the host's kernel it agrees, tries to install, and only then gives up.
        agreed_to = re.compile(r"Add SA esp|installed IPsec SA|established Child SA")
        assert eventually(lambda: bool(agreed_to.search(ends.foreign.must("cat", PLUTO_LOG))))
        assert "creating childless SA" in ends.foreign.must("cat", PLUTO_LOG)
    assert f"remote 'gw.{foreign}.paranal.example'" in ends.sas()
    assert "ECDSA_WITH_SHA384_DER successful" in ends.said()


@pytest.mark.req("R6")
@pytest.mark.parametrize(
    ("foreign", "renews"),
    # Where we began and the host has no ESP, libreswan ends the IKE_SA again: test_machine has it.
    [("co", OURS), ("co", FOREIGN), ("pe", OURS)],
    ids=["it began, we renew", "it began and renews", "we began and renew"],
)
def test_the_keys_of_the_ike_sa_are_renewed_from_either_end(
    made: Made, foreign: str, renews: str
) -> None:
    ends = made(foreign)
    for start in (ends.start_ours, ends.start_foreign)[:: 1 if foreign == "co" else -1]:
        start()
    assert eventually(lambda: SUITE in ends.sas())
    before = len(renewed(ends))
    if renews == OURS:
        (name,) = set(re.findall(r"^(\S+): #", ends.sas(), re.MULTILINE))
        ends.ours.must("swanctl", "--rekey", "--ike", name)
    else:
        ends.foreign.must("ipsec", "whack", "--name", "co-pe-operational", "--rekey-ike")
    assert eventually(lambda: len(renewed(ends)) > before)
    assert eventually(lambda: SUITE in ends.sas())


def renewed(ends: Ends) -> list[str]:
    """Return what charon said of IKE_SAs that were rekeyed."""
    return re.findall(r"IKE_SA \S+ rekeyed between", ends.said())


@pytest.mark.req("R6")
def test_without_the_agreed_exception_a_foreign_end_cannot_begin(made: Made) -> None:
    """The reason for ADR 0013, and the control of it."""
    ends = made("co")
    ends.start_ours(childless="force")
    ends.start_foreign()
    assert eventually(lambda: "peer did not initiate a childless IKE_SA" in ends.said()), (
        ends.said()[-3000:]
    )
    assert not established_children(ends)


@pytest.mark.req("R6", "B3")
@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"ike": "aes128-sha1-modp2048"}, "IKE_SA_INIT response 0 [ N(NO_PROP) ]"),
        ({"ike": "aes_gcm256-sha2_384-dh19"}, "IKE_SA_INIT response 0 [ N("),
        ({"esp": "aes128-sha1;modp2048"}, "AUTH N(NO_PROP) ]"),
        ({"authby": "secret", "leftcert": "", "leftsendcert": ""}, "N(AUTH_FAILED)"),
    ],
    ids=["weak IKE", "a smaller group", "weak ESP", "a preshared key"],
)
def test_what_a_foreign_end_offers_beside_the_agreement_is_refused(
    made: Made, changes: dict[str, str], refused: str
) -> None:
    ends = made("co")
    ends.start_ours()
    ends.start_foreign('@gw.co.paranal.example @gw.pe.paranal.example : PSK "shared"\n', **changes)
    assert eventually(lambda: refused in ends.said()), ends.said()[-2000:]
    assert not established_children(ends)
    if "ike" in changes or "authby" in changes:
        assert "ESTABLISHED" not in ends.sas()


@pytest.mark.req("R6", "B3")
@pytest.mark.parametrize(
    "changes", [{"esp": "aes_gcm256;dh14"}, {"pfs": "no", "esp": "aes_gcm256"}]
)
def test_only_the_child_of_ike_auth_comes_up_without_the_agreed_exchange(
    made: Made, changes: dict[str, str]
) -> None:
    """And that one is renewed, or ended, by the upkeep of our end (ADR 0013)."""
    ends = made("co")
    ends.start_ours()
    ends.start_foreign(**changes)
    assert eventually(lambda: "no acceptable proposal found" in ends.said())
    assert set(established_children(ends)) <= {SELECTORS["co"].format(n=1)}


@pytest.mark.req("R6", "B3")
def test_a_wider_selector_is_narrowed_and_never_installed(made: Made) -> None:
    ends = made("co")
    ends.start_ours()
    ends.start_foreign(leftsubnet="10.57.0.0/16", rightsubnet="10.51.0.0/16")
    assert eventually(lambda: bool(established_children(ends)))
    exact = {SELECTORS["co"].format(n=number) for number in (1, 2)}
    assert set(established_children(ends)) <= exact


@pytest.mark.req("R6", "B3")
def test_the_name_of_a_peer_certified_by_another_country_is_refused(made: Made) -> None:
    ends = made("co")
    ends.authority = "mx"
    ends.start_ours()
    ends.start_foreign()
    assert eventually(lambda: "N(AUTH_FAILED)" in ends.said())
    assert "ESTABLISHED" not in ends.sas()
    assert not established_children(ends)


def established_children(ends: Ends) -> list[str]:
    """Return the selectors of every CHILD_SA that charon has installed so far."""
    installed = r"CHILD_SA \S+ established with SPIs .* and TS (.*)$"
    return re.findall(installed, ends.said(), re.MULTILINE)
