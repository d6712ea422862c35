"""What the server gives without Stepwell: one asyncpg connection, and one plain statement a commit.

A step here is what a step can't do without: its execution's row is updated, and 200 bytes of its own are added to a
journal, which is kept by execution. All steps of a commit are one statement, which is the fastest way there is.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg

__all__ = ["RawPostgres", "commit_times", "opened_raw", "steps_per_second"]

_ROWS: Final = 1_000
_PAYLOAD: Final = "x" * 200
_TABLES: Final = """
CREATE TABLE raw_executions (id text COLLATE "C" PRIMARY KEY, revision integer NOT NULL, status text NOT NULL)
  WITH (fillfactor = 70);
CREATE TABLE raw_journal (
    execution_id text COLLATE "C" NOT NULL, seq integer NOT NULL, payload text NOT NULL,
    PRIMARY KEY (execution_id, seq));
"""
_FILL: Final = "INSERT INTO raw_executions SELECT id, 0, 'queued' FROM unnest($1::text[]) AS t(id)"
_STEP: Final = """
WITH changed AS (
    UPDATE raw_executions AS e SET revision = revision + 1
      FROM unnest($1::text[], $2::text[]) AS t(id, payload) WHERE e.id = t.id
    RETURNING e.id, e.revision, t.payload)
INSERT INTO raw_journal (execution_id, seq, payload) SELECT id, revision, payload FROM changed
"""


class RawPostgres:
    """A connection to tables of its own, with some executions in them."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._ids = [f"execution-{number:08d}" for number in range(_ROWS)]
        self._number = 0

    async def fill(self) -> None:
        """Make the tables."""
        await self._connection.execute(_TABLES)
        await self._connection.execute(_FILL, self._ids)

    async def commit(self, steps: int) -> None:
        """Commit so many steps in one statement; no more than there are executions."""
        start = self._number % _ROWS
        ids = (self._ids[start:] + self._ids[:start])[:steps]
        await self._connection.execute(_STEP, ids, [_PAYLOAD] * steps)
        self._number += steps

    async def position(self) -> int:
        """Return how many bytes of write-ahead log the server has written in its life."""
        position: int = await self._connection.fetchval(
            "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"
        )
        return position


@asynccontextmanager
async def opened_raw(dsn: str) -> AsyncGenerator[RawPostgres]:
    """Make the tables in an empty database."""
    connection: Any = await asyncpg.connect(dsn)
    try:
        raw = RawPostgres(connection)
        await raw.fill()
        yield raw
    finally:
        await connection.close()


async def steps_per_second(dsn: str, commits: int, together: int) -> float:
    """Return how many steps a second so many commits write, of *together* steps each."""
    async with opened_raw(dsn) as raw:
        for _ in range(commits // 10 + 1):
            await raw.commit(together)
        begun = time.perf_counter()
        for _ in range(commits):
            await raw.commit(together)
        return commits * together / (time.perf_counter() - begun)


async def commit_times(dsn: str, commits: int) -> list[float]:
    """Return how long each of so many commits of one step takes, in seconds."""
    times: list[float] = []
    async with opened_raw(dsn) as raw:
        for _ in range(commits // 10 + 1):
            await raw.commit(1)
        for _ in range(commits):
            begun = time.perf_counter()
            await raw.commit(1)
            times.append(time.perf_counter() - begun)
    return times
