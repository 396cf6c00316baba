"""Asking a peer: one mutually authenticated TLS 1.3 client per country, trusting only its CA."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from paranal.agreement.address import endpoint
from paranal.messages import Refusal
from paranal.query import reading, wire
from paranal.query.client import httpx
from paranal.query.gate import CHANNEL, SERVICE
from paranal.serving import journal
from paranal.serving.files import Watched
from paranal.serving.view import Peer
from paranal.tls import tls_context

PATH = f"/v1/{SERVICE}"
CONNECTIONS = 16
IDLE_SECONDS = 60.0
"""How long a connection is kept for the next question; HAProxy keeps it longer."""

RENEWED_SECONDS = 600.0
"""How long connections serve at most: a certificate or list that expires meanwhile is noticed."""


class PeerClient:
    """Asks one country, and follows its certificates, our own and the lists as they rotate."""

    def __init__(self, code: str, local: str, credentials: Path, trust: Path) -> None:
        """``local`` is our operational address, from which every connection leaves."""
        self.code = code
        self._local = local
        self._users: dict[httpx.AsyncClient, int] = {}
        self._latest: httpx.AsyncClient | None = None
        files = (credentials, trust / f"{code}-ca.pem", trust / f"{code}.crl")
        self._client = Watched(files, lambda: self._connect(tls_context(*files)), RENEWED_SECONDS)

    async def ask(
        self, peer: Peer, port: int, question: wire.PeerQuestion, deadline_seconds: float
    ) -> reading.Given:
        """Return what the peer answers within the deadline; it never raises and never guesses."""
        place = (peer.addresses[CHANNEL], port)
        try:
            async with asyncio.timeout(deadline_seconds):
                given = await self._ask(place, peer.ask_names[CHANNEL], question)
        except (TimeoutError, httpx.TimeoutException):
            refusal = Refusal("PAR-0543", member=self.code, seconds=f"{deadline_seconds:g}")
            given = reading.silent("TIMEOUT", refusal)
        except (OSError, httpx.HTTPError) as error:
            refusal = Refusal("PAR-0544", member=self.code, reason=_kind_of(error))
            given = reading.silent("UNAVAILABLE", refusal)
        if given.refusal:
            journal.say(
                "not answered",
                level="warning",
                request_id=question.request_id,
                member=self.code,
                answer=given.answer,
                code=given.refusal.code,
            )
        return given

    async def close(self) -> None:
        """Close every connection."""
        for client in list(self._users):
            await client.aclose()
        self._users.clear()

    async def _ask(
        self, place: tuple[str, int], server_name: str, question: wire.PeerQuestion
    ) -> reading.Given:
        body = wire.encode(question)
        try:
            status, answer = await self._send(place, server_name, body)
        except (httpx.RemoteProtocolError, httpx.NetworkError):
            # The peer's HAProxy was reloaded: the old one closes the kept connections, all of them
            # perhaps, and one that we had just begun. The peer answers a question that it did log
            # with REFUSED (PAR-0547), so that sending it again cannot count twice.
            self._client.forget()
            status, answer = await self._send(place, server_name, body)
        return reading.given(self.code, question.request_id, status, answer)

    async def _send(
        self, place: tuple[str, int], server_name: str, body: bytes
    ) -> tuple[int, bytes]:
        async with self._current() as client:
            _check_way(self._local, place)
            async with client.stream(
                "POST",
                f"https://{endpoint(*place)}{PATH}",
                content=body,
                headers={
                    "host": server_name,
                    "content-type": "application/json",
                    "accept-encoding": "identity",
                },
                extensions={"sni_hostname": server_name},
            ) as response:
                data = bytearray()
                async for chunk in response.aiter_raw():
                    data += chunk
                    if len(data) > wire.ANSWER_MAX:
                        break
                return response.status_code, bytes(data)

    def _connect(self, context: ssl.SSLContext) -> httpx.AsyncClient:
        transport = httpx.AsyncHTTPTransport(
            verify=context,
            local_address=self._local,
            trust_env=False,
            limits=httpx.Limits(
                max_connections=CONNECTIONS,
                max_keepalive_connections=CONNECTIONS,
                keepalive_expiry=IDLE_SECONDS,
            ),
        )
        # The deadline of the whole question is the one that counts; this one never comes first.
        client = httpx.AsyncClient(transport=transport, trust_env=False, timeout=IDLE_SECONDS)
        self._users[client] = 0
        self._latest = client
        return client

    @asynccontextmanager
    async def _current(self) -> AsyncIterator[httpx.AsyncClient]:
        """Yield the client of the current files; one that was replaced closes when it is idle."""
        client = self._client()
        self._users[client] += 1
        try:
            yield client
        finally:
            self._users[client] -= 1
            # Against the latest, not against ours: a question that outlived a rotation holds an old
            # one, and must not close the one that all others use.
            replaced = [
                other
                for other, users in self._users.items()
                if not users and other is not self._latest
            ]
            for other in replaced:
                del self._users[other]
            for other in replaced:
                await other.aclose()


def _check_way(source: str, place: tuple[str, int]) -> None:
    """Raise ``OSError`` where the kernel would not send; a UDP socket asks it without a packet.

    With no tunnel a policy of the kernel drops what a kept connection sends, and TCP waits: only
    who connects is told.
    """
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as asked:
        asked.bind((source, 0))
        asked.connect(place)


def _kind_of(error: Exception) -> str:
    """Return a word for the failure that names no address and no value."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return "TLS"
        if isinstance(cause, ConnectionRefusedError):
            return "connection refused"
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__
