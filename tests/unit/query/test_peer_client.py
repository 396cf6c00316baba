"""The client of one peer: it follows its files, and a rotation under way disturbs no question."""

from __future__ import annotations

import ssl
from pathlib import Path
from uuid import UUID

import pytest

from paranal.query import match, peers, wire
from paranal.query.client import httpx
from paranal.query.person import Person
from tests.unit.query.asking import view_of

QUESTION = wire.PeerQuestion(
    UUID(int=1), "visa", Person("Quispe", None, None, "X", "PER", "P", "AB1234567", "PER")
)


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> peers.PeerClient:
    """A client whose files may say anything: it never gets as far as to call somebody."""
    monkeypatch.setattr(peers, "tls_context", lambda *_: ssl.create_default_context())
    for name in ("asker.pem", "co-ca.pem", "co.crl"):
        (tmp_path / name).write_text("1")
    return peers.PeerClient("co", "127.0.0.1", tmp_path / "asker.pem", tmp_path)


@pytest.mark.req("D3")
async def test_a_question_that_outlives_a_rotation_closes_the_old_client_alone(
    client: peers.PeerClient, tmp_path: Path
) -> None:
    async with client._current() as old:
        (tmp_path / "asker.pem").write_text("rotated")
        async with client._current() as new:
            assert new is not old
        assert not old.is_closed
    assert old.is_closed
    async with client._current() as again:
        assert again is new
        assert not again.is_closed
    await client.close()
    assert new.is_closed


@pytest.mark.req("B6")
@pytest.mark.parametrize(
    "closed", [httpx.RemoteProtocolError, httpx.ConnectError], ids=["kept", "just begun"]
)
async def test_a_peer_that_closed_every_connection_is_asked_over_a_new_one(
    client: peers.PeerClient, monkeypatch: pytest.MonkeyPatch, closed: type[httpx.TransportError]
) -> None:
    made: list[httpx.MockTransport] = []

    def transport(**_: object) -> httpx.MockTransport:
        old = not made

        def answer(request: httpx.Request) -> httpx.Response:
            if old:
                raise closed("closed", request=request)
            told = wire.PeerAnswer(QUESTION.request_id, match.CODES["OK"])
            return httpx.Response(200, stream=httpx.ByteStream(wire.encode(told)))

        made.append(httpx.MockTransport(answer))
        return made[-1]

    monkeypatch.setattr(peers, "_check_way", lambda *_: None)
    monkeypatch.setattr(httpx, "AsyncHTTPTransport", transport)
    given = await client.ask(view_of("pe").peer("co"), 7443, QUESTION, 1.0)
    assert (given.answer, len(made)) == ("OK", 2)
    await client.close()


@pytest.mark.req("B6")
async def test_a_missing_list_is_no_answer_until_it_is_there(
    client: peers.PeerClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "co.crl").unlink()
    given = await client.ask(view_of("pe").peer("co"), 7443, QUESTION, 1.0)
    assert given.answer == "UNAVAILABLE"
    assert given.refusal
    assert given.refusal.code == "PAR-0544"
    assert "Quispe" not in capsys.readouterr().out
    (tmp_path / "co.crl").write_text("2")
    async with client._current() as there:
        assert not there.is_closed
    await client.close()
