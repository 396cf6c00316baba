"""Who is let in: one thing wrong at a time, and each is refused where it should be."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from paranal.lab import people
from paranal.pki import certificates
from paranal.pki.authority import Issued
from paranal.pki.profiles import PROFILES
from tests.service.nodes import TLS, Leaf, Mesh, pem_of, rendered, until, view_of

PERU = ["q.pe.paranal.example"]


def _forged(mesh: Mesh, by: str, of: str = "pe", names: Sequence[str] = PERU) -> Leaf:
    """Return a country's names certified by another's CA, which would have to be subverted."""
    authority = mesh.authorities[by]
    key = ec.generate_private_key(ec.SECP384R1())
    certificate = certificates.leaf(
        PROFILES["tls"],
        of,
        names,
        key.public_key(),
        7,
        authority.issuing,
        authority._issuing.key,
        datetime.now(UTC),
    )
    return Leaf(Issued(certificate, authority.issuing, "tls"), pem_of(key))


@pytest.mark.req("R6")
def test_everything_right_is_answered(mesh: Mesh) -> None:
    told = mesh.call("pe", mesh.operational("pe"))
    assert told["status"] == 200
    assert json.loads(told["body"])["code"] == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"tls": "TLSv1_2"},
        {"name": "q.co.paranal.example"},
        {"name": "mx.q.co.paranal.example"},
        {"name": "cl.q.co.paranal.example"},
        {"name": "unknown.example"},
        {"name": None},
    ],
)
def test_a_wrong_name_or_an_old_tls_ends_in_the_handshake(
    mesh: Mesh, wrong: dict[str, Any]
) -> None:
    assert "failed" in mesh.call("pe", mesh.operational("pe"), **wrong)


def test_no_certificate_ends_in_the_handshake(mesh: Mesh) -> None:
    assert "failed" in mesh.call("pe", None)


@pytest.mark.parametrize("by", ["co", "mx"])
def test_the_right_name_by_the_wrong_countrys_ca_ends_in_the_handshake(mesh: Mesh, by: str) -> None:
    assert "failed" in mesh.call("pe", _forged(mesh, by))


def test_one_country_cannot_speak_under_anothers_name(mesh: Mesh) -> None:
    mexico = mesh.operational("mx")
    assert "failed" in mesh.call("pe", mexico)
    own = {"name": "mx.q.co.paranal.example"}
    told = mesh.call("pe", mexico, **own)
    assert told["status"] == 403
    assert json.loads(told["body"])["refusal"]["code"] == "PAR-0531"
    own["from"] = mesh.views["mx"]["member"]["addresses"]["operational"]
    assert mesh.call("mx", mexico, **own)["status"] == 200


def test_an_address_of_another_countrys_tunnel_is_refused(mesh: Mesh) -> None:
    forged = {"from": mesh.views["mx"]["member"]["addresses"]["operational"]}
    told = mesh.call("pe", mesh.operational("pe"), **forged)
    assert told["status"] == 403
    assert "PAR-0531" in told["body"]
    assert "PAR-0531" in mesh.nodes["co"].journal("alliance")


def test_what_a_caller_claims_about_itself_is_stripped(mesh: Mesh) -> None:
    claims = {"x-paranal-source": "127.51.1.1", "X-Paranal-Server-Name": "pe.q.co.paranal.example"}
    forged = {"from": mesh.views["mx"]["member"]["addresses"]["operational"], "headers": claims}
    assert mesh.call("pe", mesh.operational("pe"), **forged)["status"] == 403


def test_another_leaf_of_the_right_country_is_refused(mesh: Mesh) -> None:
    post = mesh.leaf("pe", "post", ["post-other.pe.paranal.example"])
    told = mesh.call("pe", post)
    assert told["status"] == 403
    assert "PAR-0531" in told["body"]


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"path": "/health"}, 404),
        ({"path": "/v1/person/"}, 404),
        ({"method": "GET"}, 405),
        ({"body": "x" * 9000}, 413),
        ({"body": "{"}, 422),
        ({"body": ""}, 422),
    ],
)
def test_what_is_no_question_stops_at_the_door(
    mesh: Mesh, wrong: dict[str, Any], status: int
) -> None:
    assert mesh.call("pe", mesh.operational("pe"), **wrong)["status"] == status


def _at_home(mesh: Mesh, caller: Leaf | None, **words: Any) -> dict[str, Any]:  # noqa: ANN401
    """Call Peru's national listener."""
    home = mesh.views["pe"]["member"]["addresses"]["national"]
    question = {
        "to": ["co"],
        "officer": "A-1",
        "purpose": "border_entry",
        "mrz": people.DEMO_CLEAN_MRZ,
    }
    place = {"from": home, "to": home, "port": 7440, "name": "n.pe.paranal.example"}
    return mesh.call("pe", caller, **{**place, "body": json.dumps(question), **words})


