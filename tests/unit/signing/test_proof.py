"""What a rotation asks a service's account: sign, and see it open under this node's own trust."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes

from paranal.agreement import load, member_view
from paranal.lab.home import ROOT
from paranal.signing import proof

if TYPE_CHECKING:
    from tests.unit.pki.conftest import Clock
    from tests.unit.signing.nodes import Node

VIEW = member_view(load(ROOT / "agreement" / "all-live.yml"), "pe")


@pytest.fixture(autouse=True)
def at_the_clocks_time(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    class Standing(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return clock.now

    monkeypatch.setattr(proof, "datetime", Standing)


def asked(node: Node, path: Path) -> int:
    view = node.root / "view.json"
    view.write_bytes(msgspec.json.encode(VIEW))
    return proof.main([str(path), "--view", str(view), "--trust", str(node.folder)])


def test_the_leaf_that_signed_is_named(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    assert asked(node, node.signer) == 0
    assert capsys.readouterr().out.strip() == node.leaf.fingerprint(hashes.SHA256()).hex()


def test_who_cannot_read_the_key_or_is_not_trusted_proves_nothing(
    node: Node, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(path: Path) -> str:
        assert asked(node, path) == 3
        said = capsys.readouterr()
        assert said.out == ""
        return said.err[:8]

    assert refused(node.root / "nothing.pem") == "PAR-0468"
    clock.advance(days=8)
    assert refused(node.signer) == "PAR-0466"
    (node.folder / "pe.crl").unlink()
    assert refused(node.signer) == "PAR-0469"
