"""revoke_certificate: what is withdrawn, in which order, and what a node out of reach leaves."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible.parsing.dataloader import DataLoader
from cryptography import x509

from paranal.messages import Refusal
from paranal.pki.authority import CertificateAuthority
from paranal.pki.certificates import authority_stem
from paranal.pki.storage import write_atomic
from plugins.action.revoke_certificate import PUSH, ActionModule, asked_before, withdrawn
from tests.unit.pki.conftest import founded, request

__all__ = ["founded"]

PASSPHRASE = b"a passphrase of the test, long enough"
GATEWAY = "gw.pe.paranal.example"
NOW = datetime(2026, 11, 25, tzinfo=UTC)


LATER = NOW + timedelta(hours=1)


def entry(
    serial: str, name: str, *, revoked: str | None = None, days: int = 1, at: datetime = NOW
) -> dict[str, Any]:
    ends = NOW + timedelta(days=days)
    return {
        "serial": serial,
        "names": [name, "x.pe"],
        "at": at.isoformat(),
        "revoked": revoked,
        "not_after": ends.isoformat(),
    }


REGISTER = [
    entry("a1", GATEWAY),
    entry("b2", GATEWAY, revoked="superseded"),
    entry("c3", GATEWAY, days=-1),
    entry("d4", GATEWAY),
    entry("f6", GATEWAY, at=LATER),
    entry("07", "n.pe.paranal.example", at=LATER),
    entry("e5", "q.pe.paranal.example"),
]


@pytest.mark.parametrize(
    ("wanted", "serials"),
    [
        ([GATEWAY], ["a1", "b2", "d4"]),
        (["0E:5"], ["e5"]),
        ([GATEWAY, "A1", "q.pe.paranal.example"], ["a1", "b2", "d4", "e5"]),
        (["F6"], ["f6"]),
        (["b2"], ["b2"]),
    ],
)
def test_a_name_stands_for_all_that_were_there_at_the_moment_and_a_serial_for_itself(
    wanted: list[str], serials: list[str]
) -> None:
    assert withdrawn(REGISTER, wanted, LATER, LATER) == serials


@pytest.mark.parametrize("name", ["gw.co.paranal.example", "x.pe", "zz", "n.pe.paranal.example"])
def test_a_name_without_any_is_refused(name: str) -> None:
    with pytest.raises(Refusal, match="PAR-0917"):
        withdrawn(REGISTER, [name], LATER, LATER)


def test_a_name_needs_the_moment_that_is_named_and_is_not_to_come() -> None:
    assert asked_before("2026-11-25T00:00:00Z", [GATEWAY], LATER) == NOW
    assert asked_before("now", [GATEWAY], LATER) <= datetime.now(UTC)
    assert asked_before(None, ["a1", "0E:5"], LATER) == LATER
    with pytest.raises(Refusal, match=r"PAR-0475.*pki_revoke_before=2026-11-25T01:00:00Z"):
        asked_before("", ["a1", GATEWAY], LATER)
    with pytest.raises(Refusal, match="PAR-0476"):
        asked_before("2999-01-01", ["a1"], LATER)
    with pytest.raises(Refusal, match="PAR-0442"):
        asked_before("yesterday", [GATEWAY], LATER)


class Controller:
    """Peru's controller with one leaf issued, and a node that takes a push or does not."""

    def __init__(self, folder: Path, founded: Path) -> None:
        self.ca, self.published = folder / "pe", folder / "published"
        self.ca.symlink_to(founded / "pe")
        self.passphrase = folder / "pe.passphrase"
        write_atomic(self.passphrase, PASSPHRASE)
        self.pushed: list[tuple[str, bytes]] = []
        self.refused: dict[str, dict[str, Any]] = {}
        self.answer: dict[str, Any] | Exception = {
            "rc": 0,
            "stdout": json.dumps({"told": {"co": None, "mx": None}}),
            "stderr": "",
        }

    def run(
        self,
        certificates: Sequence[str],
        reason: str = "key-compromise",
        *,
        before: str = "now",
        check: bool = False,
    ) -> dict[str, Any]:
        arguments = {
            "certificates": list(certificates),
            "reason": reason,
            "before": before,
            "authority": str(self.ca),
            "passphrase_file": str(self.passphrase),
            "published": str(self.published),
        }
        plugin: Any = ActionModule.__new__(ActionModule)
        plugin._task = SimpleNamespace(args=arguments, check_mode=check)
        plugin._loader = DataLoader()  # type: ignore[no-untyped-call]
        plugin._low_level_execute_command = self._node
        try:
            done: dict[str, Any] = plugin._revoke()
            return done
        except Refusal as refusal:
            return {"failed": True, "msg": str(refusal)}

    def _node(self, command: str, in_data: bytes) -> dict[str, Any]:
        self.pushed.append((command, in_data))
        for name, refused in self.refused.items():
            path = self.published / "crl" / name
            if path.exists() and in_data == path.read_bytes():
                return refused
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def controller(tmp_path: Path, founded: Path) -> Controller:
    shutil.copytree(founded, tmp_path / "founded")
    return Controller(tmp_path, tmp_path / "founded")


