"""Who asks, as HAProxy tells it: certificates with any names, and members' views."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from paranal.serving.view import View
from tests.unit.agreement.views import view


@cache
def view_of(code: str = "co") -> View:
    """Return a member's view as its query server reads it."""
    return msgspec.json.decode(json.dumps(view(code)), type=View)


@cache
def certificate(*names: str) -> str:
    """Return a certificate with these DNS names, none without any, as the header carries it."""
    der = _signed(names)[1].public_bytes(Encoding.DER)
    return base64.b64encode(der).decode()


def credentials(*names: str) -> str:
    """Return a key and its self-signed certificate in one PEM, as a post keeps them."""
    key, own = _signed(names)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return (pem + own.public_bytes(Encoding.PEM)).decode()


def _signed(names: Sequence[str]) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    subject = x509.Name([])
    builder = x509.CertificateBuilder(
        subject, subject, key.public_key(), 1, now, now + timedelta(1)
    )
    if names:
        extension = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = builder.add_extension(extension, critical=True)
    return key, builder.sign(key, hashes.SHA256())
