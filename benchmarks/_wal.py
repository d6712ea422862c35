"""What a server has written and committed, as it counts it itself."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import anyio
import asyncpg

__all__ = ["SETTLES", "Counted", "Counting", "counted"]

SETTLES: Final = 1.5
"""seconds after which every process of the server has told what it counted: it does so once a second"""
_GONE_WITHIN: Final = 10.0
"""seconds"""
_POSITION: Final = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"
_COUNTS: Final = """
SELECT wal_records, wal_fpi,
       (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()) AS commits
  FROM pg_stat_wal
"""
_FLUSHES: Final = "SELECT coalesce(sum(fsyncs), 0)::bigint FROM pg_stat_io WHERE object = 'wal' AND context = 'normal'"
_FLUSHES_BEFORE_18: Final = "SELECT wal_sync FROM pg_stat_wal"
_OTHERS: Final = """
SELECT count(*) FROM pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""


@dataclass(frozen=True, slots=True)
class Counted:
    """Bytes of write-ahead log, its records and full pages; commits in this database; flushes to the disk."""

    written: int
    records: int
    full_pages: int
    commits: int
    flushes: int

    def since(self, before: Counted) -> Counted:
        """Return what was added."""
        return Counted(
            self.written - before.written,
            self.records - before.records,
            self.full_pages - before.full_pages,
            self.commits - before.commits,
            self.flushes - before.flushes,
        )


class Counting:
    """What was counted while a block ran."""

    def __init__(self) -> None:
        self.total = Counted(0, 0, 0, 0, 0)


@asynccontextmanager
async def counted(dsn: str, settles: float = SETTLES) -> AsyncGenerator[Counting]:
    """Count what happens in the block. It must open its connections itself and close them: only then they tell.

    A checkpoint comes first, if the role may ask for one, so that the pages that are there already are logged whole.
    """
    connection: Any = await asyncpg.connect(dsn)
    try:
        counting = Counting()
        with suppress(asyncpg.InsufficientPrivilegeError):
            await connection.execute("CHECKPOINT")
        before = await _read(connection, settles)
        yield counting
        position = await connection.fetchval(_POSITION)
        after = await _read(connection, settles)
        counting.total = Counted(position, after.records, after.full_pages, after.commits, after.flushes).since(before)
    finally:
        await connection.close()


async def _read(connection: Any, settles: float) -> Counted:
    with anyio.move_on_after(_GONE_WITHIN):
        while await connection.fetchval(_OTHERS):  # noqa: ASYNC110 (there is no event to wait for)
            await anyio.sleep(0.05)
    await anyio.sleep(settles)
    records, full_pages, commits = await connection.fetchrow(_COUNTS)
    major = connection.get_server_version().major
    flushes = await connection.fetchval(_FLUSHES if major >= 18 else _FLUSHES_BEFORE_18)
    return Counted(await connection.fetchval(_POSITION), records, full_pages, commits, flushes)
