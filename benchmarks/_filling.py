"""A million executions in seconds: rows made by the server itself, as the storage would have written them.

The statistics are then brought up to date, as autovacuum does on a backlog that grew by itself, and what is in memory
is written to the disk, so that it isn't while calls are measured.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final, Literal

import asyncpg

from stepwell.storage import Kind, Status

__all__ = ["KINDS", "Filling", "fill"]

Filling = Literal["due", "unserved", "timers"]
"""Due executions of the workflow that is claimed, due ones of another, and executions of it that wait for an hour."""

KINDS: Final[dict[Filling, tuple[str, Status, int, tuple[Kind, ...]]]] = {
    "due": ("orders", Status.QUEUED, -86_400, (Kind.CREATED,)),
    "unserved": ("mails", Status.QUEUED, -86_400, (Kind.CREATED,)),
    "timers": ("orders", Status.WAITING, 3_600, (Kind.CREATED, Kind.STEP_RETRY)),
}
"""For each the workflow, the status, the seconds until it is due, and what its journal tells."""

_INPUT: Final = '{"number":1,"customer":"ada"}'
_NOW: Final = "(extract(epoch FROM statement_timestamp()) * 1000000)::bigint"
_ID: Final = "'filled-' || lpad(n::text, 12, '0')"
_ROWS: Final = f"""
INSERT INTO stepwell.executions (
       id, workflow, version, status, step, visit, attempt, revision, token, signals, pausing, due_at, timer_at,
       created_at, updated_at, tags, metadata, input)
SELECT {_ID}, $3, '1', $4, 'reserve', 1, $6, $7, 0, 0, false, now + $5 * 1000000::bigint + n,
       now + $5 * 1000000::bigint + n, now - 86400000000 + n, now - 86400000000 + n, '[]', '{{}}', '{_INPUT}'
  FROM generate_series($1::bigint, $2::bigint) AS n, (SELECT {_NOW} AS now) AS clock
"""  # noqa: S608 (constants)
_LINES: Final = f"""
INSERT INTO stepwell.journal (execution_id, seq, visit, attempt, token, at, kind, change, step)
SELECT {_ID}, line.seq, 1, line.seq - 1, 0, {_NOW}, line.kind, 'change-' || n, 'reserve'
  FROM generate_series($1::bigint, $2::bigint) AS n, unnest($3::text[]) WITH ORDINALITY AS line(kind, seq)
 ORDER BY n, line.seq
"""  # noqa: S608
_SECONDS: Final = 240.0


async def fill(dsn: str, filling: Filling, first: int, last: int) -> None:
    """Add the executions from number *first* to *last*."""
    workflow, status, after, kinds = KINDS[filling]
    connection: Any = await asyncpg.connect(dsn)
    try:
        attempt, revision = len(kinds) - 1, len(kinds)
        values = (first, last, workflow, status.value, after, attempt, revision)
        await connection.execute(_ROWS, *values, timeout=_SECONDS)
        await connection.execute(_LINES, first, last, [kind.value for kind in kinds], timeout=_SECONDS)
        await connection.execute("VACUUM (ANALYZE) stepwell.executions, stepwell.journal", timeout=_SECONDS)
        with suppress(asyncpg.InsufficientPrivilegeError):
            await connection.execute("CHECKPOINT", timeout=_SECONDS)
    finally:
        await connection.close()
