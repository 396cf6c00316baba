"""A list that ``control`` installs counts for the next envelope, without a restart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from paranal.control.install import Place
from paranal.messages import Refusal
from paranal.pki import lists, peers
from paranal.serving.view import Contact, Member
from paranal.signing import envelope
from paranal.signing.trust import Senders

if TYPE_CHECKING:
    from tests.unit.pki.conftest import Clock, Country
    from tests.unit.signing.nodes import Node

NAME, DOMAIN = "signer.pe.paranal.example", "pe.paranal.example"
PE = Member("pe", DOMAIN, {}, {"signing": NAME}, Contact("", "", ""))


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
