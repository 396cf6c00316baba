"""What members publish to each other, checked before it is trusted, and where a node keeps it.

``PUBLISHED/{ca/CC-{root,issuing}.pem,crl/CC-{root,issuing}.crl}`` is all that one member gives to
the others (``CertificateAuthority.publish``); a later generation of its authority stands beside as
``CC-g2-…`` (docs/adr/0019). ``read`` takes the four files of one generation and refuses what does
not hold together, ``read_agreed`` those that the agreement names; ``trust_files`` lays them out for
charon and for HAProxy.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from paranal.messages import Refusal
from paranal.pki.certificates import MALFORMED, authority_stem, crl_number, is_issued_by, key_type
from paranal.pki.storage import write_atomic

SWANCTL = "/etc/swanctl"
HASH_OCTETS_AT_LEAST = 32
HAPROXY = "/etc/haproxy/paranal"
TRUST_RECORD = "/etc/paranal/trust.json"
"""``{MEMBER: {root, issuing: {"number", "sha256"}}}``: what a node trusts, to probe and audit; of a
later generation ``g2-root``, ``g2-issuing``."""

_ROOT = re.compile(r"(?P<member>[a-z]{2})(-g(?P<generation>[1-9][0-9]*))?-root\.pem")

Parsed = TypeVar("Parsed")


@dataclass(frozen=True)
class PublicAuthority:
    """One generation of a member's public half: two certificates, two revocation lists."""

    member: str
    root: x509.Certificate
    issuing: x509.Certificate
    root_crl: x509.CertificateRevocationList
    issuing_crl: x509.CertificateRevocationList
    generation: int = 1

    @property
    def stem(self) -> str:
        """How the names of its files begin."""
        return authority_stem(self.member, self.generation)

    @property
    def is_withdrawn(self) -> bool:
        """Whether the root's list says that the issuing CA no longer counts."""
        serial = self.issuing.serial_number
        return self.root_crl.get_revoked_certificate_by_serial_number(serial) is not None

    @property
    def numbers(self) -> dict[str, int]:
        """The lists' numbers by their names in ``TRUST_RECORD``."""
        lists = {"root": self.root_crl, "issuing": self.issuing_crl}
        return {self.recorded(name): crl_number(crl) for name, crl in lists.items()}

    def recorded(self, name: str) -> str:
        """Return the name of ``root`` or ``issuing`` in ``TRUST_RECORD``."""
        return f"{self.stem}-{name}".removeprefix(f"{self.member}-")

    @property
    def crl_end(self) -> datetime:
        """When the first of the two lists ends; after it every new handshake is refused."""
        ends = (self.root_crl.next_update_utc, self.issuing_crl.next_update_utc)
        return min(end for end in ends if end is not None)


def read(published: Path, member: str, domain: str, generation: int = 1) -> PublicAuthority:
    """Return one generation of ``member``'s published authority, checked.

    Refuses (PAR-0418) a missing or unreadable file and (PAR-0419) one that does not belong: a
    chain or list with a wrong signature, a key that is not P-384, a CA that is not limited to
    ``domain`` by a critical permitted name constraint, an issuing CA its root withdrew.
    """
    folders = published / "ca", published / "crl"
    authority = _read(folders, member, generation)
    _refuse_faults(_faults(authority, folders, domain), member)
    _refuse_faults([_withdrawn(authority, folders)], member)
    return authority


def installed(member: str, domain: str, swanctl: Path = Path(SWANCTL)) -> list[PublicAuthority]:
    """Return ``member``'s authorities as this node has them for charon; refuses as ``read`` does.

    An issuing CA that its root withdrew is read all the same: what it signed is refused by charon
    and HAProxy, and its next list must still find its place.
    """
    folders = swanctl / "x509ca", swanctl / "x509crl"
    found = [_read(folders, member, generation) for generation in generations(folders[0], member)]
    for authority in found:
        _refuse_faults(_faults(authority, folders, domain), member)
    return found


