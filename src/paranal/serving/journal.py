"""What a service says to the journal: one JSON object per line, and never a field of a person.

The signature is the guard: there is no parameter that could take an identity.
"""

from __future__ import annotations

import json
import sys
from typing import Literal
from uuid import UUID

Level = Literal["info", "warning", "error"]


def say(
    event: str,
    *,
    level: Level = "info",
    request_id: UUID | None = None,
    member: str | None = None,
    source: str | None = None,
    answer: str | None = None,
    code: str | None = None,
    elapsed_ms: float | None = None,
    error: BaseException | None = None,
) -> None:
    """Write one line; of an error only the kind, for its text may quote a value."""
    line = {
        "event": event,
        "level": level,
        "request_id": str(request_id) if request_id else None,
        "member": member,
        "source": source,
        "answer": answer,
        "code": code,
        "elapsed_ms": elapsed_ms,
        "error": type(error).__name__ if error is not None else None,
    }
    told = {key: value for key, value in line.items() if value is not None}
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()
