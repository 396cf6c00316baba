"""Certificates and revocation lists as pure functions of their contents, a key and a time.

The shapes follow design.md "PKI" and security-rules.md PKI-001 to PKI-005 and PKI-013: P-384 and
SHA-384, critical basic constraints and key usage, critical *permitted* name constraints on both
the root and the issuing CA (charon and OpenSSL enforce them in either place), SKI and AKI
everywhere. No distribution point is named: revocation lists are pushed, never fetched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import NameOID

from paranal.pki.profiles import LEAF_LIFE, Profile

SigningKey = ec.EllipticCurvePrivateKey
ROOT_LIFE = timedelta(days=3650)
ISSUING_LIFE = timedelta(days=1095)
BACKDATE = timedelta(seconds=30)
"""How far back a certificate or list begins, for peers whose clocks run behind (PKI-013)."""

MALFORMED = (
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What others' certificates, lists and requests raise, on loading or when a part is looked at."""

REASONS = {
    "unspecified": x509.ReasonFlags.unspecified,
    "key-compromise": x509.ReasonFlags.key_compromise,
    "affiliation-changed": x509.ReasonFlags.affiliation_changed,
    "superseded": x509.ReasonFlags.superseded,
    "cessation-of-operation": x509.ReasonFlags.cessation_of_operation,
}


@dataclass(frozen=True)
class Revocation:
    """One certificate withdrawn: its serial, when, and one of ``REASONS``."""

    serial: int
    at: datetime
    reason: str


def authority_stem(member: str, generation: int) -> str:
    """Return how the files of a member's authority begin: ``pe``, ``pe-g2``."""
    return member if generation == 1 else f"{member}-g{generation}"


def new_key() -> SigningKey:
    """Make a P-384 key."""
    return ec.generate_private_key(ec.SECP384R1())


def key_type(key: object) -> str:
    """Name a public key's type as the profiles do: ``P-384``, ``Ed25519``, or what it is."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return "P-384" if isinstance(key.curve, ec.SECP384R1) else key.curve.name
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "Ed25519"
    return type(key).__name__.strip("_").removesuffix("PublicKey")


def subject(member: str, common_name: str) -> x509.Name:
    """Return the subject of one of ``member``'s certificates."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, member.upper()),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def root(
    member: str, domain: str, generation: int, key: SigningKey, now: datetime
) -> x509.Certificate:
    """Return the member's self-signed root."""
    name = subject(member, f"Paranal {member.upper()} Root G{generation}")
    builder = _ca(name, domain, key.public_key(), 1, now, now + ROOT_LIFE)
    return _signed(builder, name, key)


def issuing(
    member: str,
    domain: str,
    generation: int,
    public_key: ec.EllipticCurvePublicKey,
    issuer: x509.Certificate,
    issuer_key: SigningKey,
    now: datetime,
) -> x509.Certificate:
    """Return the member's issuing CA, which may sign leaves and no further CA."""
    name = subject(member, f"Paranal {member.upper()} Issuing G{generation}")
    end = min(now + ISSUING_LIFE, issuer.not_valid_after_utc)
    builder = _ca(name, domain, public_key, 0, now, end)
    return _signed(builder, issuer.subject, issuer_key)


def leaf(
    profile: Profile,
    member: str,
    names: Sequence[str],
    public_key: CertificatePublicKeyTypes,
    serial: int,
    issuer: x509.Certificate,
    issuer_key: SigningKey,
    now: datetime,
    life: timedelta = LEAF_LIFE,
) -> x509.Certificate:
    """Return a leaf of ``profile`` for ``names``; it never outlives its issuer."""
    end = min(now - BACKDATE + life, issuer.not_valid_after_utc)
    builder = _base(subject(member, names[0]), public_key, serial, now, end)
    for extension, critical in leaf_extensions(profile, names):
        builder = builder.add_extension(extension, critical=critical)
    return _signed(builder, issuer.subject, issuer_key)


