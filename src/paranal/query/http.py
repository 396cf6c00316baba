"""What both services do with HTTP, and nothing about what they answer."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from paranal.messages import Refusal
from paranal.query import journal, wire
from paranal.query.store import Store


def application(
    store: Store,
    answer: Callable[[Request], Awaitable[Response]],
    refused: Callable[[Refusal], Response],
    close: Callable[[], Awaitable[None]] | None = None,
) -> Starlette:
    """Return the ASGI application of a listener: ``POST /v1/person`` and ``GET /health``.

    ``refused`` makes a response of a refusal that ``answer`` raised. The store is open while the
    application runs; ``close`` is awaited before it closes.
    """

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(store)
            if close:
                stack.push_async_callback(close)
            yield

    async def person(request: Request) -> Response:
        return await answered(answer(request), refused)

    async def healthy(_: Request) -> Response:
        return await health(store)

    routes = [
        Route("/v1/person", person, methods=["POST"]),
        Route("/health", healthy, methods=["GET"]),
    ]
    return Starlette(routes=routes, lifespan=lifespan)


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
