"""Each profile certifies what it is for and nothing else; openssl is the judge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from paranal.messages import Refusal
from paranal.pki.authority import CertificateAuthority
from paranal.pki.profiles import PROFILES

if TYPE_CHECKING:
    from tests.unit.pki.conftest import Clock, MakeRequest, Verify

DOMAIN = "pe.paranal.example"
NAME = dict.fromkeys(PROFILES, f"gw.{DOMAIN}") | {"post": f"post-1.{DOMAIN}"}


@pytest.mark.req("R6")
@pytest.mark.parametrize(
    ("profile", "fit", "unfit"),
    [
        ("ike", ["any"], ["sslclient", "sslserver"]),
        ("tls", ["sslclient", "sslserver"], ["smimesign"]),
        ("post", ["sslclient"], ["sslserver"]),
        ("signing", ["any"], ["sslclient", "sslserver"]),
        ("desk", ["any"], ["sslclient", "sslserver"]),
    ],
)
def test_a_profile_serves_its_purpose_and_no_other(
    authority: CertificateAuthority,
    clock: Clock,
    verify: Verify,
    profile: str,
    fit: list[str],
    unfit: list[str],
    csr: MakeRequest,
) -> None:
    leaf = authority.issue(csr([NAME[profile]]), profile, [NAME[profile]]).pem
    for purpose in fit:
        assert verify(leaf, authority, clock.now, purpose) == "OK"
    for purpose in unfit:
        assert verify(leaf, authority, clock.now, purpose) == "unsuitable certificate purpose"


@pytest.mark.parametrize("profile", PROFILES)
def test_a_leaf_has_the_shape_the_rules_ask_for(
    authority: CertificateAuthority, clock: Clock, profile: str, csr: MakeRequest
) -> None:
    leaf = authority.issue(csr([NAME[profile]]), profile, [NAME[profile]]).certificate
    basic = leaf.extensions.get_extension_for_class(x509.BasicConstraints)
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage)
    assert (basic.critical, basic.value.ca) == (True, False)
    assert usage.critical
    assert not usage.value.key_cert_sign
    assert not usage.value.crl_sign
    assert usage.value.digital_signature != (profile == "desk")
    assert leaf.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    assert leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    assert (clock.now - leaf.not_valid_before_utc).total_seconds() == 30
    assert (leaf.not_valid_after_utc - leaf.not_valid_before_utc).days == 90
    assert leaf.signature_hash_algorithm is not None
    assert leaf.signature_hash_algorithm.name == "sha384"


@pytest.mark.parametrize("which", ["root", "issuing"])
def test_a_ca_is_limited_to_its_country(authority: CertificateAuthority, which: str) -> None:
    certificate = getattr(authority, which)
    basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    limits = certificate.extensions.get_extension_for_class(x509.NameConstraints)
    assert (basic.critical, basic.value.ca) == (True, True)
    assert basic.value.path_length == {"root": 1, "issuing": 0}[which]
    assert usage.critical
    assert usage.value.key_cert_sign
    assert usage.value.crl_sign
    assert not usage.value.digital_signature
    assert limits.critical
    assert limits.value.permitted_subtrees == [x509.DNSName(DOMAIN)]
    years = (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days / 365
    assert round(years) == {"root": 10, "issuing": 3}[which]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("gw.co.paranal.example", "outside the domain"),
        ("gw.evilpe.paranal.example", "outside the domain"),
        ("pe.paranal.example", "outside the domain"),
        ("gw.pe.paranal.example.evil.example", "outside the domain"),
        ("*.pe.paranal.example", "wildcards"),
        ("GW.pe.paranal.example", "lower case"),
        ("gw.PE.paranal.example", "lower case"),
        ("gw..pe.paranal.example", "not a DNS name"),
        ("gw.pe.paranal.example.", "not a DNS name"),
        ("-gw.pe.paranal.example", "not a DNS name"),
        ("g_w.pe.paranal.example", "not a DNS name"),
        ("gw.pe.paranal.example\n", "not a DNS name"),
        ("gẃ.pe.paranal.example", "not a DNS name"),
        ("10.51.0.1", "outside the domain"),
        ("a" * 46 + ".pe.paranal.example", "longer than 64"),
        ("", "not a DNS name"),
        ("post-1.pe.paranal.example", "profile post"),
    ],
)
def test_a_name_that_is_not_ours_is_refused(
    authority: CertificateAuthority, name: str, reason: str, csr: MakeRequest
) -> None:
    with pytest.raises(Refusal) as refusal:
        authority.issue(csr([f"gw.{DOMAIN}"]), "tls", [f"gw.{DOMAIN}", name])
    assert refusal.value.code == "PAR-0407"
    assert reason in refusal.value.text("en")


def test_a_post_may_not_bear_another_name(
    authority: CertificateAuthority, csr: MakeRequest
) -> None:
    with pytest.raises(Refusal, match="PAR-0407"):
        authority.issue(csr([f"q.{DOMAIN}"]), "post", [f"q.{DOMAIN}"])


@pytest.mark.parametrize("names", [[], [f"gw.{DOMAIN}"] * 2, [f"n{i}.{DOMAIN}" for i in range(33)]])
def test_no_name_a_name_twice_or_too_many_are_refused(
    authority: CertificateAuthority, names: list[str], csr: MakeRequest
) -> None:
    with pytest.raises(Refusal, match="PAR-0407"):
        authority.issue(csr([f"gw.{DOMAIN}"]), "tls", names)


def test_an_unknown_profile_is_refused(authority: CertificateAuthority, csr: MakeRequest) -> None:
    with pytest.raises(Refusal, match="PAR-0408"):
        authority.issue(csr([f"gw.{DOMAIN}"]), "server", [f"gw.{DOMAIN}"])


def test_ed25519_signs_and_does_nothing_else(
    authority: CertificateAuthority, csr: MakeRequest
) -> None:
    names = [f"s.{DOMAIN}"]
    key = ed25519.Ed25519PrivateKey.generate()
    assert authority.issue(csr(names, key), "signing", names).certificate
    for profile in ("ike", "tls", "desk"):
        other = ed25519.Ed25519PrivateKey.generate()
        with pytest.raises(Refusal, match="PAR-0406"):
            authority.issue(csr(names, other), profile, names)


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP521R1()])
def test_another_curve_is_refused(
    authority: CertificateAuthority, curve: ec.EllipticCurve, csr: MakeRequest
) -> None:
    names = [f"gw.{DOMAIN}"]
    with pytest.raises(Refusal, match="PAR-0406"):
        authority.issue(csr(names, ec.generate_private_key(curve)), "tls", names)