def served(member: str, domain: str, folder: Path = Path(HAPROXY)) -> list[PublicAuthority]:
    """Return ``member``'s authorities as this node has them for whom it serves (HAProxy's files).

    The inverse of ``trust_files("haproxy", ...)``; refuses as ``installed`` does, and (PAR-0418)
    a file that does not hold root, issuing CA and both their lists of each generation.
    """
    ca, crl = folder / f"{member}-ca.pem", folder / f"{member}.crl"
    chains, found = _load(ca, _certificates, member), _load(crl, _lists, member)
    if not chains or len(chains) % 2 or len(chains) != len(found):
        raise Refusal("PAR-0418", path=crl, member=member, reason=f"{len(chains)}/{len(found)}")
    authorities = [
        PublicAuthority(member, chains[at], chains[at + 1], found[at], found[at + 1])
        for at in range(0, len(chains), 2)
    ]
    for one in authorities:
        faults = _faults(one, (folder, folder), domain)
        placed = ((crl if path.suffix == ".crl" else ca, fault) for path, fault in faults)
        _refuse_faults(placed, member)
    return authorities


def _certificates(pem: bytes) -> list[x509.Certificate]:
    """Parse every certificate of a file."""
    return [_certificate(part) for part in _parts(pem)]


def _lists(pem: bytes) -> list[x509.CertificateRevocationList]:
    """Parse every list of a file."""
    return [_list(part) for part in _parts(pem)]


def _parts(pem: bytes) -> list[bytes]:
    begin = b"-----BEGIN "
    return [begin + part for part in pem.split(begin)[1:]]


def _read(folders: tuple[Path, Path], member: str, generation: int) -> PublicAuthority:
    """Return what stands in a folder of CAs and one of lists."""
    (ca, crl), stem = folders, authority_stem(member, generation)
    return PublicAuthority(
        member,
        root=_load(ca / f"{stem}-root.pem", _certificate, member),
        issuing=_load(ca / f"{stem}-issuing.pem", _certificate, member),
        root_crl=_load(crl / f"{stem}-root.crl", _list, member),
        issuing_crl=_load(crl / f"{stem}-issuing.crl", _list, member),
        generation=generation,
    )


def read_agreed(
    published: Path, member: str, domain: str, roots: Collection[str]
) -> list[PublicAuthority]:
    """Return every published authority of ``member`` that is agreed, the oldest first.

    ``roots`` are SHA-256 (hex) of their roots' DER, from the agreement. Another generation is
    passed over, for it is not agreed yet, or no more: whoever can write where members publish could
    else put a country's own CA there. Refuses what ``read`` refuses, a member none of whose roots
    is agreed (PAR-0436) and an agreed root that is not among those published (PAR-0449).
    """
    found = _agreed(published, member, domain, roots)
    for digest in sorted(set(roots) - {_digest(one.root) for one in found}):
        raise Refusal("PAR-0449", path=published, member=member, root=digest[:16])
    return found


def _agreed(
    directory: Path, member: str, domain: str, roots: Collection[str]
) -> list[PublicAuthority]:
    """Return what ``read_agreed`` does, also where an agreed root has no file here."""
    found, others = [], []
    for generation in generations(directory / "ca", member):
        path = directory / f"ca/{authority_stem(member, generation)}-root.pem"
        digest = _digest(_load(path, _certificate, member))
        if digest in roots:
            found.append(read(directory, member, domain, generation))
        else:
            others.append(digest)
    if not found:  # what does not hold together is said before that nobody agreed on it
        read(directory, member, domain, generations(directory / "ca", member)[-1])
        agreed = ", ".join(root[:16] for root in roots) or "-"
        raise Refusal("PAR-0436", member=member, found=others[-1][:16], agreed=agreed)
    return found


def generations(directory: Path, member: str) -> list[int]:
    """Return the generations of ``member``'s authority in a directory of CAs; the first if none."""
    names = [_ROOT.fullmatch(path.name) for path in directory.glob(f"{member}*-root.pem")]
    found = {int(name["generation"] or 1) for name in names if name and name["member"] == member}
    return sorted(found or {1})


