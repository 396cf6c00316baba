"""The database of one service: records to search, and the log that every answer waits for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self
from uuid import UUID

import asyncpg

from paranal.query.match import Keys
from paranal.query.settings import Database

UNAVAILABLE: tuple[type[Exception], ...] = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    OSError,
    TimeoutError,
)
"""What a database that is down, slow, full or restarting raises."""

_FIND = "SELECT source, kind FROM source.find($1, $2)"

_LOG = """
INSERT INTO exchange.query
       (request_id, asker, answerer, service, role, outcome, elapsed_ms, at, post, officer, purpose)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
"""

CONNECT_SECONDS = 2.0


class Entry(NamedTuple):
    """One row of ``exchange.query``: that a question was asked or answered, never about whom.

    ``post``, ``officer`` and ``purpose`` say who is accountable; ``elapsed_ms`` is the whole time
    until the answer stood.
    """

    request_id: UUID
    asker: str
    answerer: str
    service: str
    role: Literal["asked", "answered"]
    outcome: str
    elapsed_ms: float
    at: datetime
    post: str | None
    officer: str | None
    purpose: str


class Duplicate(Exception):
    """This question stands in the log already."""


class Store:
    """A pool over PostgreSQL's unix socket; connects when first asked, and again after a loss."""

    def __init__(self, settings: Database) -> None:
        """Remember where the database is; :meth:`open` prepares the pool."""
        self._settings = settings
        self._pool: Any = None

    async def __aenter__(self) -> Self:
        """Prepare the pool; none connects yet, so that a service starts without its database."""
        settings = self._settings
        self._pool = await asyncpg.create_pool(
            host=settings.host,
            database=settings.name,
            user=settings.user,
            min_size=0,
            max_size=settings.pool,
            timeout=CONNECT_SECONDS,
            command_timeout=settings.timeout_seconds,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connections."""
        self._pool.terminate()

    async def find(self, keys: Keys) -> tuple[list[str], set[str]]:
        """Return the kinds of the records that the keys hit, and the sources that hold data.

        Raises one of ``UNAVAILABLE``.
        """
        async with self._acquire() as connection:
            rows = await connection.fetch(_FIND, keys.document, keys.identities)
        hits = [row["kind"] for row in rows if row["kind"] is not None]
        return hits, {row["source"] for row in rows if row["kind"] is None}

    async def log(self, entries: Sequence[Entry]) -> None:
        """Commit the entries, all or none.

        Raises ``Duplicate`` for a question logged before, or one of ``UNAVAILABLE``.
        """
        try:
            async with self._acquire() as connection:
                await connection.executemany(_LOG, entries)
        except asyncpg.UniqueViolationError:
            raise Duplicate from None

    async def is_reachable(self) -> bool:
        """Tell whether the database answers."""
        try:
            async with self._acquire() as connection:
                await connection.execute("SELECT 1")
        except UNAVAILABLE:
            return False
        return True

    def _acquire(self) -> Any:  # noqa: ANN401 - asyncpg has no types
        return self._pool.acquire(timeout=self._settings.timeout_seconds)
