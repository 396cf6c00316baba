"""The national service: takes a post's question, asks the countries at once, answers as one."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from uuid import UUID, uuid4

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

from paranal.messages import Refusal
from paranal.query import consolidate, gate, http, match, mrz, wire
from paranal.query.peers import PeerClient
from paranal.query.person import Person, checked
from paranal.query.reading import Given, silent
from paranal.query.settings import National
from paranal.query.store import UNAVAILABLE, Entry, Store
from paranal.serving import journal
from paranal.serving.view import View, watched_view


class Service:
    """One country's asking side; ``answer`` is the whole of it."""

    def __init__(self, settings: National, store: Store) -> None:
        """Follow the view; clients of the peers are made when first asked."""
        self.settings = settings
        self.store = store
        self.view = watched_view(settings.view, settings.suspended)
        self._clients: dict[tuple[str, str], PeerClient] = {}

    async def answer(self, request: Request) -> Response:
        """Answer ``POST /v1/person`` from a border post."""
        started, asked_at = time.perf_counter(), datetime.now(UTC)
        view = self.view()
        post = gate.asking_post(request.headers, view)
        question = wire.decode(await http.body(request), wire.NationalQuestion)
        officer = wire.checked_officer(question.officer)
        person = _person(question, asked_at)
        request_id = uuid4()
        asked = wire.PeerQuestion(request_id, question.purpose, person)
        plan = _plan(view, question, person)
        answers = await self._ask_all(view, plan, asked)
        entries = [
            Entry(
                request_id, view.member.code, code, gate.SERVICE, "asked", given.answer,
                given.elapsed_ms, asked_at, post, officer, question.purpose,
            )
            for code, given in answers.items()
        ]  # fmt: skip
        await self._log(view, entries)
        return http.json_response(_consolidated(view, request_id, asked_at, started, plan, answers))

    async def close(self) -> None:
        """Close the connections to the peers."""
        for client in self._clients.values():
            await client.close()

    async def _ask_all(
        self, view: View, plan: consolidate.Plan, question: wire.PeerQuestion
    ) -> dict[str, wire.CountryAnswer]:
        """Ask every open country in parallel, each within the one deadline."""
        closed = {code: _closed(view, code) for code in plan.closed}
        asked = await asyncio.gather(*(self._ask(view, code, question) for code in plan.ask))
        return dict(sorted({**closed, **dict(zip(plan.ask, asked, strict=True))}.items()))

    async def _ask(self, view: View, code: str, question: wire.PeerQuestion) -> wire.CountryAnswer:
        started = time.perf_counter()
        port = view.services[gate.SERVICE].port
        deadline = self.settings.deadline_seconds
        given = await self._client(view, code).ask(view.peer(code), port, question, deadline)
        return _line(given, http.elapsed_ms(started))

    def _client(self, view: View, code: str) -> PeerClient:
        local = view.member.addresses[gate.CHANNEL]
        if (code, local) not in self._clients:
            settings = self.settings
            client = PeerClient(code, local, settings.credentials, settings.trust)
            self._clients[code, local] = client
        return self._clients[code, local]

    async def _log(self, view: View, entries: list[Entry]) -> None:
        """Commit the log; without it there is no answer (PAR-0540)."""
        try:
            await self.store.log(entries)
        except UNAVAILABLE as error:
            journal.say("log not written", level="error", error=error)
            raise Refusal("PAR-0540", member=view.member.code) from None


def application(settings: National) -> Starlette:
    """Return the ASGI application of the national listener."""
    store = Store(settings.database)
    service = Service(settings, store)
    return http.application(store, service.answer, _refused, service.close)


def _person(question: wire.NationalQuestion, now: datetime) -> Person:
    """Return the person from the seven fields or from the machine-readable zone, exactly one."""
    fields, lines = question.person, question.mrz
    if isinstance(fields, Person) and lines is msgspec.UNSET:
        person = checked(fields, now.date())
    elif isinstance(lines, list) and fields is msgspec.UNSET:
        person = mrz.read(lines, now.date())
    else:
        raise Refusal("PAR-0520")
    match.searchable(person)
    return person


def _plan(view: View, question: wire.NationalQuestion, person: Person) -> consolidate.Plan:
    asks = {peer.code: peer.asks[gate.SERVICE] for peer in view.peers}
    return consolidate.plan(asks, question.to, test_identity=person.is_test_identity)


def _closed(view: View, code: str) -> wire.CountryAnswer:
    refusal = Refusal("PAR-0530", direction=f"{view.member.code}>{code}")
    return _line(silent("NOT_AUTHORISED", refusal), 0.0)


def _line(given: Given, elapsed_ms: float) -> wire.CountryAnswer:
    code = match.CODES.get(given.answer)
    return wire.CountryAnswer(given.answer, code, elapsed_ms, given.refusal)


def _consolidated(
    view: View,
    request_id: UUID,
    asked_at: datetime,
    started: float,
    plan: consolidate.Plan,
    answers: dict[str, wire.CountryAnswer],
) -> wire.Consolidated:
    outcome, complete = consolidate.consolidate({c: a.answer for c, a in answers.items()})
    elapsed = http.elapsed_ms(started)
    journal.say("asked", request_id=request_id, answer=outcome, elapsed_ms=elapsed)
    return wire.Consolidated(
        request_id=request_id,
        outcome=outcome,
        complete=complete,
        asked_at=asked_at.isoformat(timespec="milliseconds"),
        elapsed_ms=elapsed,
        answers=answers,
        not_in_service=list(plan.not_in_service),
        contacts={
            code: msgspec.to_builtins(view.peer(code).contact)
            for code, line in answers.items()
            if line.answer != "OK"
        },
    )


def _refused(refusal: Refusal) -> Response:
    """Return a refusal to the post with the status that says whose fault it is."""
    status = {"PAR-0532": 403, "PAR-0540": 503, "PAR-0500": 400}.get(refusal.code, 422)
    return http.json_response({"refusal": refusal.as_dict()}, status)