def accept(
    received: Path, published: Path, member: str, domain: str, roots: Collection[str], now: datetime
) -> list[str]:
    """Take ``member``'s newly received files into ``published``; return those that changed.

    ``received`` is laid out like ``published``, ``roots`` what the agreement says of the member.
    Besides what ``read`` checks, refuses a root that is not agreed (PAR-0436), lists that are older
    than those we hold (PAR-0420, a replay) or already over (PAR-0421). Of what we hold only the
    lists' numbers count: files of two generations, left by a crash, are thus replaced.
    """
    new = _agreed(received, member, domain, roots)
    for one in new:
        lists = {name: published / f"crl/{one.stem}-{name}.crl" for name in ("root", "issuing")}
        held = {
            one.recorded(name): _load(path, _number, member)
            for name, path in lists.items()
            if path.exists()
        }
        refuse_older(one, held)
        if one.crl_end <= now:
            raise Refusal("PAR-0421", member=member, end=one.crl_end)
    changed = []
    for relative in (path for one in new for path in public_files(member, one.generation)):
        content = (received / relative).read_bytes()
        target = published / relative
        if not target.exists() or target.read_bytes() != content:
            target.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(target, content, 0o644)
            changed.append(relative)
    return changed


def public_files(member: str, generation: int = 1) -> tuple[str, ...]:
    """Return the four files of one generation, relative to the published directory."""
    return tuple(
        f"{folder}/{authority_stem(member, generation)}-{name}.{suffix}"
        for folder, suffix in (("ca", "pem"), ("crl", "crl"))
        for name in ("root", "issuing")
    )


