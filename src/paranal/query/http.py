"""What both services do with HTTP, and nothing about what they answer."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from paranal.messages import Refusal
from paranal.query import journal, wire
from paranal.query.store import Store


def json_response(value: Any, status: int = 200) -> Response:  # noqa: ANN401 - what msgspec encodes
    """Return ``value`` as a JSON response that nothing on the way may keep."""
    headers = {"cache-control": "no-store"}
    return Response(wire.encode(value), status, headers, media_type="application/json")


async def body(request: Request) -> bytes:
    """Return the body, or refuse (PAR-0500) as soon as it is longer than a question can be."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > wire.BODY_MAX:
            raise Refusal("PAR-0500", limit=wire.BODY_MAX)
    return bytes(data)


async def answered(answer: Awaitable[Response], refused: Callable[[Refusal], Response]) -> Response:
    """Await an answer; a refusal becomes its response, and a fault of ours 500 without a text.

    The fault is caught here because a traceback that reaches the server's log may quote a value.
    """
    try:
        return await answer
    except Refusal as refusal:
        journal.say("refused", level="warning", code=refusal.code)
        return refused(refusal)
    except Exception as error:
        journal.say("fault", level="error", error=error)
        return Response(status_code=500)


async def health(store: Store) -> Response:
    """Answer ``GET /health``: 200 when the database answers, else 503."""
    reachable = await store.is_reachable()
    return json_response({"database": reachable}, 200 if reachable else 503)


def elapsed_ms(started: float) -> float:
    """Return the milliseconds since ``started`` (``time.perf_counter``), to the microsecond."""
    return round((time.perf_counter() - started) * 1000, 3)
