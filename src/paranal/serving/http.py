"""What every service does with HTTP, and nothing about what it answers."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from paranal.messages import Refusal
from paranal.serving import journal


def json_response(value: Any, status: int = 200) -> Response:  # noqa: ANN401 - what msgspec encodes
    """Return ``value`` as a JSON response that nothing on the way may keep."""
    headers = {"cache-control": "no-store"}
    return Response(msgspec.json.encode(value), status, headers, media_type="application/json")


async def body(request: Request, limit: int, too_long: str) -> bytes:
    """Return the body, or refuse with code ``too_long`` as soon as it passes ``limit`` octets."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > limit:
            raise Refusal(too_long, limit=limit)
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


def elapsed_ms(started: float) -> float:
    """Return the milliseconds since ``started`` (``time.perf_counter``), to the microsecond."""
    return round((time.perf_counter() - started) * 1000, 3)
