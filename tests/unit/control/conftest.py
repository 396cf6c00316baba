"""A node that holds the authorities of Colombia and Peru, below the test's own directory."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from paranal.control.install import KEPT, Place
from paranal.pki import peers
from paranal.pki.authority import CertificateAuthority
from paranal.serving.view import View
from tests.unit.pki.conftest import Clock, Country, country, found, no_sync, request
from tests.unit.query.asking import view_of

__all__ = ["country", "no_sync"]
"""Fixtures of the authority's own tests, for these too."""


@pytest.fixture
def clock() -> Clock:
    """Return the real time: what is tested here asks the real clock."""
    return Clock(datetime.now(UTC))


@pytest.fixture(scope="session")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create the authorities now: their lists must hold when the test runs, in any year."""
    return found(tmp_path_factory.mktemp("founded"), Clock(datetime.now(UTC)))


@dataclass
class Holding:
    """Colombia's node: its view, its place, and the two authorities it has lists of."""

    view: View
    place: Place
    own: CertificateAuthority
    peer: CertificateAuthority

    def next_of_peer(self, names: tuple[str, ...] = ("gw.pe.paranal.example",)) -> bytes:
        """Have Peru withdraw a certificate; return its next list."""
        one = self.peer.issue(request(names), "ike", names).certificate
        self.peer.revoke(one.serial_number, "key-compromise")
        return self.issuing_of_peer()

    def issuing_of_peer(self) -> bytes:
        """Return Peru's list as it is."""
        return self.peer.lists()["issuing"].public_bytes(Encoding.PEM)


@pytest.fixture
def node(tmp_path: Path, country: Country) -> Holding:
    place = Place(tmp_path / "node")
    authorities = [country("co"), country("pe")]
    for one in authorities:
        one.publish(tmp_path / "published")
    held = [peers.read(tmp_path / "published", one.member, one.domain) for one in authorities]
    files = peers.trust_files("swanctl", held) | peers.trust_files("haproxy", held[1:])
    for path, text in files.items():
        place.real(path).parent.mkdir(parents=True, exist_ok=True)
        place.real(path).write_text(text)
    place.real(KEPT).mkdir(parents=True)
    shutil.rmtree(tmp_path / "published")
    assert json.loads(place.real(peers.TRUST_RECORD).read_text())
    return Holding(view_of("co"), place, *authorities)
