"""Who is not let in. Each test has its positive beside it: the same call, made as it should be."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from testinfra.host import Host

from paranal.agreement.crypto import PROFILES
from paranal.lab import people
from paranal.lab.lab import Lab
from paranal.messages import Refusal
from paranal.pki.authority import CertificateAuthority
from tests.mesh.conftest import CLOSED
from tests.mesh.forgery import forge
from tests.mesh.support import (
    POST,
    Views,
    ask_from_border,
    call_alliance,
    call_national,
    counted,
    in_part,
    on_node,
    sas_with,
)


@pytest.mark.req("R1", "B3")
def test_a_post_without_a_certificate_is_refused_in_the_handshake(lab: Lab, views: Views) -> None:
    assert call_national(lab, views, "pe-border", "pe", credentials=POST)["status"] == 200
    refused = call_national(lab, views, "pe-border", "pe")
    assert (refused["reached"], refused["status"]) == (True, None)
    assert "certificate required" in refused["error"].lower()


@pytest.mark.req("R6", "B3")
def test_a_peer_without_a_certificate_is_refused_in_the_handshake(
    nodes: dict[str, Host], views: Views
) -> None:
    assert call_alliance(nodes, views, "co")["answer"]["code"] == 0
    refused = call_alliance(nodes, views, "co", credentials=None)
    assert (refused["reached"], refused["status"]) == (True, None)
    assert "certificate required" in refused["error"].lower()


@pytest.mark.req("R6", "B3")
def test_the_right_name_from_another_country_s_authority_is_refused_by_tls(
    lab: Lab, nodes: dict[str, Host], views: Views
) -> None:
    name = views["co"]["member"]["identities"]["operational"]
    with pytest.raises(Refusal, match="PAR-0407"):
        CertificateAuthority(lab.home.folder / "ca" / "mx").issue(b"", "tls", [name])
    refused = call_alliance(nodes, views, "co", credentials="".join(forge(lab, "mx", "tls", name)))
    assert (refused["reached"], refused["status"]) == (True, None)
    assert "unknown ca" in refused["error"].lower()
    own = forge(lab, "co", "tls", name)  # the same forgery from the right authority passes
    assert call_alliance(nodes, views, "co", credentials="".join(own))["status"] == 200


@pytest.mark.req("R6", "B3")
def test_a_peer_cannot_borrow_another_peer_s_door(nodes: dict[str, Host], views: Views) -> None:
    """Colombia, through its own tunnel, under the server name that Mexico calls, and under none."""
    pe = views["pe"]["member"]["identities"]["operational"]
    for name in (f"mx.{pe}", pe, "anybody.example"):
        refused = call_alliance(nodes, views, "co", server_name=name)
        assert (refused["reached"], refused["status"]) == (True, None), name


@pytest.mark.req("R6", "B3")
def test_an_asker_s_own_post_cannot_use_the_alliance_listener(
    lab: Lab, nodes: dict[str, Host], views: Views
) -> None:
    """Colombia's CA, its tunnel and its door, but a post's name: refused by the service."""
    post = "".join(forge(lab, "co", "post", f"post-1.{views['co']['member']['domain']}"))
    refused = call_alliance(nodes, views, "co", credentials=post)
    assert refused["answer"]["refusal"]["code"] == "PAR-0531"


@pytest.mark.req("R6", "R12", "B3")
@pytest.mark.skipif(not CLOSED, reason="it would end a pair that carries traffic")
def test_the_right_name_from_another_country_s_authority_is_refused_by_ike(
    lab: Lab, nodes: dict[str, Host], views: Views
) -> None:
    """Chile to Peru, a line with nothing to disturb: as itself, and as itself by Mexico's word."""
    cl, pe = views["cl"]["member"], views["pe"]["member"]
    line = {
        "local": cl["wan_address"],
        "remote": pe["wan_address"],
        "local_id": cl["identities"]["ike"],
        "remote_id": pe["identities"]["ike"],
        "proposal": PROFILES["classic"].ike,
        "root": "/etc/swanctl/x509ca/pe-root.pem",
    }
    own = {"key": "/etc/swanctl/private/ike.key", "certificate": "/etc/swanctl/x509/ike.pem"}
    key, chain = forge(lab, "mx", "ike", cl["identities"]["ike"])
    try:
        assert on_node(nodes["cl"], "initiate", **line, **own)["up"]
        refused = on_node(nodes["cl"], "initiate", **line, key=key, certificate=chain)
    finally:
        nodes["cl"].check_output("swanctl --load-creds --clear --noprompt")
    assert not refused["up"]
    assert any("AUTHENTICATION_FAILED" in entry for entry in refused["log"]), refused["log"]
    assert sas_with(nodes["pe"], "cl") == []


@pytest.mark.req("R6", "B3")
def test_the_wide_area_reaches_no_service(lab: Lab, views: Views, member: str) -> None:
    address = views[member]["member"]["wan_address"]
    targets = [[address, port] for port in (22, 5432, 7440, 7443, 7444, 7445, 7446)]
    assert in_part(lab, "wan", "reach", targets=targets, seconds=2) == []


@pytest.fixture
def forwarding(nodes: dict[str, Host]) -> Iterator[None]:
    """Peru's gateway forwards for a while, as if somebody had switched it on."""
    nodes["pe"].check_output("sysctl --write net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
    yield
    nodes["pe"].check_output("sysctl --quiet --load=/etc/sysctl.d/90-paranal.conf")


@pytest.mark.req("R6", "R9", "B3")
@pytest.mark.usefixtures("forwarding")
def test_a_post_reaches_its_own_gateway_and_never_a_peer(
    lab: Lab, nodes: dict[str, Host], views: Views
) -> None:
    own = [views["pe"]["member"]["addresses"]["national"], 7440]
    theirs = [
        [address, port]
        for member in ("co", "mx")
        for address in views[member]["member"]["addresses"].values()
        for port in (7440, 7443, 7445)
    ]
    # What no tunnel carries has no route either: it is dropped before it would be forwarded.
    national = {views[member]["member"]["addresses"]["national"] for member in ("co", "mx")}
    forwarded = [place for place in theirs if place[0] not in national]
    before = counted(nodes["pe"], "dropped_forward")
    assert in_part(lab, "pe-border", "reach", targets=[own, *theirs], seconds=2) == [own]
    assert counted(nodes["pe"], "dropped_forward") >= before + len(forwarded)
    assert ask_from_border(lab, "pe", ["co"], people.DEMO_CLEAN_MRZ)["outcome"] == "OK"
