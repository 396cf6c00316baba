"""One country's certificate authority: a directory, its two keys, and what they signed.

::

    ca/pe/  ca.json  lock
            root/     key.pem  certificate.pem  crl.pem  issued.jsonl  revoked.jsonl
            issuing/  the same

Keys are PKCS#8, encrypted under a passphrase. ``root/key.pem`` may be taken away (offline root):
everything but a new root list or a revocation by the root works without it. A register line is
durable before the certificate it describes leaves the authority, so no serial is used twice
whatever crashes. See docs/adr/0005 for placement and lifetimes.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import (
    CertificatePublicKeyTypes,
    PublicKeyTypes,
)
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from paranal.messages import Refusal
from paranal.pki import certificates
from paranal.pki.certificates import REASONS, Revocation, SigningKey, authority_stem
from paranal.pki.profiles import LEAF_LIFE, Profile, checked_names, profile_named
from paranal.pki.storage import Register, locked, sync_directory, write_atomic

ROOT_CRL_LIFE = timedelta(days=365)
ISSUING_CRL_LIFE = timedelta(days=7)
RENEW_AT_FRACTION = 1 / 3
"""A list is signed anew when less than this fraction of its life is left."""
LEAF_LIFE_AT_LEAST = timedelta(days=1)
MINUTE = timedelta(minutes=1)
LEAF_LIFE_SHORTEST = 2 * MINUTE
PUBLIC_MODE = 0o644

_MEMBER = re.compile(r"[a-z]{2}")
_DOMAIN = re.compile(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def utc_now() -> datetime:
    """Return the time in UTC to the second, as certificates keep it."""
    return datetime.now(UTC).replace(microsecond=0)


@dataclass(frozen=True)
class Issued:
    """A new leaf: the certificate, its issuing CA's, and the profile it was made from."""

    certificate: x509.Certificate
    issuer: x509.Certificate
    profile: str

    @property
    def pem(self) -> bytes:
        """The leaf alone."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def chain_pem(self) -> bytes:
        """The leaf and its issuing CA: what a TLS server sends."""
        return self.pem + self.issuer.public_bytes(Encoding.PEM)


class _Signer:
    """One of the two CAs: its certificate, its key when it is at hand, and its registers."""

    def __init__(self, directory: Path, passphrase: bytes | None, crl_life: timedelta) -> None:
        self.directory = directory
        self.crl_life = crl_life
        self.issued = Register(directory / "issued.jsonl")
        self.revoked = Register(directory / "revoked.jsonl")
        self._passphrase = passphrase

    @cached_property
    def certificate(self) -> x509.Certificate:
        path = self.directory / "certificate.pem"
        with _read_from(path):
            return x509.load_pem_x509_certificate(path.read_bytes())

    @cached_property
    def key(self) -> SigningKey:
        path = self.directory / "key.pem"
        if not path.exists():
            raise Refusal("PAR-0413", path=path)
        with _read_from(path):
            pem = path.read_bytes()
        try:
            key = load_pem_private_key(pem, self._passphrase)
        except (ValueError, TypeError):
            raise Refusal("PAR-0403", path=path) from None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise Refusal("PAR-0414", path=path, reason=type(key).__name__)
        return key

    @property
    def has_key(self) -> bool:
        return (self.directory / "key.pem").exists()

    @property
    def crl(self) -> x509.CertificateRevocationList | None:
        path = self.directory / "crl.pem"
        with _read_from(path):
            return x509.load_pem_x509_crl(path.read_bytes()) if path.exists() else None

    def record(self, certificate: x509.Certificate, profile: str, now: datetime) -> None:
        """Write one issuance down, before the certificate is handed to anyone."""
        entry = {
            "at": now.isoformat(),
            "profile": profile,
            "key_sha256": key_digest(certificate.public_key()),
            **certificates.facts(certificate),
        }
        self.issued.append(entry)

    def withdrawn(self, now: datetime) -> list[Revocation]:
        """Return what a list signed now must name.

        A certificate stays on the list for one list's life after it expired (RFC 5280 3.3).
        """
        self.issued.refresh()
        self.revoked.refresh()
        revoked = {entry["serial"]: entry for entry in self.revoked.entries}
        found = []
        for entry in self.issued.entries:
            end = datetime.fromisoformat(entry["not_after"])
            withdrawal = revoked.pop(entry["serial"], None)
            if withdrawal and end + self.crl_life > now:
                at = datetime.fromisoformat(withdrawal["at"])
                found.append(Revocation(int(entry["serial"], 16), at, withdrawal["reason"]))
        if revoked:  # the register of issuances was lost or cut: do not forget a revocation
            raise Refusal("PAR-0414", path=self.issued.path, reason=f"-{next(iter(revoked))}")
        return found

    def is_crl_due(self, now: datetime) -> bool:
        """Tell whether a new list is wanted: none, a revocation missing, a third of life left."""
        crl = self.crl
        if crl is None or crl.next_update_utc is None:
            return True
        if crl.next_update_utc - now < self.crl_life * RENEW_AT_FRACTION:
            return True
        named = {entry.serial_number for entry in crl}
        return not {entry.serial for entry in self.withdrawn(now)} <= named

    def sign_crl(self, now: datetime) -> None:
        """Sign and store the next list.

        Its number is the time in seconds, or one more than the last list's: it grows also when
        the directory was restored from an older backup, so no peer ever sees a number again.
        """
        last = self.crl
        number = int(now.timestamp())
        if last is not None:
            number = max(number, certificates.crl_number(last) + 1)
        crl = certificates.revocation_list(
            self.certificate, self.key, number, self.withdrawn(now), now, self.crl_life
        )
        write_atomic(self.directory / "crl.pem", crl.public_bytes(Encoding.PEM), PUBLIC_MODE)


class CertificateAuthority:
    """A country's root and issuing CA over one directory. Processes share it through its lock."""

    def __init__(
        self,
        directory: Path,
        passphrase: bytes | None = None,
        *,
        root_passphrase: bytes | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """Open ``directory``; a passphrase is needed for signing only.

        ``root_passphrase`` defaults to ``passphrase``. Refuses (PAR-0401) a directory that holds
        no authority.
        """
        self.directory = directory
        try:
            settings = json.loads((directory / "ca.json").read_text(encoding="utf-8"))
            self.member: str = settings["member"]
            self.domain: str = settings["domain"]
            self.generation: int = settings.get("generation", 1)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Refusal("PAR-0401", directory=directory, reason=error) from None
        self._clock = clock
        self._root = _Signer(directory / "root", root_passphrase or passphrase, ROOT_CRL_LIFE)
        self._issuing = _Signer(directory / "issuing", passphrase, ISSUING_CRL_LIFE)
        self._learned = 0
        self._serials: set[str] = set()
        self._keys: set[str] = set()

    @classmethod
    def create(
        cls,
        directory: Path,
        member: str,
        domain: str,
        passphrase: bytes,
        *,
        root_passphrase: bytes | None = None,
        clock: Callable[[], datetime] = utc_now,
        generation: int = 1,
    ) -> CertificateAuthority:
        """Make ``member``'s authority for names below ``domain``, with its first two lists.

        The directory appears whole or not at all. Refuses (PAR-0416) to touch one that has
        anything in it, and a member or domain that is not one.
        """
        if not _MEMBER.fullmatch(member) or not _DOMAIN.fullmatch(domain):
            raise Refusal("PAR-0416", directory=directory, reason=f"{member} {domain}")
        building = directory.parent / f".{directory.name}.{secrets.token_hex(4)}"
        try:
            directory.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            building.mkdir(mode=0o700)
            now = clock()
            keys = {"root": certificates.new_key(), "issuing": certificates.new_key()}
            root = certificates.root(member, domain, generation, keys["root"], now)
            issuing = certificates.issuing(
                member, domain, generation, keys["issuing"].public_key(), root, keys["root"], now
            )
            settings = {"schema": 1, "member": member, "domain": domain, "generation": generation}
            write_atomic(building / "ca.json", json.dumps(settings).encode() + b"\n")
            secret = {"root": root_passphrase or passphrase, "issuing": passphrase}
            for name, certificate in (("root", root), ("issuing", issuing)):
                _store_signer(building / name, certificate, keys[name], secret[name])
            authority = cls(building, passphrase, root_passphrase=root_passphrase, clock=clock)
            authority._root.record(issuing, "issuing-ca", now)
            authority.crl()
            sync_directory(building)
            building.rename(directory)
        except OSError as error:
            raise Refusal("PAR-0416", directory=directory, reason=error.strerror) from None
        finally:
            shutil.rmtree(building, ignore_errors=True)
        sync_directory(directory.parent)
        return cls(directory, passphrase, root_passphrase=root_passphrase, clock=clock)

    @property
    def root(self) -> x509.Certificate:
        """The self-signed root."""
        return self._root.certificate

    @property
    def issuing(self) -> x509.Certificate:
        """The CA that signs leaves."""
        return self._issuing.certificate

    def unlock(self) -> None:
        """Open the issuing key now: a wrong passphrase (PAR-0403) shows before work begins."""
        self._issuing.key  # noqa: B018 - opened and kept by looking at it

    def issue(
        self,
        csr_pem: bytes,
        profile_name: str,
        names: Sequence[str],
        life: timedelta = LEAF_LIFE,
    ) -> Issued:
        """Certify the key of a signing request for ``names`` under a profile, for ``life``.

        Names, usage and life come from us and the profile, never from the request; a request that
        names something else is refused. A key is certified once. Refusals: PAR-0404 to PAR-0409,
        PAR-0415, PAR-0437 for a life that is none or longer than ``LEAF_LIFE``.
        """
        if not LEAF_LIFE_SHORTEST <= life <= LEAF_LIFE:
            raise Refusal("PAR-0437", minutes=life / MINUTE, longest=LEAF_LIFE / MINUTE)
        profile = profile_named(profile_name)
        wanted = checked_names(names, self.domain, profile)
        public_key = _checked_request(csr_pem, profile, wanted)
        with locked(self.directory):
            now = self._clock()
            if self.issuing.not_valid_after_utc - now < LEAF_LIFE_AT_LEAST:
                raise Refusal("PAR-0415", member=self.member, end=self.issuing.not_valid_after_utc)
            self._learn()
            if key_digest(public_key) in self._keys:
                raise Refusal("PAR-0409", name=wanted[0])
            certificate = certificates.leaf(
                profile,
                self.member,
                wanted,
                public_key,
                self._new_serial(),
                self.issuing,
                self._issuing.key,
                now,
                life,
            )
            self._issuing.record(certificate, profile.name, now)
        return Issued(certificate, self.issuing, profile.name)

    def issued(self) -> list[dict[str, Any]]:
        """Return the register of leaves, oldest first, each with ``revoked``: a reason or None."""
        with locked(self.directory):
            self._issuing.issued.refresh()
            self._issuing.revoked.refresh()
            reasons = {entry["serial"]: entry["reason"] for entry in self._issuing.revoked.entries}
            return [
                {**entry, "revoked": reasons.get(entry["serial"])}
                for entry in self._issuing.issued.entries
            ]

    def revoke(self, serial: int, reason: str) -> bool:
        """Withdraw a certificate and sign the list that says so; False when it already was.

        Refuses (PAR-0410) a serial this authority never issued and (PAR-0411) an unknown reason.
        """
        if reason not in REASONS:
            raise Refusal("PAR-0411", reason=reason, reasons=", ".join(REASONS))
        with locked(self.directory):
            now = self._clock()
            signer = self._signer_of(f"{serial:x}")
            signer.revoked.refresh()
            if any(entry["serial"] == f"{serial:x}" for entry in signer.revoked.entries):
                self._renew_lists(now)
                return False
            signer.key  # noqa: B018 - an offline key must refuse before anything is written
            signer.revoked.append(
                {"serial": f"{serial:x}", "at": now.isoformat(), "reason": reason}
            )
            self._renew_lists(now)
        return True

    def crl(self) -> list[str]:
        """Sign the lists that are due and return which: of ``root`` and ``issuing``.

        A list is due when a revocation is missing from it or a third of its life is left, so a
        second call changes nothing. A due root list waits while the root's key is offline;
        ``status`` tells.
        """
        with locked(self.directory):
            return self._renew_lists(self._clock())

    def lists(self) -> dict[str, x509.CertificateRevocationList]:
        """Return the current lists by ``root`` and ``issuing``; refuse (PAR-0414) a lost one."""
        found = {}
        for name, signer in (("root", self._root), ("issuing", self._issuing)):
            crl = signer.crl
            if crl is None:
                raise Refusal("PAR-0414", path=signer.directory / "crl.pem", reason="missing")
            found[name] = crl
        return found

    def publish(self, target: Path, *, dry: bool = False) -> list[str]:
        """Put the public half into ``target``: ``ca/CC-{root,issuing}.pem``, ``crl/CC-….crl``.

        A later generation stands beside the first as ``CC-g2-root.pem`` and its like. Returns the
        files that changed, or with ``dry`` would change, relative to ``target``.
        """
        content = {}
        lists, stem = self.lists(), authority_stem(self.member, self.generation)
        for name, signer in (("root", self._root), ("issuing", self._issuing)):
            content[f"ca/{stem}-{name}.pem"] = signer.certificate.public_bytes(Encoding.PEM)
            content[f"crl/{stem}-{name}.crl"] = lists[name].public_bytes(Encoding.PEM)
        changed = []
        for relative, data in content.items():
            path = target / relative
            if path.exists() and path.read_bytes() == data:
                continue
            if not dry:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_atomic(path, data, PUBLIC_MODE)
            changed.append(relative)
        return changed

    def status(self) -> dict[str, Any]:
        """Return dates, counts and what is due, as plain JSON data; needs no passphrase."""
        with locked(self.directory):
            now = self._clock()
            signers = {"root": self._root, "issuing": self._issuing}
            report: dict[str, Any] = {
                "member": self.member,
                "domain": self.domain,
                "generation": self.generation,
            }
            for name, signer in signers.items():
                crl = signer.crl
                report[name] = {
                    **certificates.facts(signer.certificate),
                    "key_present": signer.has_key,
                    "crl_number": None if crl is None else certificates.crl_number(crl),
                    "crl_this_update": None if crl is None else crl.last_update_utc.isoformat(),
                    "crl_next_update": _iso(crl),
                    "crl_due": signer.is_crl_due(now),
                }
            self._issuing.revoked.refresh()
            report["leaves"] = {
                "issued": len(self._issuing.issued.entries),
                "revoked": len(self._issuing.revoked.entries),
            }
        return report

    def due_lists(self) -> list[str]:
        """Return which of ``root`` and ``issuing`` the next ``crl`` would sign."""
        with locked(self.directory):
            return [name for name, _ in self._due(self._clock())]

    def _due(self, now: datetime) -> list[tuple[str, _Signer]]:
        signers = (("root", self._root), ("issuing", self._issuing))
        return [
            (name, signer)
            for name, signer in signers
            if signer.is_crl_due(now) and (signer.has_key or name == "issuing")
        ]

    def _renew_lists(self, now: datetime) -> list[str]:
        due = self._due(now)
        for _, signer in due:
            signer.sign_crl(now)
        return [name for name, _ in due]

    def _signer_of(self, serial: str) -> _Signer:
        for signer in (self._issuing, self._root):
            signer.issued.refresh()
            if any(entry["serial"] == serial for entry in signer.issued.entries):
                return signer
        raise Refusal("PAR-0410", serial=serial, member=self.member)

    def _learn(self) -> None:
        """Take in what was issued since we last looked, by us or by another process."""
        self._issuing.issued.refresh()
        entries = self._issuing.issued.entries
        for entry in entries[self._learned :]:
            self._serials.add(entry["serial"])
            self._keys.add(entry["key_sha256"])
        self._learned = len(entries)

    def _new_serial(self) -> int:
        """Return a random serial of up to 20 octets that was never used here."""
        while f"{(serial := x509.random_serial_number()):x}" in self._serials:
            continue
        return serial


@contextmanager
def _read_from(path: Path) -> Iterator[None]:
    """Refuse (PAR-0414) one of the authority's own files that is lost or damaged."""
    try:
        yield
    except (OSError, *certificates.MALFORMED) as error:
        reason = getattr(error, "strerror", None) or error
        raise Refusal("PAR-0414", path=path, reason=reason) from None


def key_digest(key: PublicKeyTypes) -> str:
    """Return the SHA-256 of a public key's SubjectPublicKeyInfo, hex."""
    return sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def _iso(crl: x509.CertificateRevocationList | None) -> str | None:
    if crl is None or crl.next_update_utc is None:
        return None
    return crl.next_update_utc.isoformat()


def _store_signer(
    directory: Path, certificate: x509.Certificate, key: SigningKey, passphrase: bytes
) -> None:
    directory.mkdir(mode=0o700)
    encrypted = key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase)
    )
    write_atomic(directory / "key.pem", encrypted)
    pem = certificate.public_bytes(Encoding.PEM)
    write_atomic(directory / "certificate.pem", pem, PUBLIC_MODE)


