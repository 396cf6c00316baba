"""A country's authority on a clock that the test moves, requests as a node makes them, openssl."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding

from paranal.pki.authority import CertificateAuthority

SM2_REQUEST = b"""\
-----BEGIN CERTIFICATE REQUEST-----
MIH7MIGhAgEAMAwxCjAIBgNVBAMMAXgwWTATBgcqhkjOPQIBBggqgRzPVQGCLQNC
AAT+bVcsXnwKoJiNW6ceF8+9soWJvAzIF0iIBBuZsZJQxhRzgWQDk4ZhScDY3TMc
ytAEv4gvqR/WzR/BDEK3gnPvoDMwMQYJKoZIhvcNAQkOMSQwIjAgBgNVHREEGTAX
ghVndy5wZS5wYXJhbmFsLmV4YW1wbGUwCgYIKoZIzj0EAwIDSQAwRgIhAJWWNYCI
LMaQsKnsdyteNsQcrHfTIX11zznmOiVG1SZMAiEA87IrquGQ5RrLNCUr6nA0GBFa
Paq81plRpL//XCgn85U=
-----END CERTIFICATE REQUEST-----
"""
SM2_CERTIFICATE = b"""\
-----BEGIN CERTIFICATE-----
MIIBbTCCAROgAwIBAgIUFa2nFh8e/MW3l7DIO6lDqTOjAK4wCgYIKoEcz1UBg3Uw
DDEKMAgGA1UEAwwBeDAeFw0yNjExMjQxNzA5MDhaFw0yNjEyMDQxNzA5MDhaMAwx
CjAIBgNVBAMMAXgwWTATBgcqhkjOPQIBBggqgRzPVQGCLQNCAAT+bVcsXnwKoJiN
W6ceF8+9soWJvAzIF0iIBBuZsZJQxhRzgWQDk4ZhScDY3TMcytAEv4gvqR/WzR/B
DEK3gnPvo1MwUTAdBgNVHQ4EFgQUeXzrcak1afFJMuVkwDOc7F21iqYwHwYDVR0j
BBgwFoAUeXzrcak1afFJMuVkwDOc7F21iqYwDwYDVR0TAQH/BAUwAwEB/zAKBggq
gRzPVQGDdQNIADBFAiEA6i98Tf7FsJQSS4jfnaRNbGV47sD+FOXqvYwULTv7q9oC
IHXkddlVfuUVKelF+a0AafEmUfYhSnu7C6Z4ke7Bzw0V
-----END CERTIFICATE-----
"""
"""Of a curve that the library loads and then does not know; each was made by ``openssl req``."""

PASSPHRASE = b"a passphrase of the test, long enough"
Verify = Callable[..., str]
MakeRequest = Callable[..., bytes]
Country = Callable[[str], CertificateAuthority]
Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True)
class Strange:
    """A request and a certificate that raise on loading, or when their key is looked at."""

    request: bytes
    certificate: bytes


@dataclass
class Clock:
    """A clock that stands still until the test moves it."""

    now: datetime = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **span: float) -> None:
        self.now += timedelta(**span)


def request(names: Sequence[str], key: Key | None = None, *more: x509.ExtensionType) -> bytes:
    """Return a signing request (PEM) as a node makes it, with ``more`` extensions."""
    key = key or ec.generate_private_key(ec.SECP384R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    if names:
        subject_names = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = builder.add_extension(subject_names, critical=False)
    for extension in more:
        builder = builder.add_extension(extension, critical=True)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA384()
    return builder.sign(key, algorithm).public_bytes(Encoding.PEM)


@pytest.fixture(autouse=True)
def no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test's files need no power cut survived; a busy disk makes each sync cost milliseconds."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture(params=["key", "version"])
def strange(request: pytest.FixtureRequest) -> Strange:
    """Return what no library of ours can read to its end."""
    if request.param == "key":
        return Strange(SM2_REQUEST, SM2_CERTIFICATE)
    return Strange(other_version(SM2_REQUEST), other_version(SM2_CERTIFICATE))


def other_version(pem: bytes) -> bytes:
    """Return a PEM whose version, its first INTEGER (RFC 5280 4.1), is none that exists."""
    label = pem.split(b"-----")[1].removeprefix(b"BEGIN ").decode()
    der = bytearray(base64.b64decode(b"".join(pem.splitlines()[1:-1])))
    der[der.index(b"\x02\x01") + 2] = 6
    text = base64.encodebytes(der).decode()
    return f"-----BEGIN {label}-----\n{text}-----END {label}-----\n".encode()


@pytest.fixture
def csr() -> MakeRequest:
    """Return the function that makes a node's request."""
    return request


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create two authorities once, for the tests to copy."""
    return found(tmp_path_factory.mktemp("founded"), Clock())


def found(folder: Path, clock: Clock) -> Path:
    """Create the authorities of Colombia and Peru below a folder, and return it."""
    for member in ("co", "pe"):
        domain = f"{member}.paranal.example"
        CertificateAuthority.create(folder / member, member, domain, PASSPHRASE, clock=clock)
    return folder


@pytest.fixture
def country(tmp_path: Path, founded: Path, clock: Clock) -> Country:
    """Return a function that puts a member's new authority below ``tmp_path/ca``."""

    def copied(member: str) -> CertificateAuthority:
        directory = shutil.copytree(founded / member, tmp_path / "ca" / member)
        return CertificateAuthority(directory, PASSPHRASE, clock=clock)

    return copied


@pytest.fixture
def authority(country: Country) -> CertificateAuthority:
    return country("pe")


@pytest.fixture
def verify(tmp_path: Path) -> Verify:
    """Return a function that asks openssl about a leaf under a trusted authority.

    It answers ``OK`` or openssl's reason. ``trusted`` gives root, issuing CA and both lists.
    """

    def ask(leaf: bytes, trusted: CertificateAuthority, at: datetime, purpose: str = "any") -> str:
        root, chain, lists = (tmp_path / name for name in ("root.pem", "chain.pem", "lists.pem"))
        root.write_bytes(trusted.root.public_bytes(Encoding.PEM))
        chain.write_bytes(trusted.issuing.public_bytes(Encoding.PEM))
        crls = trusted.lists().values()
        lists.write_bytes(b"".join(crl.public_bytes(Encoding.PEM) for crl in crls))
        options = ["-x509_strict", "-crl_check_all", "-purpose", purpose]
        options += ["-attime", str(int(at.timestamp()))]
        files = ["-CAfile", f"{root}", "-untrusted", f"{chain}", "-CRLfile", f"{lists}"]
        done = subprocess.run(  # noqa: S603 - our own arguments, no shell
            ["/usr/bin/openssl", "verify", *options, *files],
            input=leaf,
            capture_output=True,
            check=False,
        )
        if done.returncode == 0:
            return "OK"
        return done.stderr.decode().partition("lookup: ")[2].partition("\n")[0] or "failed"

    return ask
