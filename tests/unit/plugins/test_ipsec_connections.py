"""The controller derives and compares; the node is asked only where the probe cannot prove."""

from __future__ import annotations

import copy
import hashlib
import json
import ssl
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.plugins.action import ActionBase

from paranal.agreement import load, member_view
from paranal.agreement.connections import connections
from paranal.messages import Refusal
from paranal.serving.view import View
from plugins.action.ipsec_connections import ActionModule, holds, pins, text
from plugins.module_utils.paranal_node import Node, Refused
from plugins.module_utils.paranal_vici import data_planes, probe_tunnels, told_issuers
from plugins.modules.ipsec_connections import untouched

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def declared() -> list[dict[str, Any]]:
    view = member_view(load(REPOSITORY / "agreement" / "pacific-alliance.yml"), "pe")
    peers = {peer["code"]: peer for peer in view["peers"]}
    return [
        {"connection": one, "text": text(one, peers[one["peer"]])}
        for one in connections(view, {code: code for code in peers})
    ]


def probe(declared: list[dict[str, Any]], *, clean: bool = True) -> dict[str, Any]:
    texts = {
        entry["connection"]["name"]: hashlib.sha256(entry["text"].encode()).hexdigest()
        for entry in declared
    }
    return {"tunnels": {"texts": texts, "clean": clean}}


def test_a_proved_node_is_not_asked_again(declared: list[dict[str, Any]]) -> None:
    assert holds(probe(declared), declared, {})


def test_a_node_that_is_not_proved_is_asked(declared: list[dict[str, Any]]) -> None:
    fewer, spoken = probe(declared[1:]), copy.deepcopy(declared)
    spoken[0]["text"] += "# a new number\n"
    assert not holds(fewer, declared, {})
    assert not holds(probe(declared), spoken, {})
    assert not holds(probe(declared, clean=False), declared, {})
    assert not holds({}, declared, {})
    assert not holds({"tunnels": {"absent": "paranal.deb is not installed yet"}}, declared, {})


def test_a_node_without_charon_would_get_everything(declared: list[dict[str, Any]]) -> None:
    planned = untouched(declared)
    assert planned["changed"]
    assert {step["action"] for step in planned["steps"]} == {"add"}
    assert all(entry["text"] in planned["diff"]["after"] for entry in declared)


def test_a_refusal_of_the_node_reaches_the_operator_in_words_and_without_a_trace(
    monkeypatch: pytest.MonkeyPatch, declared: list[dict[str, Any]]
) -> None:
    refusal = {"code": "PAR-0704", "params": {"reason": "no socket"}}
    action: Any = object.__new__(ActionModule)
    action._task = SimpleNamespace(args={})
    action._declared = lambda *_: declared
    action._execute_module = lambda *_, **__: {
        "failed": True,
        "msg": "PAR-0704 {}",
        "exception": "PAR-0704 {}",
        "refusal": refusal,
    }
    monkeypatch.setattr(ActionBase, "run", lambda *_, **__: {})
    answer = action.run(task_vars={"node_session": {"view": {}}})
    assert answer == {"failed": True, "msg": str(Refusal("PAR-0704", reason="no socket"))}


@pytest.mark.parametrize("content", [None, b"no certificate"])
def test_a_missing_or_broken_root_is_refused_with_its_place(
    tmp_path: Path, content: bytes | None
) -> None:
    (tmp_path / "ca").mkdir()
    if content is not None:
        (tmp_path / "ca" / "co-root.pem").write_bytes(content)
    with pytest.raises(Refusal, match=r"PAR-0705: .*ca/co-root\.pem"):
        pins(tmp_path, "co", [])


@pytest.mark.req("B5")
def test_of_a_peers_published_roots_only_the_agreed_ones_are_pinned(tmp_path: Path) -> None:
    (tmp_path / "ca").mkdir()
    digests = {}
    for name in ("co-g2-root.pem", "co-root.pem", "cl-root.pem"):
        pem = ssl.DER_cert_to_PEM_cert(name.encode())
        (tmp_path / "ca" / name).write_text(pem)
        digests[name] = hashlib.sha256(name.encode()).hexdigest()
    both = {name: digests[name] for name in ("co-g2-root.pem", "co-root.pem")}
    assert pins(tmp_path, "co", list(both.values())) == both
    assert pins(tmp_path, "co", [digests["co-root.pem"]]) == {"co-root.pem": digests["co-root.pem"]}
    with pytest.raises(Refusal, match="PAR-0705"):
        pins(tmp_path, "co", [digests["cl-root.pem"]])


