"""The two applications without their parts: doors, limits, and what a fault or no database says."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from starlette.applications import Starlette

from paranal.query import alliance, http, national, settings, wire
from paranal.query.client import httpx
from paranal.serving import gate
from tests.unit.query.asking import certificate, view_of

PERSON = {
    "surnames": "Quispe Mamani",
    "given_names": "Rosa",
    "date_of_birth": "1985-03-14",
    "sex": "F",
    "nationality": "PER",
    "document_type": None,
    "document_number": None,
    "document_issuer": None,
}
PEER = {
    gate.SERVER_NAME: "pe.q.co.paranal.example",
    gate.SOURCE: "10.51.1.1",
    gate.CERTIFICATE: certificate("q.pe.paranal.example"),
}
POST = {gate.CERTIFICATE: certificate("post-1.pe.paranal.example")}
"""What HAProxy would say of Peru's service at Colombia's door, and of Peru's post at Peru's."""


@pytest.fixture
def database(tmp_path: Path) -> settings.Database:
    """A database that is not there."""
    return settings.Database(host=str(tmp_path), name="paranal", user="nobody", timeout_seconds=1)


@pytest.fixture
def answering(tmp_path: Path, database: settings.Database) -> Starlette:
    view = tmp_path / "view.json"
    view.write_bytes(msgspec.json.encode(view_of("co")))
    return alliance.application(settings.Alliance(view, database, ("national",)))


@pytest.fixture
def asking(tmp_path: Path, database: settings.Database) -> Starlette:
    view = tmp_path / "view.json"
    view.write_bytes(msgspec.json.encode(view_of("pe")))
    return national.application(settings.National(view, database, tmp_path / "no.pem", tmp_path))


@asynccontextmanager
async def running(application: Starlette) -> AsyncIterator[httpx.AsyncClient]:
    """Run an application and call it as HAProxy does."""
    async with (
        application.router.lifespan_context(application),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(application), base_url="http://service"
        ) as client,
    ):
        yield client


@pytest.fixture(params=["answering", "asking"])
async def door(request: pytest.FixtureRequest) -> AsyncIterator[httpx.AsyncClient]:
    """Each of the two, running."""
    async with running(request.getfixturevalue(request.param)) as client:
        yield client


async def test_a_listener_has_one_question_and_one_health_check(door: httpx.AsyncClient) -> None:
    assert (await door.get("/v1/person")).status_code == 405
    assert (await door.post("/health")).status_code == 405
    assert (await door.post("/v1/document")).status_code == 404
    health = await door.get("/health")
    assert (health.status_code, health.json()) == (503, {"database": False})
    assert health.headers["cache-control"] == "no-store"


async def test_who_shows_no_certificate_is_refused(door: httpx.AsyncClient) -> None:
    told = await door.post("/v1/person", content=b"{}")
    assert told.status_code == 403
    assert told.json()["refusal"]["code"] in ("PAR-0531", "PAR-0532")


@pytest.mark.req("B6")
async def test_a_country_without_its_database_gives_no_code(answering: Starlette) -> None:
    question = {
        "request_id": "6b4c4a3e-6f2e-4f0e-9a3c-1d2b3c4d5e6f",
        "purpose": "visa",
        "person": PERSON,
    }
    async with running(answering) as client:
        told = await client.post("/v1/person", headers=PEER, content=json.dumps(question))
    assert told.status_code == 503
    answer = told.json()
    assert "code" not in answer
    assert (answer["answer"], answer["refusal"]["code"]) == ("UNAVAILABLE", "PAR-0540")


@pytest.mark.req("R1")
async def test_an_asker_without_its_log_gives_no_answer(asking: Starlette) -> None:
    question = {"to": ["co"], "officer": "A-1", "purpose": "visa", "person": PERSON}
    async with running(asking) as client:
        told = await client.post("/v1/person", headers=POST, content=json.dumps(question))
    assert told.status_code == 503
    assert told.json()["refusal"]["code"] == "PAR-0540"
    assert "answers" not in told.json()


async def test_a_body_is_read_no_further_than_a_question_can_be_long(asking: Starlette) -> None:
    async with running(asking) as client:
        told = await client.post("/v1/person", headers=POST, content=b" " * (wire.BODY_MAX + 1))
    assert (told.status_code, told.json()["refusal"]["code"]) == (400, "PAR-0500")


@pytest.mark.req("R1")
async def test_a_fault_of_ours_is_a_500_that_quotes_nothing(
    answering: Starlette, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def broken(_: Any) -> bytes:  # noqa: ANN401 - a request
        raise RuntimeError("Quispe")

    monkeypatch.setattr(http, "body", broken)
    async with running(answering) as client:
        told = await client.post("/v1/person", headers=PEER)
    assert (told.status_code, told.content) == (500, b"")
    said = capsys.readouterr()
    assert "RuntimeError" in said.out
    assert "Quispe" not in said.out + said.err


def test_a_service_that_moved_asks_from_its_new_address(asking: Starlette, tmp_path: Path) -> None:
    database = settings.Database(host=str(tmp_path), name="paranal", user="nobody")
    given = settings.National(tmp_path / "view.json", database, tmp_path / "no.pem", tmp_path)
    service = national.Service(given, None)  # type: ignore[arg-type]  # it logs nothing here
    view = service.view()
    assert service._client(view, "co") is service._client(view, "co")
    addresses = {**view.member.addresses, "operational": "10.51.1.2"}
    member = msgspec.structs.replace(view.member, addresses=addresses)
    moved = service._client(msgspec.structs.replace(view, member=member), "co")
    assert moved._local == "10.51.1.2"
