"""``paranal source import``: load a file of records into this country's own source.

Runs on the node as account ``paranal-source``. Everything is checked, with line numbers, and goes
in as one transaction: a file is imported whole or not at all.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Any, TextIO

import asyncpg

from paranal.messages import Refusal
from paranal.query import records
from paranal.query.store import UNAVAILABLE

SOCKET = "/run/postgresql"
DATABASE = "paranal"
ACCOUNT = "paranal-source"
SOURCE = re.compile("[a-z][a-z0-9_-]{0,39}")

_LOADED = """
INSERT INTO source.load (source, records, digest) VALUES ($1, $2, $4)
ON CONFLICT (source) DO UPDATE
   SET records = EXCLUDED.records + CASE WHEN $3 THEN 0 ELSE load.records END, loaded_at = now(),
       digest = CASE WHEN $3 THEN EXCLUDED.digest END
RETURNING records
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``paranal source``."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    load = actions.add_parser("import", help="load a file of records, whole or not at all")
    load.add_argument("file", metavar="FILE", help="'-' reads standard input")
    load.add_argument("--format", choices=records.FORMATS, required=True)
    load.add_argument("--source", type=_source, required=True, help="the source's name")
    load.add_argument("--replace", action="store_true", help="replace all that the source held")
    load.add_argument("--host", default=SOCKET, help="directory of PostgreSQL's unix socket")
    load.add_argument("--json", action="store_true", help="print the result as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Import the file and say how many records the source holds; raises ``Refusal`` PAR-057x."""
    with _opened(args.file) as lines:
        rows = records.rows(lines, args.format, args.source, _name(args.file), _today())
        result = asyncio.run(_import(args.host, args.source, rows, _name(args.file), args.replace))
    if args.json:
        sys.stdout.write(json.dumps({"source": args.source, **result}) + "\n")
    else:
        imported, held = result["imported"], result["records"]
        sys.stdout.write(f"{args.source}: {imported} importados, {held} en la fuente | imported\n")
    return 0


async def _import(
    host: str, source: str, rows: Iterator[records.Row], name: str, replace: bool
) -> dict[str, int | bool]:
    """Copy the rows in one transaction; return ``{"imported", "records", "changed"}``.

    ``records`` is how many the source holds now; ``changed`` is false when the same records
    replaced themselves, which are copied all the same: the table may have been altered meanwhile.
    """
    try:
        connection = await asyncpg.connect(host=host, user=ACCOUNT, database=DATABASE)
        try:
            async with connection.transaction():
                return await _copy(connection, source, rows, name, replace)
        finally:
            await connection.close()
    except asyncpg.UniqueViolationError:
        raise Refusal("PAR-0575", source=source, reason="source, record") from None
    except UNAVAILABLE as error:
        # Only the kind: a message of PostgreSQL may quote the row.
        raise Refusal("PAR-0574", reason=type(error).__name__) from None


async def _copy(
    connection: Any,  # noqa: ANN401 - asyncpg has no types
    source: str,
    rows: Iterator[records.Row],
    name: str,
    replace: bool,
) -> dict[str, int | bool]:
    before = await connection.fetchval("SELECT digest FROM source.load WHERE source = $1", source)
    if replace:
        await connection.execute("DELETE FROM source.record WHERE source = $1", source)
    digest = hashlib.sha256()

    def digested() -> Iterator[records.Row]:
        for row in rows:
            digest.update(repr(row).encode())
            yield row

    status = await connection.copy_records_to_table(
        "record", schema_name="source", columns=records.Row._fields, records=digested()
    )
    imported = int(status.split()[-1])
    if not imported:
        raise Refusal("PAR-0573", where=name, source=source)
    after = digest.hexdigest()
    held = await connection.fetchval(_LOADED, source, imported, replace, after)
    return {"imported": imported, "records": held, "changed": not replace or before != after}


@contextmanager
def _opened(file: str) -> Iterator[TextIO]:
    """Open the file as strict UTF-8; a byte that is none is a refusal (PAR-0570)."""
    try:
        path: int | str = sys.stdin.fileno() if file == "-" else file
        with open(path, encoding="utf-8", newline="") as lines:  # noqa: PTH123 - or a descriptor
            yield lines
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "UTF-8"
        raise Refusal("PAR-0570", where=_name(file), format="text", reason=reason) from None


def _name(file: str) -> str:
    return "stdin" if file == "-" else file


def _source(text: str) -> str:
    if not SOURCE.fullmatch(text):
        raise argparse.ArgumentTypeError(f"'{text}': a-z, 0-9, _ and -, from a letter, at most 40")
    return text


def _today() -> date:
    return datetime.now(UTC).date()
