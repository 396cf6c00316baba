"""What both query services do with HTTP: one question's path, and their health."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from paranal.messages import Refusal
from paranal.query import wire
from paranal.query.store import Store
from paranal.serving.http import answered, elapsed_ms, json_response
from paranal.serving.http import body as bounded

__all__ = ["answered", "application", "body", "elapsed_ms", "health", "json_response"]


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


async def body(request: Request) -> bytes:
    """Return the body, or refuse (PAR-0500) as soon as it is longer than a question can be."""
    return await bounded(request, wire.BODY_MAX, "PAR-0500")


async def health(store: Store) -> Response:
    """Answer ``GET /health``: 200 when the database answers, else 503."""
    reachable = await store.is_reachable()
    return json_response({"database": reachable}, 200 if reachable else 503)