def leaf_extensions(
    profile: Profile, names: Sequence[str]
) -> tuple[tuple[x509.ExtensionType, bool], ...]:
    """Return what a leaf of ``profile`` says of itself, each with whether it is critical.

    Besides these it has the two key identifiers that every certificate has.
    """
    return (
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_usage(leaf_of=profile), True),
        (x509.ExtendedKeyUsage(profile.uses), False),
        (x509.SubjectAlternativeName(map(x509.DNSName, names)), False),
    )


def revocation_list(
    issuer: x509.Certificate,
    issuer_key: SigningKey,
    number: int,
    revocations: Iterable[Revocation],
    now: datetime,
    life: timedelta,
) -> x509.CertificateRevocationList:
    """Return the list number ``number`` of what ``issuer`` has withdrawn."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(now - BACKDATE)
        .next_update(now + life)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(_authority_key(issuer_key.public_key()), critical=False)
    )
    for revocation in revocations:
        entry = (
            x509.RevokedCertificateBuilder()
            .serial_number(revocation.serial)
            .revocation_date(revocation.at)
        )
        if revocation.reason != "unspecified":  # RFC 5280 5.3.1: say nothing rather than that
            entry = entry.add_extension(x509.CRLReason(REASONS[revocation.reason]), critical=False)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(issuer_key, hashes.SHA384())


def crl_number(crl: x509.CertificateRevocationList) -> int:
    """Return the number a list carries."""
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """Return the DNS names a certificate carries, in order; none when it has no such extension."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    return tuple(extension.value.get_values_for_type(x509.DNSName))


def is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Tell whether ``issuer``'s key signed ``certificate`` under ``issuer``'s name."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (*MALFORMED, TypeError, InvalidSignature):
        return False
    return True


def fingerprint(certificate: x509.Certificate) -> str:
    """Return the SHA-256 fingerprint in lower-case hex."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def facts(certificate: x509.Certificate) -> Mapping[str, object]:
    """Return what may be shown of a certificate: names, serial, dates, fingerprint."""
    return {
        "names": list(names_of(certificate)),
        "subject": certificate.subject.rfc4514_string(),
        "serial": f"{certificate.serial_number:x}",
        "not_before": certificate.not_valid_before_utc.isoformat(),
        "not_after": certificate.not_valid_after_utc.isoformat(),
        "sha256": fingerprint(certificate),
    }


def _base(
    name: x509.Name,
    public_key: CertificatePublicKeyTypes,
    serial: int,
    now: datetime,
    end: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .public_key(public_key)
        .serial_number(serial)
        .not_valid_before(now - BACKDATE)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _ca(
    name: x509.Name,
    domain: str,
    public_key: ec.EllipticCurvePublicKey,
    path_length: int,
    now: datetime,
    end: datetime,
) -> x509.CertificateBuilder:
    permitted = x509.NameConstraints([x509.DNSName(domain)], None)
    return (
        _base(name, public_key, x509.random_serial_number(), now, end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_usage(leaf_of=None), critical=True)
        .add_extension(permitted, critical=True)
    )


def _signed(
    builder: x509.CertificateBuilder, issuer: x509.Name, key: SigningKey
) -> x509.Certificate:
    return (
        builder.issuer_name(issuer)
        .add_extension(_authority_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA384())
    )


def _authority_key(key: ec.EllipticCurvePublicKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key)


def _usage(leaf_of: Profile | None) -> x509.KeyUsage:
    """Return the key usage of a leaf of a profile, or of a CA."""
    agrees = leaf_of is not None and leaf_of.agrees_keys
    return x509.KeyUsage(
        digital_signature=leaf_of is not None and not agrees,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=agrees,
        key_cert_sign=leaf_of is None,
        crl_sign=leaf_of is None,
        encipher_only=False,
        decipher_only=False,
    )
