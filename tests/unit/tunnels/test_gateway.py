"""Every command on a gateway refuses in one sentence without root, a view or a charon."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from paranal.agreement import member_view
from paranal.agreement.connections import connections
from paranal.cli import EXIT_REFUSED, main
from paranal.tunnels import charon as vici
from paranal.tunnels import cli
from paranal.tunnels.charon import Charon, CharonError
from paranal.tunnels.record import Paths, Record, edited
from tests.unit.agreement.views import document, view
from tests.unit.tunnels.fake_charon import ANCHORS

COMMANDS = (
    "tunnels show",
    "tunnels verify",
    "tunnels heal",
    "firewall heal",
    "line-check",
    "status",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_without_root_it_says_to_use_sudo(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert main(command.split()) == EXIT_REFUSED
    said = capsys.readouterr().err
    assert said.startswith("PAR-0690")
    assert f"sudo paranal {command}" in said


@pytest.mark.parametrize("command", [word for word in COMMANDS if "heal" not in word])
@pytest.mark.parametrize("content", [None, "{"])
def test_without_a_view_it_says_what_to_apply(
    command: str,
    content: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    path = tmp_path / "view.json"
    if content is not None:
        path.write_text(content)
    assert main([*command.split(), "--view", str(path)]) == EXIT_REFUSED
    assert capsys.readouterr().err.startswith("PAR-0691")


def test_what_verify_finds_is_one_document_and_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Bare:
        """A charon that holds nothing, on the declared data plane."""

        def ike_sas(self) -> list[Any]:
            return []

        def connections(self) -> dict[str, Any]:
            return {}

        def plugins(self) -> tuple[str, ...]:
            return ("kernel-libipsec",)

    @contextmanager
    def bare() -> Iterator[Bare]:
        yield Bare()

    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(cli, "Charon", bare)
    monkeypatch.setattr(cli, "declared_here", lambda view, paths: [])
    path = tmp_path / "view.json"
    path.write_text(json.dumps(view("pe")))
    verify = ["tunnels", "verify", "--json", "--view", str(path)]
    assert main(verify) == 0
    own = {"wan_address": "203.0.113.34", "wan_local_address": "203.0.113.34"}
    assert json.loads(capsys.readouterr().out) == {**own, "connections": [], "problems": []}
    monkeypatch.setattr(Bare, "plugins", lambda self: ())
    assert main(verify) == EXIT_REFUSED
    said = capsys.readouterr()
    assert json.loads(said.out)["problems"] == ["the data plane is kernel, declared is userspace"]
    assert said.err.startswith("PAR-0706")
    assert said.err.count("\n") == 1
    show = ["tunnels", "show", "--view", str(path)]
    assert main(show) == 0
    assert "NAT" not in capsys.readouterr().out
    path.write_text(json.dumps(member_view(document("all-live"), "pe", "192.0.2.2")))
    assert main(show) == 0
    assert capsys.readouterr().out == "NAT 1:1: 192.0.2.2 = 203.0.113.34\n"


@pytest.mark.parametrize("text", [None, "", "connections {\n", "connections {\n}\n\xff"])
def test_a_connections_file_that_is_not_what_was_applied_is_named(
    text: str | None, tmp_path: Path
) -> None:
    paths = Paths(tmp_path, tmp_path)
    one = connections(view("pe"), ANCHORS)[0]
    record = Record(held={one["name"]: {"connection": one, "text": "x {\n}\n", "observed": ""}})
    record.save(paths)
    assert not edited(record, paths)
    if text is None:
        paths.file.unlink()
    else:
        paths.file.write_text(text, encoding="latin-1")
    assert edited(record, paths)
    assert not edited(Record(), paths), "no apply, no edit"


def test_a_charon_that_goes_away_while_it_is_asked_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Gone:
        def getsockopt(self, *_: object) -> bytes:
            return (2**22 + 1).to_bytes(4, "little") + bytes(8)  # no process has this number

    charon = Charon()
    monkeypatch.setattr(charon, "_socket", Gone())
    with pytest.raises(CharonError, match=vici.SOCKET):
        charon.started()


def test_an_ike_sa_whose_peer_has_not_said_who_it_is_is_nobodys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listed = [
        {"(unnamed)": {"uniqueid": b"7", "state": b"CONNECTING"}},
        {"pe-co-g00000000": {"uniqueid": b"6", "state": b"ESTABLISHED"}},
    ]
    monkeypatch.setattr(Charon, "_stream", lambda *_given: listed)
    assert [sa.name for sa in Charon().ike_sas()] == ["pe-co-g00000000"]
