"""A node that holds an envelope of PE, and what it trusts of PE's authority."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from paranal.pki import peers
from paranal.pki.authority import CertificateAuthority
from paranal.signing import envelope

NAME, DOMAIN = "signer.pe.paranal.example", "pe.paranal.example"


@dataclass
class Node:
    """A node's files as the roles leave them, and an envelope of PE."""

    root: Path
    authority: CertificateAuthority
    leaf: x509.Certificate
    signer: Path
    data: bytes

    @property
    def serial(self) -> int:
        return self.leaf.serial_number

    @property
    def folder(self) -> Path:
        return self.root / peers.HAPROXY.lstrip("/")


@pytest.fixture
def node(tmp_path: Path, authority: CertificateAuthority, csr: Callable[..., bytes]) -> Node:
    authority.publish(tmp_path / "published")
    held = peers.read(tmp_path / "published", "pe", DOMAIN)
    root = tmp_path / "node"
    for consumer in ("swanctl", "haproxy"):
        for path, text in peers.trust_files(consumer, [held]).items():
            target = root / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
    key = ed25519.Ed25519PrivateKey.generate()
    issued = authority.issue(csr([NAME], key), "signing", [NAME])
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "signer.pem").write_bytes(pem + issued.chain_pem)
    signer = envelope.read_signer(tmp_path / "signer.pem")
    (root / "var/lib/paranal/node/lists").mkdir(parents=True)
    data = envelope.sign(b"x", "t", signer).encode()
    return Node(root, authority, issued.certificate, tmp_path / "signer.pem", data)