def _checked_request(
    csr_pem: bytes, profile: Profile, names: tuple[str, ...]
) -> CertificatePublicKeyTypes:
    """Return the key of a request whose signature, key type and names are in order."""
    try:
        request = x509.load_pem_x509_csr(csr_pem)
        public_key = request.public_key()
        requested = _requested_names(request)
    except certificates.MALFORMED as error:
        raise Refusal("PAR-0404", name=names[0], reason=error) from None
    if not request.is_signature_valid:
        raise Refusal("PAR-0405", name=names[0])
    kind = certificates.key_type(public_key)
    if kind not in profile.keys:
        raise Refusal("PAR-0406", name=names[0], key=kind, keys=", ".join(profile.keys))
    if requested != names:
        raise Refusal("PAR-0417", name=names[0], requested=", ".join(requested) or "-")
    return public_key


def _requested_names(request: x509.CertificateSigningRequest) -> tuple[str, ...]:
    """Return the DNS names a request asks for; ``ValueError`` when it asks for anything else."""
    extensions = list(request.extensions)
    if len(extensions) != 1 or not isinstance(extensions[0].value, x509.SubjectAlternativeName):
        raise ValueError("one extension, subjectAltName, is expected")
    names = extensions[0].value
    if not all(isinstance(name, x509.DNSName) for name in names):
        raise ValueError("subjectAltName may hold DNS names only")
    return tuple(name.value for name in names)
