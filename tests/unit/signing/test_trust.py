"""A list that ``control`` installs counts for the next envelope, without a restart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from paranal.control.install import Place
from paranal.messages import Refusal
from paranal.pki import CertificateAuthority, lists, peers
from paranal.serving.view import Contact, Member
from paranal.signing import envelope
from paranal.signing.trust import Senders

if TYPE_CHECKING:
    from tests.unit.pki.conftest import Clock, Country

NAME, DOMAIN = "signer.pe.paranal.example", "pe.paranal.example"
PE = Member("pe", DOMAIN, {}, {"signing": NAME}, Contact("", "", ""))


@dataclass
class Node:
    """A node's files as the roles leave them, and an envelope of PE."""

    root: Path
    authority: CertificateAuthority
    serial: int
    data: bytes

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
    return Node(root, authority, issued.certificate.serial_number, data)


def test_a_list_that_arrives_counts_for_the_next_envelope(node: Node, clock: Clock) -> None:
    senders = Senders(node.folder)
    assert envelope.opened(node.data, "t", senders(PE), clock.now)
    assert senders(PE).authorities is senders(PE).authorities

    node.authority.revoke(node.serial, "key-compromise")
    place = Place(node.root)
    held = peers.installed("pe", DOMAIN, node.root / peers.SWANCTL.lstrip("/"))
    place.install(lists.judge(node.authority.lists()["issuing"], held, clock.now))

    with pytest.raises(Refusal, match="PAR-0465"):
        envelope.opened(node.data, "t", senders(PE), clock.now)


@pytest.mark.parametrize("lost", ["pe.crl", "pe-ca.pem"])
def test_without_authority_or_lists_nobody_is_trusted(node: Node, lost: str) -> None:
    senders = Senders(node.folder)
    whole = (node.folder / lost).read_bytes()
    assert senders(PE)
    for wrong in (b"", b"garbage", whole[: len(whole) // 2], whole + whole):
        (node.folder / lost).write_bytes(wrong)
        with pytest.raises(Refusal, match="PAR-0469"):
            senders(PE)
    (node.folder / lost).unlink()
    with pytest.raises(Refusal, match="PAR-0469"):
        senders(PE)
    (node.folder / lost).write_bytes(whole)
    assert senders(PE)


def test_files_of_another_countrys_authority_are_not_trusted(node: Node, country: Country) -> None:
    co = country("co")
    files: dict[str, list[x509.Certificate] | list[x509.CertificateRevocationList]] = {
        "pe-ca.pem": [co.root, co.issuing],
        "pe.crl": [co.lists()["root"], co.lists()["issuing"]],
    }
    for name, parts in files.items():
        whole = (node.folder / name).read_bytes()
        (node.folder / name).write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in parts))
        with pytest.raises(Refusal, match="PAR-0469"):
            Senders(node.folder)(PE)
        (node.folder / name).write_bytes(whole)
    assert Senders(node.folder)(PE)


def test_a_member_without_a_signing_name_is_not_trusted(node: Node) -> None:
    with pytest.raises(Refusal, match="PAR-0469"):
        Senders(node.folder)(Member("pe", DOMAIN, {}, {}, Contact("", "", "")))
