"""Our own log of questions: when each direction last went well, and how its last one ended."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime

from paranal.status.bounded import output
from paranal.status.facts import Direction, Exchange, Flow

PSQL = (
    "runuser",
    "-u",
    "postgres",
    "--",
    "psql",
    "-XAtq",
    "-v",
    "ON_ERROR_STOP=1",
    "-d",
    "paranal",
)
"""Root becomes the cluster's owner: peer authentication knows no root."""

# A hit and a clean answer are the same here: whether somebody was wanted is nobody's to read in a
# status. Both lookups walk the log's own index from its newest end.
LAST = """
BEGIN READ ONLY;
SET LOCAL statement_timeout = '3s';
SELECT json_build_object(
           'way', flow.way, 'peer', flow.peer, 'service', flow.service, 'last_at', last.at,
           'outcome',
           CASE WHEN last.outcome IN ('OK', 'RQ', 'ANT') THEN 'GOOD' ELSE last.outcome END,
           'last_good', exchange.last_good(flow.asker, flow.answerer, flow.service, flow.role))
  FROM json_to_recordset(:'flows') AS flow
       (way text, peer text, service text, asker text, answerer text, role text)
  LEFT JOIN LATERAL (
       SELECT entry.at, entry.outcome FROM exchange.query AS entry
        WHERE entry.asker = flow.asker AND entry.answerer = flow.answerer
          AND entry.service = flow.service AND entry.role = flow.role
        ORDER BY entry.at DESC LIMIT 1) AS last ON true;
COMMIT;
"""


def read(member: str, directions: Iterable[Direction]) -> dict[Flow, Exchange]:
    """Return the last questions of each direction; raises ``Unreadable`` or ``ValueError``."""
    flows = json.dumps([_flow(member, direction) for direction in directions])
    return judge(output([*PSQL, "-v", f"flows={flows}"], text=LAST))


def judge(shown: str) -> dict[Flow, Exchange]:
    """Return the exchanges from psql's lines of JSON."""
    rows = [json.loads(line) for line in shown.splitlines() if line]
    return {
        (row["way"], row["peer"], row["service"]): Exchange(
            last_good=_moment(row["last_good"]),
            last_at=_moment(row["last_at"]),
            outcome=row["outcome"],
        )
        for row in rows
    }


def _flow(member: str, direction: Direction) -> dict[str, str]:
    way, peer, service = direction.flow
    asker, answerer = (member, peer) if way == "asks" else (peer, member)
    role = "asked" if way == "asks" else "answered"
    return {
        "way": way,
        "peer": peer,
        "service": service,
        "asker": asker,
        "answerer": answerer,
        "role": role,
    }


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
