"""One thing wrong at a time with an envelope, and each is refused for that reason.

The same wrong certificates (another country's CA, foreign and case-varied names, a wrong depth) are
refused by TLS in ``tests/service/test_trust.py`` and by IKE in ``tests/mesh``; here OpenSSL, which
judges TLS, is asked about the same leaves: what it refuses, an envelope refuses too.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import OctKey

from paranal.messages import Refusal
from paranal.pki import certificates, peers
from paranal.pki.authority import CertificateAuthority
from paranal.pki.profiles import PROFILES
from paranal.signing import envelope
from paranal.signing.envelope import Opened, Sender, Signer

if TYPE_CHECKING:
    from tests.unit.pki.conftest import Clock, Country, Key, Verify

NAME, TYP, PAYLOAD = "signer.pe.paranal.example", "paranal-query+jws", b"a commitment"
DAY = timedelta(days=1)


def public(one: CertificateAuthority) -> peers.PublicAuthority:
    lists = one.lists()
    return peers.PublicAuthority(
        one.member, one.root, one.issuing, lists["root"], lists["issuing"], one.generation
    )


def new_key(kind: str = "Ed25519") -> Key:
    if kind == "Ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(ec.SECP256R1() if kind == "P-256" else ec.SECP384R1())


@dataclass
class Desk:
    """PE's authority and whoever can sign with its keys, or with another's."""

    folder: Path
    clock: Clock
    pe: CertificateAuthority

    def leaf(
        self,
        key: Key,
        by: CertificateAuthority | None = None,
        name: str = NAME,
        profile: str = "signing",
        member: str = "pe",
        root: bool = False,
        ahead: timedelta = timedelta(0),
        life: timedelta = timedelta(days=90),
    ) -> x509.Certificate:
        one = by or self.pe
        ca = one._root if root else one._issuing
        return certificates.leaf(
            PROFILES[profile], member, [name], key.public_key(), x509.random_serial_number(),
            ca.certificate, ca.key, self.clock.now + ahead, life,
        )  # fmt: skip

    def signer(self, key: Key, *chain: x509.Certificate) -> Signer:
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        text = pem + b"".join(each.public_bytes(Encoding.PEM) for each in chain)
        path = self.folder / "signer.pem"
        path.write_bytes(text)
        return envelope.read_signer(path)

    def sealed(self, **odd: Any) -> bytes:  # noqa: ANN401 - what leaf takes
        key = odd.pop("key", None) or new_key()
        issuer = odd.pop("shown", self.pe.issuing)
        return self.by(self.signer(key, self.leaf(key, **odd), issuer))

    def by(self, signer: Signer) -> bytes:
        return envelope.sign(PAYLOAD, TYP, signer).encode()

    @property
    def sender(self) -> Sender:
        return Sender("pe", NAME, (public(self.pe),))

    def open(self, data: bytes, **other: Any) -> Opened:  # noqa: ANN401 - what opened takes
        words = {"typ": TYP, "sender": self.sender, "now": self.clock.now, **other}
        return envelope.opened(data, **words)

    def refused(self, data: bytes, **other: Any) -> str:  # noqa: ANN401 - what opened takes
        with pytest.raises(Refusal) as caught:
            self.open(data, **other)
        assert caught.value.text("es")
        return caught.value.code


@pytest.fixture
def desk(tmp_path: Path, clock: Clock, authority: CertificateAuthority) -> Desk:
    return Desk(tmp_path, clock, authority)


@pytest.mark.parametrize("kind", ["Ed25519", "P-384"])
def test_what_the_countrys_signer_signed_is_opened(desk: Desk, kind: str) -> None:
    assert desk.open(desk.sealed(key=new_key(kind))).payload == PAYLOAD


def test_either_generation_of_an_authority_signs(desk: Desk, country: Country) -> None:
    both = Sender("pe", NAME, (public(country("co")), public(desk.pe)))
    assert desk.open(desk.sealed(), sender=both).payload == PAYLOAD


@pytest.mark.parametrize(
    ("odd", "code"),
    [
        ({"name": "signer.co.paranal.example"}, "PAR-0463"),
        ({"name": "SIGNER.pe.paranal.example"}, "PAR-0463"),
        ({"name": "signer.PE.paranal.example"}, "PAR-0463"),
        ({"name": "q.pe.paranal.example"}, "PAR-0463"),
        ({"member": "co"}, "PAR-0463"),
        ({"profile": "tls", "key": new_key("P-384")}, "PAR-0463"),
        ({"profile": "ike", "key": new_key("P-384")}, "PAR-0463"),
        ({"profile": "desk", "key": new_key("P-384")}, "PAR-0463"),
        ({"life": timedelta(days=91)}, "PAR-0463"),
        ({"root": True}, "PAR-0462"),
        ({"ahead": DAY}, "PAR-0464"),
        ({"ahead": -2 * DAY, "life": DAY}, "PAR-0464"),
    ],
)
def test_another_leaf_of_the_right_authority_is_refused(
    desk: Desk, odd: dict[str, Any], code: str
) -> None:
    assert desk.refused(desk.sealed(**odd)) == code


def test_the_wrong_countrys_authority_and_a_wrong_depth_are_refused(
    desk: Desk, country: Country
) -> None:
    co = country("co")
    assert desk.refused(desk.sealed(by=co, shown=co.issuing)) == "PAR-0462"
    assert desk.refused(desk.sealed(by=co)) == "PAR-0462"
    assert desk.refused(desk.sealed(root=True, shown=desk.pe.root)) == "PAR-0462"
    between = certificates.new_key()
    ca = certificates.issuing(
        "pe", "pe.paranal.example", 9, between.public_key(), desk.pe.issuing,
        desk.pe._issuing.key, desk.clock.now,
    )  # fmt: skip
    key = new_key()
    leaf = certificates.leaf(
        PROFILES["signing"], "pe", [NAME], key.public_key(), 7, ca, between, desk.clock.now
    )
    assert desk.refused(desk.by(desk.signer(key, leaf, ca))) == "PAR-0462"
    assert desk.refused(desk.by(desk.signer(key, leaf, desk.pe.issuing))) == "PAR-0462"


def test_what_openssl_refuses_an_envelope_refuses(
    desk: Desk, country: Country, verify: Verify
) -> None:
    wrong: list[dict[str, Any]] = [
        {"by": country("co")}, {"name": "signer.co.paranal.example"}, {"ahead": DAY},
        {"ahead": -2 * DAY, "life": DAY},
    ]  # fmt: skip
    for odd in wrong:
        key = new_key()
        leaf = desk.leaf(key, **odd)
        assert verify(leaf.public_bytes(Encoding.PEM), desk.pe, desk.clock.now) != "OK"
        assert desk.refused(desk.by(desk.signer(key, leaf, desk.pe.issuing)))
    key = new_key()
    good = desk.leaf(key)
    assert verify(good.public_bytes(Encoding.PEM), desk.pe, desk.clock.now) == "OK"
    assert desk.open(desk.by(desk.signer(key, good, desk.pe.issuing)))


@pytest.mark.parametrize("kind", ["P-256", "Ed25519"])
def test_a_key_that_the_profile_does_not_know_signs_nothing(desk: Desk, kind: str) -> None:
    key = new_key("P-256")
    other = desk.leaf(new_key() if kind == "Ed25519" else key)
    with pytest.raises(Refusal, match="PAR-0468"):
        desk.signer(key, other, desk.pe.issuing)


def issued(desk: Desk, csr: Callable[..., bytes]) -> tuple[bytes, x509.Certificate]:
    key = new_key()
    leaf = desk.pe.issue(csr([NAME], key), "signing", [NAME]).certificate
    return desk.by(desk.signer(key, leaf, desk.pe.issuing)), leaf


def test_a_revoked_leaf_and_a_revoked_issuing_ca_are_refused(
    desk: Desk, csr: Callable[..., bytes]
) -> None:
    data, leaf = issued(desk, csr)
    assert desk.open(data).leaf == leaf
    desk.pe.revoke(leaf.serial_number, "key-compromise")
    assert desk.refused(data) == "PAR-0465"
    other, _ = issued(desk, csr)
    assert desk.open(other)
    desk.pe.revoke(desk.pe.issuing.serial_number, "key-compromise")
    assert desk.refused(other) == "PAR-0465"


def test_a_list_that_is_over_or_not_begun_lets_nothing_in(desk: Desk) -> None:
    data = desk.sealed()
    assert desk.refused(data, now=desk.clock.now + 8 * DAY) == "PAR-0466"
    one, root = public(desk.pe), desk.pe._root
    short = certificates.revocation_list(
        root.certificate, root.key, 9, [], desk.clock.now - 2 * DAY, DAY
    )
    later = certificates.revocation_list(
        root.certificate, root.key, 9, [], desk.clock.now + DAY, DAY
    )
    for crl in (short, later):
        old = Sender("pe", NAME, (replace(one, root_crl=crl),))
        assert desk.refused(data, sender=old) == "PAR-0466"
    assert desk.refused(data, sender=Sender("pe", NAME, ())) == "PAR-0462"


def test_a_list_of_a_part_lets_nothing_in(desk: Desk) -> None:
    one, issuing = public(desk.pe), desk.pe._issuing
    part = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuing.certificate.subject)
        .last_update(desk.clock.now - DAY)
        .next_update(desk.clock.now + DAY)
        .add_extension(x509.CRLNumber(2**40), critical=False)
        .add_extension(x509.DeltaCRLIndicator(1), critical=True)
        .sign(issuing.key, hashes.SHA384())
    )
    sender = Sender("pe", NAME, (replace(one, issuing_crl=part),))
    assert desk.refused(desk.sealed(), sender=sender) == "PAR-0466"


def header_of(data: bytes) -> dict[str, Any]:
    header: dict[str, Any] = json.loads(base64.urlsafe_b64decode(data.split(b".")[0] + b"=="))
    return header


def forged(header: object, payload: bytes = PAYLOAD, signature: bytes = b"") -> bytes:
    parts = (json.dumps(header).encode(), payload, signature)
    return b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)


def test_no_other_algorithm_header_or_kind_is_accepted(desk: Desk) -> None:
    data = desk.sealed()
    header = header_of(data)
    good = data.decode().split(".")[2]
    for algorithm in ("none", "HS256", "RS256", "ES384", "ES256", "Ed25519", "", None, ["EdDSA"]):
        assert desk.refused(forged({**header, "alg": algorithm})) == "PAR-0461"
    leaf = desk.open(data).leaf
    secret = OctKey.import_key(leaf.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
    rules = envelope._Registry(algorithms=["HS256"])
    confused = jws.serialize_compact({**header, "alg": "HS256"}, PAYLOAD, secret, registry=rules)
    assert desk.refused(confused.encode()) == "PAR-0461"
    more = {"crit": ["b64"], "b64": False, "kid": "k", "jwk": {}, "jku": "https://x.example",
            "x5u": "https://x.example", "cty": "x", "x5t": "x"}  # fmt: skip
    for key, value in more.items():
        assert desk.refused(forged({**header, key: value})) == "PAR-0461"
    for key in header:
        short = {name: value for name, value in header.items() if name != key}
        assert desk.refused(forged(short)) == "PAR-0461"
    assert desk.refused(data, typ="paranal-answer+jws") == "PAR-0461"
    assert desk.refused(forged(header, b"another", base64.urlsafe_b64decode(good + "=="))) == (
        "PAR-0467"
    )


def test_garbage_is_refused_in_every_place(desk: Desk) -> None:
    header = header_of(desk.sealed())
    leaf, issuer = header["x5c"]
    deep = base64.urlsafe_b64encode(b"[" * 12000).rstrip(b"=")
    for data in (b"", b"..", b"a.b.c", b"\xff.\xff.\xff", b"." * 9, deep + b"..", b"{}"):
        assert desk.refused(data) == "PAR-0461"
    for other in ("alg", ["alg", "typ", "x5c"], 7, None):
        assert desk.refused(forged(other)) == "PAR-0461"
    chains: list[Any] = [
        [], [leaf], [leaf, leaf, issuer], [leaf, issuer, issuer], ["", ""], ["@", issuer],
        [7, issuer], None, leaf, [leaf + "\n", issuer], [base64.b64encode(b"x" * 90).decode()] * 2,
        [leaf[:-8], issuer],
    ]  # fmt: skip
    for chain in chains:
        assert desk.refused(forged({**header, "x5c": chain})) == "PAR-0461"
    assert desk.refused(forged({**header, "x5c": [issuer, leaf]})) == "PAR-0462"
    assert desk.refused(forged({**header, "x5c": [issuer, issuer]})) == "PAR-0462"
    assert desk.refused(b"a" * (envelope.OCTETS_MAX + 1)) == "PAR-0460"
    with pytest.raises(Refusal, match="PAR-0460"):
        envelope.sign(b"x" * envelope.OCTETS_MAX, TYP, desk.signer(*_own(desk)))


def _own(desk: Desk) -> tuple[Any, ...]:
    key = new_key()
    return key, desk.leaf(key), desk.pe.issuing


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_no_octet_of_a_leaf_can_be_another(desk: Desk) -> None:
    header = header_of(desk.sealed())
    leaf, issuer = header["x5c"]
    good = base64.b64decode(leaf)
    for at in range(len(good)):
        for flip in (0x01, 0x06, 0x80):
            odd = bytearray(good)
            odd[at] ^= flip
            assert desk.refused(forged({**header, "x5c": [base64.b64encode(odd).decode(), issuer]}))


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(at=st.integers(0), flip=st.integers(1, 255), kind=st.sampled_from(["Ed25519", "P-384"]))
def test_no_octet_can_be_another(desk: Desk, at: int, flip: int, kind: str) -> None:
    known = desk.__dict__.setdefault("known", {})
    data = known.setdefault(kind, desk.sealed(key=new_key(kind)) if kind not in known else b"")
    changed = bytearray(data)
    changed[at % len(data)] ^= flip
    assert desk.open(data)
    assert desk.refused(bytes(changed))