def agreed_roots(view: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the digests of each member's roots that a view brings from the agreement."""
    members = (view["member"], *view["peers"])
    return {member["code"]: member.get("roots", []) for member in members}


def refuse_older(authority: PublicAuthority, held: Mapping[str, int]) -> None:
    """Refuse (PAR-0420) lists whose number is below one that was trusted before."""
    for name, number in authority.numbers.items():
        if number < held.get(name, 0):
            raise Refusal(
                "PAR-0420", member=authority.member, list=name, number=number, held=held[name]
            )


def trusted_members(consumer: str, view: Mapping[str, Any]) -> dict[str, str]:
    """Return the members a node trusts in ``consumer``, each with its domain, ourselves first.

    charon trusts every member: a pair with nothing open still proves its line. HAProxy trusts only
    who has a direction open on either channel, because TLS is one of the layers that close one.
    """
    peers = view["peers"]
    if consumer == "haproxy":
        peers = [peer for peer in peers if peer["pair"]["channels"]]
    return {member["code"]: member["domain"] for member in (view["member"], *peers)}


def trust_files(consumer: str, authorities: Sequence[PublicAuthority]) -> dict[str, str]:
    """Return target path -> content of the trust that ``swanctl`` or ``haproxy`` keeps."""
    files: dict[str, str] = {}
    if consumer == "haproxy":
        for one in authorities:  # the generations of one member share its two files
            for path, text in _for_haproxy(one).items():
                files[path] = files.get(path, "") + text
        return files
    records: dict[str, dict[str, object]] = {}
    for one in authorities:
        files |= _for_swanctl(one)
        records.setdefault(one.member, {}).update(record(one))
    files[TRUST_RECORD] = record_text(records)
    return files


def record_text(records: Mapping[str, object]) -> str:
    """Return the content of ``TRUST_RECORD``."""
    return json.dumps(records, indent=1, sort_keys=True) + "\n"


def _for_swanctl(one: PublicAuthority) -> dict[str, str]:
    return {
        f"{SWANCTL}/x509ca/{one.stem}-root.pem": _pem(one.root),
        f"{SWANCTL}/x509ca/{one.stem}-issuing.pem": _pem(one.issuing),
        f"{SWANCTL}/x509crl/{one.stem}-root.crl": _pem(one.root_crl),
        f"{SWANCTL}/x509crl/{one.stem}-issuing.crl": _pem(one.issuing_crl),
    }


def _for_haproxy(one: PublicAuthority) -> dict[str, str]:
    return {
        f"{HAPROXY}/{one.member}-ca.pem": _pem(one.root) + _pem(one.issuing),
        f"{HAPROXY}/{one.member}.crl": _pem(one.root_crl) + _pem(one.issuing_crl),
    }


def record(one: PublicAuthority) -> dict[str, object]:
    """Return what one generation gives to its member's entry in ``TRUST_RECORD``."""
    pairs = {"root": one.root, "issuing": one.issuing}
    return {
        one.recorded(name): {
            "number": one.numbers[one.recorded(name)],
            "sha256": _digest(certificate),
        }
        for name, certificate in pairs.items()
    }


def _digest(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(SHA256()).hex()


def _pem(thing: x509.Certificate | x509.CertificateRevocationList) -> str:
    return thing.public_bytes(Encoding.PEM).decode("ascii")


def _load(path: Path, parse: Callable[[bytes], Parsed], member: str) -> Parsed:
    try:
        return parse(path.read_bytes())
    except (OSError, *MALFORMED, x509.ExtensionNotFound) as error:
        reason = getattr(error, "strerror", None) or error
        raise Refusal("PAR-0418", path=path, member=member, reason=reason) from None


def _certificate(pem: bytes) -> x509.Certificate:
    """Parse a certificate with the parts that would else be parsed when first looked at."""
    certificate = x509.load_pem_x509_certificate(pem)
    _ = certificate.public_key(), certificate.extensions, certificate.signature_hash_algorithm
    return certificate


def _list(pem: bytes) -> x509.CertificateRevocationList:
    """Parse a list, as ``_certificate`` does a certificate."""
    crl = x509.load_pem_x509_crl(pem)
    _ = crl.extensions
    return crl


def _number(pem: bytes) -> int:
    """Return the number of a list that we hold."""
    return crl_number(_list(pem))


Fault = tuple[str, str] | None
Found = tuple[Path, Fault]


def _refuse_faults(found: Iterable[Found], member: str) -> None:
    for path, fault in found:
        if fault:
            es, en = fault
            raise Refusal("PAR-0419", path=path, member=member, es=es, en=en)


def _faults(one: PublicAuthority, folders: tuple[Path, Path], domain: str) -> list[Found]:
    """Return each file with what is wrong with it, or None (Spanish, English)."""
    root, issuing = (folders[0] / f"{one.stem}-{name}.pem" for name in ("root", "issuing"))
    root_crl, issuing_crl = (folders[1] / f"{one.stem}-{name}.crl" for name in ("root", "issuing"))
    chain = ("su firma no es de la raíz", "its signature is not the root's")
    signature = ("su firma no es de su autoridad", "its signature is not its authority's")
    return [
        (root, None if is_issued_by(one.root, one.root) else chain),
        (root, _ca_fault(one.root, domain)),
        (issuing, None if is_issued_by(one.issuing, one.root) else chain),
        (issuing, _ca_fault(one.issuing, domain)),
        (root_crl, None if is_list_of(one.root_crl, one.root) else signature),
        (issuing_crl, None if is_list_of(one.issuing_crl, one.issuing) else signature),
    ]


def _withdrawn(one: PublicAuthority, folders: tuple[Path, Path]) -> Found:
    withdrawn = ("la raíz la revocó", "the root revoked it")
    return folders[0] / f"{one.stem}-issuing.pem", withdrawn if one.is_withdrawn else None


def _ca_fault(certificate: x509.Certificate, domain: str) -> Fault:
    """Return why a peer's certificate is no CA of ``domain`` alone."""
    if key_type(certificate.public_key()) != "P-384":
        return "su clave no es P-384", "its key is not P-384"
    algorithm = certificate.signature_hash_algorithm
    if algorithm is None or algorithm.digest_size < HASH_OCTETS_AT_LEAST:
        return "su firma usa un resumen débil", "its signature uses a weak hash"
    try:
        basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        limits = certificate.extensions.get_extension_for_class(x509.NameConstraints)
    except (x509.ExtensionNotFound, *MALFORMED):
        return "no es una CA limitada por nombres", "it is not a name-constrained CA"
    if not (basic.value.ca and basic.critical):
        return "no es una CA", "it is not a CA"
    permitted = limits.value.permitted_subtrees or []
    if not limits.critical or list(permitted) != [x509.DNSName(domain)]:
        return f"no está limitada a {domain}", f"it is not limited to {domain}"
    return None


def is_list_of(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    """Tell whether a list is ``issuer``'s: name, signature, a number and an end."""
    key = issuer.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or crl.issuer != issuer.subject:
        return False
    has_number = any(isinstance(one.value, x509.CRLNumber) for one in crl.extensions)
    return has_number and crl.next_update_utc is not None and crl.is_signature_valid(key)