def issue(controller: Controller, minutes_ago: int = 0, of: Path | None = None) -> str:
    at = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=minutes_ago)
    authority = CertificateAuthority(of or controller.ca, PASSPHRASE, clock=lambda: at)
    one = authority.issue(request([GATEWAY]), "ike", [GATEWAY])
    return f"{one.certificate.serial_number:x}"


def listed(text: bytes) -> set[str]:
    return {f"{one.serial_number:x}" for one in x509.load_pem_x509_crl(text)}


def test_what_is_pushed_is_what_was_signed_and_published(controller: Controller) -> None:
    serial = issue(controller)
    result = controller.run([GATEWAY])
    assert (result["changed"], result["serials"]) == (True, [serial])
    assert (result["told"], result["warnings"]) == (["co", "mx"], [])
    ((command, text),) = controller.pushed
    assert command == PUSH
    assert text == (controller.published / "crl/pe-issuing.crl").read_bytes()
    assert listed(text) == {serial}
    again = controller.run([serial])
    assert (again["changed"], len(controller.pushed)) == (False, 2)


def test_the_same_moment_again_tells_anew_and_withdraws_no_replacement(
    controller: Controller,
) -> None:
    old = issue(controller, minutes_ago=1)
    named = datetime.now(UTC).isoformat()
    assert controller.run([GATEWAY], before=named)["changed"] is True
    replacement = issue(controller)
    again = controller.run([GATEWAY], before=named)
    assert (again["changed"], again["serials"]) == (False, [old])
    assert listed(controller.pushed[-1][1]) == {old}
    assert controller.run([GATEWAY])["serials"] == [old, replacement], "a new moment means it too"


def test_a_peer_that_was_not_told_is_named(controller: Controller) -> None:
    issue(controller)
    told = json.dumps({"told": {"co": None, "mx": "PAR-0913: ..."}})
    controller.answer = {"rc": 2, "stdout": told, "stderr": ""}
    result = controller.run([GATEWAY])
    assert (result["told"], result["warnings"]) == (["co"], ["mx: PAR-0913: ..."])


@pytest.mark.parametrize(
    "answer",
    [
        {"rc": 3, "stdout": "", "stderr": "\nPAR-0912: ..."},
        AnsibleConnectionFailure("no route"),
    ],
    ids=["refused", "out of reach"],
)
def test_a_node_that_does_nothing_leaves_a_list_to_be_carried(
    controller: Controller, answer: dict[str, Any] | Exception
) -> None:
    serial = issue(controller)
    controller.answer = answer
    result = controller.run([GATEWAY])
    assert "PAR-0918" in result["msg"]
    assert listed((controller.published / "crl/pe-issuing.crl").read_bytes()) == {serial}


@pytest.mark.parametrize(("code", "done"), [("PAR-0905", True), ("PAR-0912", False)])
def test_the_list_of_a_removed_authority_keeps_no_newer_leaf_from_being_withdrawn(
    controller: Controller, code: str, done: bool
) -> None:
    """The node no longer pins the elder: its list goes nowhere, and is said."""
    elder = issue(controller)
    first = CertificateAuthority(controller.ca)
    heir = controller.ca.with_name(authority_stem("pe", 2))
    controller.passphrase.with_name(f"{heir.name}.passphrase").symlink_to(controller.passphrase)
    CertificateAuthority.create(heir, "pe", first.domain, PASSPHRASE, generation=2)
    newer = issue(controller, of=heir)
    refused = {"rc": 3, "stdout": "", "stderr": f"\n{code}: ..."}
    controller.refused = {"pe-issuing.crl": refused}
    result = controller.run([GATEWAY])
    assert listed(controller.pushed[0][1]) == {newer}, "the newest first"
    assert listed(controller.pushed[1][1]) == {elder}
    if done:
        assert result["told"] == ["co", "mx"]
        assert [code in one for one in result["warnings"]] == [True]
    else:
        assert "PAR-0918" in result["msg"]


def test_check_mode_signs_and_pushes_nothing(controller: Controller) -> None:
    serial = issue(controller)
    assert controller.run([GATEWAY], check=True) == {"changed": True, "serials": [serial]}
    assert controller.pushed == []
    assert not controller.published.exists()


def test_what_cannot_be_is_refused_before_anything_is_withdrawn(controller: Controller) -> None:
    issue(controller)
    assert "PAR-0410" in controller.run(["abc"])["msg"]
    assert "PAR-0411" in controller.run([GATEWAY], reason="boredom")["msg"]
    assert "PAR-0315" in controller.run([])["msg"]
    controller.passphrase.unlink()
    assert "PAR-0402" in controller.run([GATEWAY])["msg"]
    assert controller.pushed == []
    assert not any(one["revoked"] for one in CertificateAuthority(controller.ca).issued())
