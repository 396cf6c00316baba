"""The control service: what we hold of a pair, an inbox for lists, and what peers say."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

from cryptography.hazmat.primitives.serialization import Encoding
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from paranal.control import inbox, notice, parity, trusted
from paranal.control.call import OPEN, Caller
from paranal.control.relay import PATH, Relay
from paranal.control.settings import CHANNEL, SERVICE, Control
from paranal.messages import Refusal
from paranal.pki import lists, peers
from paranal.serving import gate, http, journal
from paranal.serving.files import Watched
from paranal.serving.view import Peer, View, watched_view

STATUS = {
    "PAR-0901": 403,
    "PAR-0902": 403,
    "PAR-0903": 413,
    "PAR-0906": 409,
    "PAR-0907": 409,
    "PAR-0910": 503,
    "PAR-0926": 503,
    "PAR-0927": 413,
}
"""A refusal's HTTP status; every other one is 422."""


class Service:
    """One member's control service."""

    def __init__(self, settings: Control) -> None:
        """Follow the view and the lists that charon has."""
        self.settings = settings
        self.view = watched_view(settings.view, settings.suspended)
        told = (settings.suspended, settings.maintenance)
        standing = Watched(
            [settings.view], lambda: notice.standing(self.view(), *told), may_lack=told
        )
        self.relay = Relay(self.caller, settings.swanctl / "x509crl", standing)

    def caller(self) -> Caller:
        """Return us as who calls peers."""
        return Caller(self.view(), self.settings.credentials, self.settings.trust)

    async def parity(self, request: Request) -> Response:
        """Answer ``GET /v1/parity``: what we hold of the pair with the caller."""
        view = self.view()
        peer = self._peer(request, view)
        told = trusted.told(self.settings.trusted, peer.code, time.time())
        return http.json_response(parity.held(view, peer, told))

    async def crl(self, request: Request) -> Response:
        """Answer ``PUT /v1/crl``: take any member's newer list, whoever brings it."""
        view = self.view()
        peer = self._peer(request, view)
        data = await http.body(request, lists.OCTETS_MAX, "PAR-0903")
        news = lists.judge(lists.parse(data), self._held(view), datetime.now(UTC))
        if news.is_newer:
            inbox.put(news, self.settings.inbox)
            text = news.crl.public_bytes(Encoding.PEM)
            self.relay.tell({news.file: text}, without=peer.code)
        journal.say(
            "list taken" if news.is_newer else "list known", member=peer.code, source=news.member
        )
        told = {"member": news.member, "list": news.name, "number": news.number}
        return http.json_response({**told, "taken": news.is_newer})

    async def notice(self, request: Request) -> Response:
        """Answer ``PUT /v1/notice``: keep what the caller says of itself."""
        view = self.view()
        peer = self._peer(request, view)
        data = await http.body(request, notice.OCTETS_MAX, "PAR-0927")
        said = notice.checked_notice(data, peer, view)
        if notice.keep(said, peer, self.settings.notices):
            journal.say("notice", member=peer.code)
        return http.json_response({"member": view.member.code})

    def _peer(self, request: Request, view: View) -> Peer:
        """Return the caller; it must be a peer whose direction of control to us is open."""
        peer = gate.calling_peer(request.headers, view, CHANNEL)
        if peer.answers.get(SERVICE) not in OPEN:
            us = view.member.code
            raise Refusal("PAR-0902", direction=f"{peer.code}>{us}", member=us)
        return peer

    def _held(self, view: View) -> list[peers.PublicAuthority]:
        """Return every member's authority with the newest lists that we have or wait for root."""
        waiting = [data for _, data in inbox.waiting(self.settings.inbox)]
        found = []
        for member in (view.member, *view.peers):
            try:
                held = peers.installed(member.code, member.domain, self.settings.swanctl)
            except Refusal as refusal:  # that member's lists have no place; the others' do
                journal.say("not readable", level="error", source=member.code, code=refusal.code)
                continue
            found += [lists.newest(one, waiting, datetime.now(UTC)) for one in held]
        return found


def application(settings: Control) -> Starlette:
    """Return the ASGI application of the control listener."""
    service = Service(settings)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        relaying = asyncio.create_task(service.relay.run())
        yield
        relaying.cancel()
        with suppress(asyncio.CancelledError):
            await relaying

    async def healthy(_: Request) -> Response:
        return http.json_response({"view": service.view().digest})

    return Starlette(
        routes=[
            Route(parity.PATH, _answered(service.parity), methods=["GET"]),
            Route(PATH, _answered(service.crl), methods=["PUT"]),
            Route(notice.PATH, _answered(service.notice), methods=["PUT"]),
            Route("/health", healthy, methods=["GET"]),
        ],
        lifespan=lifespan,
    )


Endpoint = Callable[[Request], Awaitable[Response]]


def _answered(answer: Endpoint) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        return await http.answered(answer(request), _refused)

    return endpoint


def _refused(refusal: Refusal) -> Response:
    return http.json_response({"refusal": refusal.as_dict()}, STATUS.get(refusal.code, 422))
