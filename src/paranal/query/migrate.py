"""``python3 -m paranal.query.migrate``: bring the node's database to this version's shape.

Run as ``postgres`` on the node. Migrations are ``sql/NNN_name.sql``, applied in order, all in one
transaction with their lines in ``public.migration``; one that was applied is never edited (its
digest is compared). Prints ``{"applied": [...]}``, empty when there was nothing to do.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import sys
from importlib.resources import files
from typing import Any, NamedTuple

import asyncpg

from paranal.messages import Refusal
from paranal.query.store import UNAVAILABLE

DATABASE = "paranal"
SOCKET = "/run/postgresql"
LOCK = 5_110_450
"""Any number of ours: two operators' migrations wait for each other."""

_TABLE = """
CREATE TABLE IF NOT EXISTS public.migration (
    name       text PRIMARY KEY,
    digest     text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""


class Migration(NamedTuple):
    """One step: its file's name, its text and the text's SHA-256."""

    name: str
    text: str
    digest: str


def migrations() -> list[Migration]:
    """Return every migration that this version carries, in order."""
    folder = files("paranal.query").joinpath("sql")
    found = []
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.name.endswith(".sql"):
            text = file.read_text(encoding="utf-8")
            found.append(Migration(file.name, text, hashlib.sha256(text.encode()).hexdigest()))
    return found


async def migrate(host: str, port: int, *, check: bool = False) -> list[str]:
    """Create the database if need be and apply what is missing; return the names applied.

    With ``check`` nothing is changed and the names are those that would be. Raises ``Refusal``
    PAR-0590 (an applied migration was edited) or PAR-0591.
    """
    try:
        if not await _exists(host, port, create=not check):
            return [migration.name for migration in migrations()]
        connection = await asyncpg.connect(host=host, port=port, user="postgres", database=DATABASE)
        try:
            return await _apply(connection, check=check)
        finally:
            await connection.close()
    except UNAVAILABLE as error:
        raise Refusal("PAR-0591", reason=error) from None


async def _exists(host: str, port: int, *, create: bool) -> bool:
    connection = await asyncpg.connect(host=host, port=port, user="postgres", database="postgres")
    try:
        query = "SELECT 1 FROM pg_database WHERE datname = $1"
        found = await connection.fetchval(query, DATABASE) is not None
        if create and not found:
            await connection.execute(
                "CREATE DATABASE paranal ENCODING 'UTF8' LOCALE 'C.UTF-8' TEMPLATE template0"
            )
        return found or create
    finally:
        await connection.close()


async def _apply(connection: Any, *, check: bool) -> list[str]:  # noqa: ANN401 - asyncpg
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1::bigint)", LOCK)
        done = await _done(connection)
        missing = []
        for migration in migrations():
            if migration.name not in done:
                missing.append(migration)
            elif done[migration.name] != migration.digest:
                raise Refusal("PAR-0590", name=migration.name)
        if missing and not check:
            await connection.execute(_TABLE)
        for migration in () if check else missing:
            await connection.execute(migration.text)
            await connection.execute(
                "INSERT INTO public.migration (name, digest) VALUES ($1, $2)",
                migration.name,
                migration.digest,
            )
    return [migration.name for migration in missing]


async def _done(connection: Any) -> dict[str, str]:  # noqa: ANN401 - asyncpg
    if await connection.fetchval("SELECT to_regclass('public.migration')") is None:
        return {}
    rows = await connection.fetch("SELECT name, digest FROM public.migration")
    return {row["name"]: row["digest"] for row in rows}


def main(argv: list[str] | None = None) -> int:
    """Migrate, print what was applied, and return 0, or 3 with the refusal on standard error."""
    parser = argparse.ArgumentParser(prog="python3 -m paranal.query.migrate", description=__doc__)
    parser.add_argument("--host", default=SOCKET, help="directory of PostgreSQL's unix socket")
    parser.add_argument("--port", type=int, default=5432)
    parser.add_argument("--check", action="store_true", help="change nothing, say what is missing")
    args = parser.parse_args(argv)
    try:
        applied = asyncio.run(migrate(args.host, args.port, check=args.check))
    except Refusal as refusal:
        sys.stderr.write(f"{refusal}\n")
        return 3
    sys.stdout.write(json.dumps({"applied": applied}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