def test_the_national_listener_takes_posts_of_its_own_country_only(mesh: Mesh) -> None:
    assert _at_home(mesh, mesh.leaf("pe", "post", ["post-b.pe.paranal.example"]))["status"] == 200
    assert "failed" in _at_home(mesh, mesh.leaf("co", "post", ["post-b.co.paranal.example"]))
    assert "failed" in _at_home(mesh, None)
    told = _at_home(mesh, mesh.operational("pe"))
    assert (told["status"], "PAR-0532" in told["body"]) == (403, True)


def test_a_server_under_another_ca_is_never_asked(mesh: Mesh) -> None:
    """Colombia shows a leaf of Mexico's CA: Peru ends the handshake, and says UNAVAILABLE."""
    node, good = mesh.nodes["co"], mesh.operational("co")
    names = ["q.co.paranal.example", "pe.q.co.paranal.example", "mx.q.co.paranal.example"]
    node.put({f"{TLS}/operational.pem": _forged(mesh, "mx", "co", names).pem})
    _reload(mesh, "co")
    try:
        _, answer = mesh.ask_mrz(people.DEMO_WANTED_MRZ, "co")
        assert answer["answers"]["co"]["answer"] == "UNAVAILABLE"
        assert "TLS" in answer["answers"]["co"]["refusal"]["en"]
    finally:
        node.put({f"{TLS}/operational.pem": good.pem})
        _reload(mesh, "co")
    assert mesh.ask_mrz(people.DEMO_WANTED_MRZ, "co")[0] == 10


def test_a_revoked_leaf_is_refused_on_both_sides(mesh: Mesh) -> None:
    asker = mesh.operational("pe")
    assert mesh.call("pe", asker)["status"] == 200
    mesh.authorities["pe"].revoke(asker.issued.certificate.serial_number, "key-compromise")
    mesh.nodes["co"].put(mesh.trust("pe"))
    _reload(mesh, "co")
    assert "failed" in mesh.call("pe", asker)
    assert mesh.call("pe", mesh.operational("pe"))["status"] == 200

    # Colombia's server leaf is withdrawn: Peru's service sees the new list without a restart.
    served = mesh.operational("co")
    mesh.nodes["co"].put({f"{TLS}/operational.pem": served.pem})
    _reload(mesh, "co")
    assert mesh.ask_mrz(people.DEMO_WANTED_MRZ, "co")[0] == 10
    mesh.authorities["co"].revoke(served.issued.certificate.serial_number, "key-compromise")
    mesh.nodes["pe"].put(mesh.trust("co"))
    try:
        _, answer = mesh.ask_mrz(people.DEMO_WANTED_MRZ, "co")
        assert answer["answers"]["co"]["answer"] == "UNAVAILABLE"
    finally:
        mesh.nodes["co"].put({f"{TLS}/operational.pem": mesh.operational("co").pem})
        _reload(mesh, "co")
    assert mesh.ask_mrz(people.DEMO_WANTED_MRZ, "co")[0] == 10


@pytest.mark.req("D3")
def test_the_askers_leaf_rotates_without_losing_a_question(mesh: Mesh) -> None:
    node = mesh.nodes["pe"]
    lines = " ".join(f"'{line}'" for line in people.DEMO_CLEAN_MRZ)
    ask = f"paranal query --from pe --to co --json --mrz {lines}"
    loop = f"for i in 1 2 3 4 5 6 7 8; do {ask} >/dev/null; echo $?; done >/root/rotation"
    node.docker.call("exec", "--detach", node.container, "sh", "-c", loop)
    for _ in range(3):
        node.put({"/etc/paranal/tls/new.pem": mesh.operational("pe").pem})
        node.must("chown", "paranal-national", "/etc/paranal/tls/new.pem")
        node.must("mv", "/etc/paranal/tls/new.pem", "/etc/paranal/tls/asker.pem")
    until(lambda: node.must("cat", "/root/rotation").count("\n") == 8, "eight answers", 30)
    assert node.must("cat", "/root/rotation").split() == ["0"] * 8


def test_a_direction_to_nobody_leaves_no_listener(mesh: Mesh) -> None:
    """The configuration for a member whom nobody may ask has no alliance frontend at all."""
    chile = view_of("cl")
    text = rendered("query_server", "/etc/haproxy/haproxy.cfg", node_view=chile)
    assert "frontend national" in text
    assert "alliance" not in text
    entries = rendered("query_server", f"{TLS}/crt-list", node_view=chile)
    assert not entries.strip()
    node = mesh.nodes["pe"]
    node.put({"/root/cl.cfg": text.replace("cl-ca", "pe-ca").replace("cl.crl", "pe.crl")})
    node.must("haproxy", "-c", "-f", "/root/cl.cfg")


def _reload(mesh: Mesh, code: str) -> None:
    """Have HAProxy read its files again, and wait for the new worker."""
    node = mesh.nodes[code]
    before = node.must("pgrep", "-u", "haproxy").split()
    node.must("sh", "-c", "kill -USR2 $(head -n 1 /run/haproxy.pid)")

    def is_new() -> bool:
        return bool(set(node.run("pgrep", "-u", "haproxy").stdout.decode().split()) - set(before))

    until(is_new, f"{code}: a new worker")
