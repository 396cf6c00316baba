"""Which root a peer's IKE_SAs stand on, from what charon shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from paranal.pki.authority import CertificateAuthority
from paranal.pki.certificates import BACKDATE, fingerprint
from paranal.tunnels.chains import Sent, chains, pinned, sent_leaves
from tests.unit.agreement.test_connections import declared
from tests.unit.tunnels.sas import ike_sa

NOW = 1_000_000.0
PINS = {"co-root.pem": "old", "co-g2-root.pem": "new", "mx-root.pem": "mx"}


def held(*roots: str) -> list[Any]:
    connections = declared("pe", "all-live")
    co, mx = connections["co"], connections["mx"]
    remote = {**co["config"]["remote"], "cacerts": list(roots)}
    return [{**co, "config": {**co["config"], "remote": remote}}, mx]


def standing(age: int, leaves: Sequence[Sent], *roots: str) -> list[str]:
    connections = held(*(roots or ("co-g2-root.pem", "co-root.pem")))
    sa = replace(
        ike_sa(connections[0]["name"], "1", []),
        remote_id="gw.co.paranal.example",
        established_seconds=age,
    )
    return chains(connections, [sa], PINS, lambda: leaves, NOW)["co"]


def leaf(root: str, ago: int, name: str = "gw.co.paranal.example") -> Sent:
    return Sent(name, NOW - ago, root)


@pytest.mark.req("B5")
@pytest.mark.parametrize(
    ("age", "leaves", "expected"),
    [
        pytest.param(50, [leaf("old", 900), leaf("new", 100)], ["new"], id="made since"),
        pytest.param(200, [leaf("old", 900), leaf("new", 100)], ["old"], id="made before"),
        pytest.param(50, [leaf("old", 900)], ["old"], id="only the old leaf was ever seen"),
        pytest.param(50, [leaf("new", 100)], ["new"], id="only the new leaf was ever seen"),
        pytest.param(50, [], ["new", "old"], id="nothing is known"),
        pytest.param(50, [leaf("new", 10)], ["new", "old"], id="known, but issued later"),
        pytest.param(50, [leaf("new", 100, "gw.mx")], ["new", "old"], id="another's leaf"),
        pytest.param(50, [leaf("gone", 100)], ["new", "old"], id="a root that is not pinned"),
    ],
)
def test_an_ike_sa_stands_on_the_newest_leaf_that_was_there_when_it_was_made(
    age: int, leaves: list[Sent], expected: list[str]
) -> None:
    assert standing(age, leaves) == expected


def test_one_pinned_root_needs_no_proof() -> None:
    def never() -> list[Sent]:
        raise AssertionError("certificates were read")

    connections = held("co-root.pem")
    sas = [ike_sa(one["name"], "1", []) for one in connections]
    assert chains(connections, sas, PINS, never, NOW) == {"co": ["old"], "mx": ["mx"]}
    connecting = [replace(sa, state="CONNECTING") for sa in sas]
    assert chains(connections, connecting, PINS, never, NOW) == {}
    assert chains([], sas, PINS, never, NOW) == {}


def test_a_leaf_that_charon_shows_leads_to_its_root(tmp_path: Path) -> None:
    from tests.unit.pki.conftest import request

    found, data = {}, []
    for generation in (1, 2):
        authority = CertificateAuthority.create(
            tmp_path / str(generation),
            "co",
            "co.paranal.example",
            b"the passphrase of a test",
            generation=generation,
        )
        issued = authority.issue(
            request(["gw.co.paranal.example"]), "ike", ["gw.co.paranal.example"]
        )
        certificates = (authority.root, authority.issuing, issued.certificate)
        data += [{"data": one.public_bytes(Encoding.DER)} for one in certificates]
        found[fingerprint(authority.root)] = issued.certificate
    sent = sent_leaves(data)
    assert {one.root: one.name for one in sent} == dict.fromkeys(found, "gw.co.paranal.example")
    begin = next(iter(found.values())).not_valid_before_utc + BACKDATE
    assert sent[0].issued_at == pytest.approx(begin.timestamp(), abs=timedelta(seconds=5).seconds)
    assert sent_leaves(data[1:3]) == [], "its root is not there"


def test_a_root_whose_file_is_gone_or_broken_is_left_out() -> None:
    def read(name: str) -> bytes:
        if name == "gone.pem":
            raise FileNotFoundError
        return b"broken"

    assert pinned(["gone.pem", "broken.pem"], read) == {}
