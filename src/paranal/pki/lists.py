"""A revocation list on its own, from whoever brings it: whose it is, and whether it is news.

A list is signed by its authority, so the messenger does not matter (RFC 5280 section 6.3); what
could harm is a list of another authority, an old one put back, and one that speaks of a part only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from paranal.messages import Refusal
from paranal.pki.certificates import MALFORMED, crl_number
from paranal.pki.peers import HASH_OCTETS_AT_LEAST, PublicAuthority, is_list_of

OCTETS_MAX = 262144
"""Size of a list that is looked at; 90-day leaves leave room for thousands of revocations."""

AHEAD = timedelta(minutes=5)
"""How far in our future a list may begin: a clock runs behind, or its signer's ahead."""

KNOWN = (x509.CRLNumber, x509.AuthorityKeyIdentifier)
"""Extensions of a list that speaks of all its authority's certificates."""


@dataclass(frozen=True)
class News:
    """A judged list: ``name`` is ``root`` or ``issuing``, ``authority`` its member's, with it."""

    authority: PublicAuthority
    name: str
    is_newer: bool
    added: frozenset[int] = frozenset()
    """Serials that it withdraws beyond the list that we hold."""
    generations: tuple[PublicAuthority, ...] = ()
    """All generations of the member's authority that we hold, this one with its list."""

    @property
    def member(self) -> str:
        """Whose list it is."""
        return self.authority.member

    @property
    def file(self) -> str:
        """What its file is called."""
        return f"{self.authority.stem}-{self.name}.crl"

    @property
    def crl(self) -> x509.CertificateRevocationList:
        """The list itself."""
        return list_of(self.authority, self.name)

    @property
    def number(self) -> int:
        """The list's number."""
        return crl_number(self.crl)


def list_of(authority: PublicAuthority, name: str) -> x509.CertificateRevocationList:
    """Return the list that one of a member's two authorities signed."""
    return authority.root_crl if name == "root" else authority.issuing_crl


def with_list(
    authority: PublicAuthority, name: str, crl: x509.CertificateRevocationList
) -> PublicAuthority:
    """Return the authority with another list of ``root`` or ``issuing``."""
    if name == "root":
        return replace(authority, root_crl=crl)
    return replace(authority, issuing_crl=crl)


def parse(data: bytes) -> x509.CertificateRevocationList:
    """Return the one list in ``data`` (PEM or DER).

    Refuses (PAR-0903) more than ``OCTETS_MAX`` octets, (PAR-0904) what is no list or several.
    """
    if len(data) > OCTETS_MAX:
        raise Refusal("PAR-0903", limit=OCTETS_MAX)
    is_pem = data.lstrip().startswith(b"-----")
    try:
        if is_pem and data.count(b"-----BEGIN ") != 1:
            raise Refusal("PAR-0904", reason="PEM")
        crl = x509.load_pem_x509_crl(data) if is_pem else x509.load_der_x509_crl(data)
        _ = crl.extensions, crl.signature_hash_algorithm, crl.issuer
        crl_number(crl)
    except (*MALFORMED, x509.ExtensionNotFound) as error:
        raise Refusal("PAR-0904", reason=type(error).__name__) from None
    return crl


def judge(
    crl: x509.CertificateRevocationList, held: Iterable[PublicAuthority], now: datetime
) -> News:
    """Return whose list it is and whether it is newer than the one we hold.

    Refuses a list of none of the authorities ``held`` (PAR-0905), one of a part only or weakly
    signed (PAR-0909), one outside its life (PAR-0908), an older one (PAR-0906), and another under
    the number of the one that we hold (PAR-0907).
    """
    everybody = list(held)
    authority, name = _owner(crl, everybody)
    member, before = authority.member, list_of(authority, name)
    if not is_whole(crl):
        raise Refusal("PAR-0909", member=member, list=name)
    begin, end = crl.last_update_utc, crl.next_update_utc
    if end is None or not begin <= now + AHEAD or not max(begin, now) < end:
        raise Refusal("PAR-0908", member=member, list=name, begin=begin, end=end, now=now)
    number, known = crl_number(crl), crl_number(before)
    if number < known:
        raise Refusal("PAR-0906", member=member, list=name, number=number, held=known)
    if number == known and der(crl) != der(before):
        raise Refusal("PAR-0907", member=member, list=name, number=number)
    new = with_list(authority, name, crl)
    mine = (one for one in everybody if one.member == member)
    generations = tuple(new if one is authority else one for one in mine)
    return News(new, name, number > known, revoked(new) - revoked(authority), generations)


def newest(authority: PublicAuthority, others: Iterable[bytes], now: datetime) -> PublicAuthority:
    """Return the authority with the newest of its own lists; what is no news is ignored."""
    for data in others:
        try:
            authority = judge(parse(data), [authority], now).authority
        except Refusal:
            continue
    return authority


def der(crl: x509.CertificateRevocationList) -> bytes:
    """Return a list's octets."""
    return crl.public_bytes(Encoding.DER)


def revoked(authority: PublicAuthority) -> frozenset[int]:
    """Return the serials that the issuing CA's list has withdrawn."""
    return frozenset(entry.serial_number for entry in authority.issuing_crl)


def _owner(
    crl: x509.CertificateRevocationList, held: Iterable[PublicAuthority]
) -> tuple[PublicAuthority, str]:
    for authority in held:
        for name, issuer in (("root", authority.root), ("issuing", authority.issuing)):
            if is_list_of(crl, issuer):
                return authority, name
    raise Refusal("PAR-0905", issuer=ascii(crl.issuer.rfc4514_string()[:80]))


def is_whole(crl: x509.CertificateRevocationList) -> bool:
    """Tell whether a list is strongly signed and complete: no delta, no part, no other's."""
    algorithm = crl.signature_hash_algorithm
    strong = algorithm is not None and algorithm.digest_size >= HASH_OCTETS_AT_LEAST
    return strong and all(isinstance(one.value, KNOWN) for one in crl.extensions)