@pytest.mark.req("B5")
def test_before_the_files_come_a_connection_names_only_roots_that_the_node_has(
    tmp_path: Path,
) -> None:
    view = member_view(load(REPOSITORY / "agreement" / "pacific-alliance.yml"), "pe")
    (tmp_path / "ca").mkdir()
    digests = {}
    for code in ("cl", "co", "mx"):
        for name in (f"{code}-g2-root.pem", f"{code}-g3-root.pem"):
            pem = ssl.DER_cert_to_PEM_cert(name.encode())
            (tmp_path / "ca" / name).write_text(pem)
            digests[name] = hashlib.sha256(name.encode()).hexdigest()
    second, third = ({code: digests[f"{code}-{g}-root.pem"] for code in ("cl", "co", "mx")}
                     for g in ("g2", "g3"))  # fmt: skip
    agreed = {"cl": [second["cl"]], "co": [second["co"], third["co"]], "mx": [third["mx"]]}
    peers = [{**peer, "roots": agreed[peer["code"]]} for peer in view["peers"]]
    trust = {code: {"g2-root": {"sha256": second[code]}} for code in agreed}
    action: Any = object.__new__(ActionModule)
    action._task = SimpleNamespace(args={"published": str(tmp_path)})

    def pinned(held: dict[str, Any] | None) -> dict[str, list[str]]:
        declared = [
            entry["connection"] for entry in action._declared({**view, "peers": peers}, held)
        ]
        return {one["peer"]: one["config"]["remote"]["cacerts"] for one in declared}

    assert pinned({"certificates": {"trust": trust}}) == {
        "cl": ["cl-g2-root.pem"],
        "co": ["co-g2-root.pem"],
    }
    assert pinned(None) == {
        "cl": ["cl-g2-root.pem"],
        "co": ["co-g2-root.pem", "co-g3-root.pem"],
        "mx": ["mx-g3-root.pem"],
    }


@pytest.mark.parametrize(
    ("there", "planes"),
    [
        ([], []),
        (["dev/net/tun"], ["userspace"]),
        (["dev/net/tun", "proc/modules"], ["kernel", "userspace"]),
    ],
)
def test_the_data_planes_a_node_offers(tmp_path: Path, there: list[str], planes: list[str]) -> None:
    for path in there:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("esp4 32768 0 - Live 0x0\n")
    assert data_planes(Node(tmp_path)) == planes


def test_the_probe_of_a_node_without_charon_fails_nothing(tmp_path: Path) -> None:
    found = probe_tunnels(Node(tmp_path))
    assert found["planes"] == []
    assert "charon" in found["absent"]


def test_a_probe_that_breaks_still_says_which_data_planes_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The preflight would else refuse the node for a plane it has, and nobody could repair it."""

    def breaks(*_: object) -> None:
        raise AttributeError("module 'vici' has no attribute 'Session'")

    (tmp_path / "dev/net").mkdir(parents=True)
    (tmp_path / "dev/net/tun").touch()
    monkeypatch.setattr("paranal.tunnels.record.read_record", breaks)
    found = probe_tunnels(Node(tmp_path))
    assert found["planes"] == ["userspace"]
    assert "no attribute 'Session'" in found["absent"]
    assert not holds({"tunnels": found}, [], {})


@pytest.mark.req("B5")
def test_only_a_peer_of_two_roots_is_asked_whose_leaves_it_uses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def issuers(view: View, codes: set[str]) -> dict[str, list[str]]:
        asked.append((view.member.code, codes))
        return {"co": ["i1"]}

    monkeypatch.setattr("paranal.control.parity.issuers", issuers)
    (tmp_path / "etc/paranal").mkdir(parents=True)
    trust: dict[str, Any] = {"co": {"root": {}, "issuing": {}}, "mx": {"root": {}}}
    record = tmp_path / "etc/paranal/trust.json"
    record.write_text(json.dumps(trust))
    assert (told_issuers(Node(tmp_path)), asked) == ({}, [])
    record.write_text(json.dumps(trust | {"co": {"root": {}, "g2-root": {}, "issuing": {}}}))
    assert (told_issuers(Node(tmp_path)), asked) == ({}, []), "no view: nobody can be asked"
    view = member_view(load(REPOSITORY / "agreement" / "pacific-alliance.yml"), "pe")
    (tmp_path / "etc/paranal/view.json").write_text(json.dumps(view))
    assert told_issuers(Node(tmp_path)) == {"co": ["i1"]}
    assert asked == [("pe", {"co"})]


def test_the_modules_refusals_are_in_the_catalogue() -> None:
    for code in ("PAR-0704", "PAR-0707"):
        assert code in str(Refusal(code, reason=str(Refused(code))))
