"""Certificates that no authority of the alliance would issue, made with an authority's own key."""

from __future__ import annotations

from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from paranal.lab.lab import Lab
from paranal.pki import certificates
from paranal.pki.authority import utc_now
from paranal.pki.profiles import profile_named
from paranal.pki.storage import read_passphrase


def forge(
    lab: Lab, authority: str, profile: str, name: str, ahead: timedelta = timedelta(0)
) -> tuple[str, str]:
    """Return key and chain (PEM) of a leaf for ``name``, signed by ``authority``'s issuing CA.

    ``ahead``: the authority's clock is so far ahead of ours.

    ``paranal pki`` refuses to issue a foreign name (PAR-0407); whoever holds the key can.
    """
    issuer, issuer_key = issuing_of(lab, authority)
    key = certificates.new_key()
    leaf = certificates.leaf(
        profile_named(profile),
        name.split(".")[1],
        [name],
        key.public_key(),
        x509.random_serial_number(),
        issuer,
        issuer_key,
        utc_now() + ahead,
    )
    chain = leaf.public_bytes(Encoding.PEM) + issuer.public_bytes(Encoding.PEM)
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return text.decode(), chain.decode()


def issuing_of(lab: Lab, authority: str) -> tuple[x509.Certificate, certificates.SigningKey]:
    """Return a country's issuing CA with its key."""
    directory = lab.home.folder / "ca" / authority
    passphrase = read_passphrase(directory.with_suffix(".passphrase"))
    issuing = directory / "issuing"
    key = load_pem_private_key((issuing / "key.pem").read_bytes(), passphrase)
    assert isinstance(key, certificates.SigningKey)
    return x509.load_pem_x509_certificate((issuing / "certificate.pem").read_bytes()), key
