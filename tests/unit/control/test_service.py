"""The service: a peer under its own name reads its pair and leaves newer lists, nobody else."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from paranal.control import notice, relay
from paranal.control.notice import Closed, Notice
from paranal.control.service import application
from paranal.control.settings import Control
from paranal.pki import lists
from paranal.query.client import httpx
from paranal.serving import gate
from tests.unit.query.asking import certificate, view_of

if TYPE_CHECKING:
    from tests.unit.control.conftest import Holding

PERU = {
    gate.SERVER_NAME: "pe.s.co.paranal.example",
    gate.SOURCE: view_of("co").peer("pe").addresses["strategic"],
    gate.CERTIFICATE: certificate("s.pe.paranal.example"),
}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[str, ...], str | None]]:
    """What the service has relayed, and to all but whom."""
    found: list[tuple[tuple[str, ...], str | None]] = []

    def tell(_: relay.Relay, given: dict[str, bytes], without: str | None = None) -> None:
        found.append((tuple(given), without))

    monkeypatch.setattr(relay.Relay, "tell", tell)
    return found


@asynccontextmanager
async def called(node: Holding, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    for name in ("inbox", "notices"):
        (tmp_path / name).mkdir(exist_ok=True)
    (tmp_path / "view.json").write_bytes(msgspec.json.encode(node.view))
    swanctl = node.place.real("/etc/swanctl")
    settings = Control(
        view=tmp_path / "view.json",
        swanctl=swanctl,
        inbox=tmp_path / "inbox",
        notices=tmp_path / "notices",
        credentials=tmp_path / "no.pem",
        trust=tmp_path,
        trusted=tmp_path / "roots.json",
    )
    transport = httpx.ASGITransport(application(settings))
    async with httpx.AsyncClient(transport=transport, base_url="http://control") as client:
        yield client


async def test_a_peer_reads_what_we_hold_of_its_pair(node: Holding, tmp_path: Path) -> None:
    async with called(node, tmp_path) as client:
        answer = await client.get("/v1/parity", headers=PERU)
        assert answer.json()["parity"] == view_of("pe").peer("co").pair.parity
        stranger = PERU | {gate.CERTIFICATE: certificate("q.pe.paranal.example")}
        refused = await client.get("/v1/parity", headers=stranger)
        assert (refused.status_code, refused.json()["refusal"]["code"]) == (403, "PAR-0901")


@pytest.mark.req("B5")
async def test_a_peer_reads_which_of_its_own_roots_run_here_and_whose_leaves(
    node: Holding, tmp_path: Path
) -> None:
    async with called(node, tmp_path) as client:
        assert (await client.get("/v1/parity", headers=PERU)).json()["trusts"] == []
        roots = {"pe": ["r1", "r2"], "mx": ["r3"]}
        seen = {"at": time.time(), "roots": roots, "issuers": ["i1"]}
        (tmp_path / "roots.json").write_text(json.dumps(seen))
        answer = (await client.get("/v1/parity", headers=PERU)).json()
        assert (answer["trusts"], answer["issuers"]) == (["r1", "r2"], ["i1"])


async def test_a_direction_that_is_closed_is_not_answered(node: Holding, tmp_path: Path) -> None:
    closed = [
        msgspec.structs.replace(peer, answers={**peer.answers, "control": "suspended"})
        for peer in node.view.peers
    ]
    node.view = msgspec.structs.replace(node.view, peers=tuple(closed))
    async with called(node, tmp_path) as client:
        for answer in (
            await client.get("/v1/parity", headers=PERU),
            await client.put("/v1/crl", headers=PERU, content=node.next_of_peer()),
        ):
            assert (answer.status_code, answer.json()["refusal"]["code"]) == (403, "PAR-0902")
    assert not list((tmp_path / "inbox").iterdir())


async def test_a_newer_list_is_left_for_root_and_brought_on_once(
    node: Holding, tmp_path: Path, told: list[object]
) -> None:
    text = node.next_of_peer()
    async with called(node, tmp_path) as client:
        first = await client.put("/v1/crl", headers=PERU, content=text)
        again = await client.put("/v1/crl", headers=PERU, content=text)
    assert (first.json()["taken"], again.json()["taken"]) == (True, False)
    assert [path.name for path in (tmp_path / "inbox").iterdir()] == ["pe-issuing.crl"]
    assert told == [(("pe-issuing.crl",), "pe")]


@pytest.mark.parametrize(
    ("make", "status", "code"),
    [
        (lambda text: text[:99], 422, "PAR-0904"),
        (lambda _: b"0" * (lists.OCTETS_MAX + 1), 413, "PAR-0903"),
    ],
)
async def test_what_is_no_list_leaves_nothing(
    node: Holding, tmp_path: Path, told: list[object], make: object, status: int, code: str
) -> None:
    assert callable(make)
    content = make(node.next_of_peer())
    async with called(node, tmp_path) as client:
        answer = await client.put("/v1/crl", headers=PERU, content=content)
    assert (answer.status_code, answer.json()["refusal"]["code"]) == (status, code)
    assert not list((tmp_path / "inbox").iterdir())
    assert told == []


async def test_an_older_list_is_refused_also_while_the_newer_one_waits_for_root(
    node: Holding, tmp_path: Path, told: list[object]
) -> None:
    older = node.next_of_peer()
    newer = node.next_of_peer()
    async with called(node, tmp_path) as client:
        await client.put("/v1/crl", headers=PERU, content=newer)
        answer = await client.put("/v1/crl", headers=PERU, content=older)
    assert (answer.status_code, answer.json()["refusal"]["code"]) == (409, "PAR-0906")
    assert len(told) == 1


async def test_a_peers_notice_is_kept_and_another_peers_is_not_its_business(
    node: Holding, tmp_path: Path
) -> None:
    said = Notice((Closed("pe>co", "person"),))
    strange = Notice((Closed("mx>co", "person"),))
    async with called(node, tmp_path) as client:
        answers = [
            await client.put("/v1/notice", headers=PERU, content=content)
            for content in (
                msgspec.json.encode(said),
                msgspec.json.encode(strange),
                b" " * (notice.OCTETS_MAX + 1),
            )
        ]
        unknown = PERU | {gate.CERTIFICATE: certificate("q.pe.paranal.example")}
        refused = await client.put("/v1/notice", headers=unknown, content=b"{}")
    codes = [answer.json().get("refusal", {}).get("code") for answer in answers]
    assert [answer.status_code for answer in answers] == [200, 422, 413]
    assert codes == [None, "PAR-0925", "PAR-0927"]
    assert (refused.status_code, refused.json()["refusal"]["code"]) == (403, "PAR-0901")
    assert notice.heard(["pe"], tmp_path / "notices")["pe"].notice == said
