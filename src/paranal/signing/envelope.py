"""A JWS in compact form (RFC 7515) that carries its signer's leaf and issuing CA.

The header is ``{"alg", "typ", "x5c"}`` and nothing else: no key, address or extension of the
sender's choosing is ever followed. The caller says who must have signed and what for (``typ``);
the algorithm follows from the leaf's key: ``EdDSA`` (RFC 8037) of Ed25519, ``ES384`` of P-384.
An ES384 signature has a twin that verifies too: keep or compare payloads, never whole envelopes.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from joserfc import jws
from joserfc.errors import BadSignatureError, JoseError
from joserfc.jwk import ECKey, GuestProtocol, OKPKey

from paranal.messages import Refusal
from paranal.pki import leaf as leaves
from paranal.pki.certificates import MALFORMED, key_type
from paranal.pki.peers import PublicAuthority
from paranal.pki.profiles import PROFILES

OCTETS_MAX = 32768
"""Size of an envelope that is looked at: a body of 16 KiB, two certificates, and base64."""

KINDS: dict[str, tuple[str, type[OKPKey] | type[ECKey]]] = {
    "Ed25519": ("EdDSA", OKPKey),
    "P-384": ("ES384", ECKey),
}
"""Type of the leaf's key -> the one algorithm that it signs with, and joserfc's key."""

ALGORITHMS = [algorithm for algorithm, _ in KINDS.values()]

HEADER = {"alg", "typ", "x5c"}
PATH = 2
"""Certificates in ``x5c``: the leaf and its issuing CA; the root is pinned, never sent."""


class _Registry(jws.JWSRegistry):
    """joserfc's rules, with room for two certificates (1.2 and later take 512 octets of header)."""

    max_header_length = OCTETS_MAX
    max_payload_length = OCTETS_MAX


@dataclass(frozen=True)
class Signer:
    """Our own signing leaf: its key, its algorithm, and the path that envelopes carry."""

    key: OKPKey | ECKey
    algorithm: str
    x5c: tuple[str, ...]


@dataclass(frozen=True)
class Sender:
    """Who must have signed: a member, its one signing name, and its authorities as trusted now."""

    member: str
    name: str
    authorities: tuple[PublicAuthority, ...]


@dataclass(frozen=True)
class Opened:
    """What was signed, and the leaf that signed it."""

    payload: bytes
    leaf: x509.Certificate


def read_signer(path: Path) -> Signer:
    """Return the signer in one PEM of key, leaf and issuing CA; refuses (PAR-0468)."""
    try:
        pem = path.read_bytes()
        key = load_pem_private_key(pem, None)
        chain = x509.load_pem_x509_certificates(pem)
        algorithm, kind = KINDS[key_type(key.public_key())]
        if len(chain) != PATH or key.public_key() != chain[0].public_key():
            raise ValueError("key, leaf and issuing CA are expected")
    except (OSError, KeyError, TypeError, *MALFORMED) as error:
        raise Refusal("PAR-0468", path=path, reason=type(error).__name__) from None
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    x5c = tuple(base64.b64encode(each.public_bytes(Encoding.DER)).decode() for each in chain)
    return Signer(kind.import_key(text), algorithm, x5c)


def sign(payload: bytes, typ: str, signer: Signer) -> str:
    """Return the envelope of ``payload``; ``typ`` names its kind; refuses (PAR-0460) a long one."""
    header = {"alg": signer.algorithm, "typ": typ, "x5c": list(signer.x5c)}
    text = jws.serialize_compact(
        header, payload, signer.key, registry=_Registry(algorithms=[signer.algorithm])
    )
    if len(text) > OCTETS_MAX:
        raise Refusal("PAR-0460", limit=OCTETS_MAX)
    return text


def opened(envelope: bytes, typ: str, sender: Sender, now: datetime) -> Opened:
    """Return what ``sender`` signed as ``typ``, judged at ``now``.

    Refuses one that is too long (PAR-0460), of another form (PAR-0461) or under an authority that
    is not the sender's (PAR-0462), a leaf as ``leaves.check`` does (PAR-0462 to PAR-0466), and a
    signature that is not the leaf's (PAR-0467).
    """
    if len(envelope) > OCTETS_MAX:
        raise Refusal("PAR-0460", limit=OCTETS_MAX)
    shown: list[x509.Certificate] = []

    def key_of(found: GuestProtocol) -> OKPKey | ECKey:
        """Return the leaf's key once the leaf is judged; joserfc asks before it verifies."""
        leaf, issuer = _path(found.headers(), typ, sender.member)
        leaves.check(leaf, _authority(issuer, sender), PROFILES["signing"], sender.name, now)
        shown.append(leaf)
        return _key(leaf)

    try:
        rules = _Registry(algorithms=ALGORITHMS)
        found = jws.deserialize_compact(envelope, key_of, registry=rules)
    except BadSignatureError:
        raise Refusal("PAR-0467", member=sender.member) from None
    except (JoseError, ValueError, TypeError, RecursionError) as error:
        raise Refusal("PAR-0461", member=sender.member, part=type(error).__name__) from None
    return Opened(found.payload, shown[0])


def _path(header: Any, typ: str, member: str) -> tuple[x509.Certificate, bytes]:  # noqa: ANN401 - JSON
    """Return the leaf and its issuing CA's octets from a header of exactly our form."""
    part = "header"
    try:
        if set(header) != HEADER:
            raise ValueError
        part = "typ"
        if header["typ"] != typ:
            raise ValueError
        part = "x5c"
        first, second = (base64.b64decode(text, validate=True) for text in header["x5c"])
        return x509.load_der_x509_certificate(first), second
    except (TypeError, *MALFORMED):
        raise Refusal("PAR-0461", member=member, part=part) from None


def _authority(issuer: bytes, sender: Sender) -> PublicAuthority:
    for one in sender.authorities:
        if one.issuing.public_bytes(Encoding.DER) == issuer:
            return one
    raise Refusal("PAR-0462", member=sender.member)


def _key(leaf: x509.Certificate) -> OKPKey | ECKey:
    """Return a judged leaf's key as the one kind that joserfc takes for its algorithm alone."""
    key = leaf.public_key()
    _, kind = KINDS[key_type(key)]
    return kind.import_key(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
