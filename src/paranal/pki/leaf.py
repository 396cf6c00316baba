"""Is this leaf one that a member's authority vouches for now, for this use and this name alone?

There is no path to build: trust is pinned to a root *and* its issuing CA (``peers``, which checked
their signatures, keys and name constraints), so the only path is root, issuing CA, leaf. What the
leaf says must be what its profile gives, to the letter; both lists must be of now (PKI-006).
charon and OpenSSL judge IKE and TLS by the same files; this is for what neither of them sees.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from cryptography import x509

from paranal.messages import Refusal
from paranal.pki.certificates import MALFORMED, is_issued_by, key_type, leaf_extensions, subject
from paranal.pki.lists import is_whole
from paranal.pki.peers import HASH_OCTETS_AT_LEAST, PublicAuthority
from paranal.pki.profiles import LEAF_LIFE, Profile

IDENTIFIERS = (x509.SubjectKeyIdentifier, x509.AuthorityKeyIdentifier)


def check(
    leaf: x509.Certificate, one: PublicAuthority, profile: Profile, name: str, now: datetime
) -> None:
    """Refuse a leaf that ``one`` does not vouch for as ``profile`` and ``name``, at ``now``.

    Refuses what its issuing CA did not sign (PAR-0462), another use, name, key or shape
    (PAR-0463), a certificate of the path outside its life (PAR-0464), a list that is not whole and
    of now (PAR-0466), and what a list withdrew (PAR-0465).
    """
    if not is_issued_by(leaf, one.issuing):
        raise Refusal("PAR-0462", member=one.member)
    if (fault := _fault(leaf, one.member, profile, name)) is not None:
        raise Refusal("PAR-0463", member=one.member, name=name, part=fault)
    for part, certificate in (("root", one.root), ("issuing", one.issuing), ("leaf", leaf)):
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if not begin <= now <= end:
            raise Refusal("PAR-0464", member=one.member, part=part, begin=begin, end=end, now=now)
    for part, crl, certificate in _judged_by(leaf, one):
        _check_list(part, crl, one.member, now)
        if crl.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None:
            raise Refusal("PAR-0465", member=one.member, serial=f"{certificate.serial_number:x}")


Judged = tuple[str, x509.CertificateRevocationList, x509.Certificate]


def _judged_by(leaf: x509.Certificate, one: PublicAuthority) -> Iterator[Judged]:
    """Yield each list by name with the certificate that it may have withdrawn."""
    yield "root", one.root_crl, one.issuing
    yield "issuing", one.issuing_crl, leaf


def _check_list(part: str, crl: x509.CertificateRevocationList, member: str, now: datetime) -> None:
    end = crl.next_update_utc
    if end is None or not crl.last_update_utc <= now <= end or not is_whole(crl):
        raise Refusal("PAR-0466", member=member, list=part, end=end, now=now)


def _fault(leaf: x509.Certificate, member: str, profile: Profile, name: str) -> str | None:
    """Return the part of a leaf that is not as the profile gives it, or None."""
    try:
        algorithm = leaf.signature_hash_algorithm
        key = key_type(leaf.public_key())
        found = {(each.value, each.critical) for each in leaf.extensions
                 if not isinstance(each.value, IDENTIFIERS)}  # fmt: skip
    except (*MALFORMED, TypeError) as error:
        return type(error).__name__
    if algorithm is None or algorithm.digest_size < HASH_OCTETS_AT_LEAST:
        return "hash"
    if key not in profile.keys:
        return key
    if leaf.subject != subject(member, name):
        return "subject"
    if leaf.not_valid_after_utc - leaf.not_valid_before_utc > LEAF_LIFE:
        return "life"
    other = found ^ set(leaf_extensions(profile, [name]))
    return min((value.oid._name for value, _ in other), default=None)
