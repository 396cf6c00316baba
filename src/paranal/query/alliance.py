"""The alliance service: a peer asks about one person; this country looks in its own records."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

from paranal.messages import Refusal
from paranal.query import consolidate, gate, http, match, wire
from paranal.query.person import checked
from paranal.query.settings import Alliance
from paranal.query.store import UNAVAILABLE, Duplicate, Entry, Store
from paranal.serving import journal
from paranal.serving.view import Peer, View, watched_view

STATUS = {"NOT_AUTHORISED": 403, "REFUSED": 422, "UNAVAILABLE": 503}

ANSWER = {
    "PAR-0530": "NOT_AUTHORISED",
    "PAR-0531": "NOT_AUTHORISED",
    "PAR-0540": "UNAVAILABLE",
    "PAR-0541": "UNAVAILABLE",
    "PAR-0542": "UNAVAILABLE",
}
"""What a refusal is called on the wire; every other one turned this query down: REFUSED."""


class Service:
    """One country's answering side."""

    def __init__(self, settings: Alliance, store: Store) -> None:
        """Follow the view."""
        self.settings = settings
        self.store = store
        self.view = watched_view(settings.view, settings.suspended)

    async def answer(self, request: Request) -> Response:
        """Answer ``POST /v1/person`` from a peer; the log is committed before the answer leaves."""
        started, at = time.perf_counter(), datetime.now(UTC)
        view = self.view()
        peer = gate.asking_peer(request.headers, view)
        question = wire.decode(await http.body(request), wire.PeerQuestion)
        given = await self._judge(view, peer, question, at)
        outcome = given if isinstance(given, str) else _name(given)
        entry = Entry(
            question.request_id, peer.code, view.member.code, gate.SERVICE, "answered", outcome,
            http.elapsed_ms(started), at, None, None, question.purpose,
        )  # fmt: skip
        refusal = await self._log(view, entry) or (None if isinstance(given, str) else given)
        journal.say(
            "answered",
            request_id=question.request_id,
            member=peer.code,
            answer=_name(refusal) if refusal else "answered",
            code=refusal.code if refusal else None,
            elapsed_ms=entry.elapsed_ms,
        )
        if refusal:
            return _refused(refusal, question)
        return http.json_response(wire.PeerAnswer(question.request_id, match.CODES[outcome]))

    async def _judge(
        self, view: View, peer: Peer, question: wire.PeerQuestion, at: datetime
    ) -> str | Refusal:
        """Return ``OK``, ``RQ`` or ``ANT``, or why this question gets none of them."""
        try:
            status, is_test = peer.answers[gate.SERVICE], question.person.is_test_identity
            if not consolidate.opens_to(status, test_identity=is_test):
                raise Refusal("PAR-0530", direction=f"{peer.code}>{view.member.code}")
            keys = match.searchable(checked(question.person, at.date()))
            hits, loaded = await self.store.find(keys)
            for source in match.silent(loaded, self.settings.sources):
                journal.say("source without data", level="error", source=source)
            return match.ANSWERS[match.judge(keys, hits, loaded, self.settings.sources)]
        except Refusal as refusal:
            return refusal
        except UNAVAILABLE as error:
            journal.say("records not readable", level="error", error=error)
            return Refusal("PAR-0542", member=view.member.code)

    async def _log(self, view: View, entry: Entry) -> Refusal | None:
        """Commit the entry; a log that cannot be written, or held it before, is a refusal."""
        try:
            await self.store.log([entry])
        except Duplicate:
            return Refusal("PAR-0547")
        except UNAVAILABLE as error:
            journal.say("log not written", level="error", error=error)
            return Refusal("PAR-0540", member=view.member.code)
        return None


def application(settings: Alliance) -> Starlette:
    """Return the ASGI application of the alliance listener."""
    store = Store(settings.database)
    return http.application(store, Service(settings, store).answer, _refused)


def _name(refusal: Refusal) -> str:
    return ANSWER.get(refusal.code, "REFUSED")


def _refused(refusal: Refusal, question: wire.PeerQuestion | None = None) -> Response:
    answer = _name(refusal)
    body = {
        "request_id": question.request_id if question else None,
        "answer": answer,
        "refusal": refusal.as_dict(),
    }
    return http.json_response(body, STATUS[answer])
