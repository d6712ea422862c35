"""What a purge does in Postgres: it goes by indexes, waits for nobody, and leaves nothing behind."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from stepwell.storage import NEVER, Status, Storage
from stepwell.testing._scene import Scene, following

pytest.importorskip("asyncpg")

import asyncpg

from stepwell.storage._postgres import _database, _purge
from stepwell.storage._postgres._horizon import BEGINNING
from stepwell.storage._postgres._sql import Statements
from stepwell.storage._postgres._times import LATEST
from stepwell.storage.postgres import PostgresStorage

pytestmark = [pytest.mark.anyio, pytest.mark.real_time]


@pytest.fixture(params=["asyncio"])
def backend(request: pytest.FixtureRequest) -> str:
    """asyncpg's own loop: the statements are the same on Trio."""
    chosen: str = request.param
    return chosen


@asynccontextmanager
async def connected(dsn: str, settings: dict[str, str] | None = None) -> AsyncGenerator[Any]:
    connection: Any = await asyncpg.connect(dsn, server_settings=settings)
    try:
        yield connection
    finally:
        await connection.close()


@pytest.fixture
async def opened(postgres_dsn: str) -> AsyncIterator[Storage]:
    async with PostgresStorage(postgres_dsn) as storage:
        yield storage


async def ended(scene: Scene, name: str, **fields: Any) -> str:
    row = await scene.create(replace(scene.row(name), **fields), due=NEVER)
    await scene.committed(following(row, status=Status.FAILED))
    return row.id


async def scanned(connection: Any, sql: str, *values: Any) -> list[str]:
    """Return which tables and indexes a statement goes by, as `how what`."""
    lines = [line for (line,) in await connection.fetch(f"EXPLAIN {sql}", *values)]
    tables = re.compile(r"(Seq Scan on (?:executions|journal|signals)|Index (?:Only )?Scan (?:using|on) \w+)")
    return [found[1] for line in lines if (found := tables.search(line))]


async def test_it_goes_by_indexes_however_full_the_tables_are(postgres_dsn: str, opened: Storage) -> None:
    sql = _purge.statement("stepwell")
    async with connected(postgres_dsn, _database._SESSION) as connection:
        for is_full in (False, True):
            if is_full:
                await connection.execute(FILL)
            found = await scanned(connection, sql, None, 0, 500)
            assert [one for one in found if one.startswith("Seq")] == []
            assert {one.split()[-1] for one in found} == {
                *("executions_ended", "executions_of_parent", "executions_id", "journal_seq", "signals_id")
            }


async def test_a_claim_still_goes_by_the_index_of_what_is_due(postgres_dsn: str, opened: Storage) -> None:
    async with connected(postgres_dsn, _database._SESSION) as connection:
        await connection.execute(FILL)
        found = await scanned(
            connection, Statements("stepwell").claim, None, ["w"], ["1"], 10, "worker", 1, BEGINNING, LATEST
        )
        assert found[0].endswith("executions_due")
        assert not any("executions_ended" in one for one in found)


FILL = """
    INSERT INTO stepwell.executions (
           id, workflow, version, status, visit, attempt, revision, token, signals, pausing, created_at, updated_at,
           ended_at, parent, tags, metadata, input)
    SELECT 'e' || n, 'w', '1', 'succeeded', 1, 0, 4, 1, 0, false, n, n, n, CASE WHEN n % 3 = 0 THEN 'e' || n - 1 END,
           '[]', '{}', 'null'
      FROM generate_series(1, 3000) AS n;
    INSERT INTO stepwell.journal (execution_id, seq, visit, attempt, token, at, kind, change)
    SELECT 'e' || n, seq, 1, 1, 1, n, 'step.succeeded', 'c'
      FROM generate_series(1, 3000) AS n, generate_series(1, 4) AS seq;
    ANALYZE stepwell.executions, stepwell.journal, stepwell.signals;
"""


async def test_what_somebody_has_locked_is_passed_over_with_its_family(postgres_dsn: str, opened: Storage) -> None:
    scene = Scene(opened)
    parent = await ended(scene, "parent")
    child = await ended(scene, "child", parent=parent)
    await ended(scene, "alone")
    async with connected(postgres_dsn) as other, other.transaction():
        await other.execute("SELECT FROM stepwell.executions WHERE id = $1 FOR NO KEY UPDATE", child)
        with anyio.fail_after(10):
            assert [await opened.purge(0, limit=100) for _ in range(2)] == [1, 0]
    assert await opened.purge(0, limit=100) == 2


async def test_no_row_of_any_table_is_left(postgres_dsn: str, opened: Storage) -> None:
    scene = Scene(opened)
    parent = await ended(scene, "parent")
    await ended(scene, "child", parent=parent)
    assert await opened.purge(0, limit=100) == 2
    async with connected(postgres_dsn) as connection:
        for table in ("executions", "journal", "signals"):
            assert await connection.fetchval(f"SELECT count(*) FROM stepwell.{table}") == 0  # noqa: S608 (a constant)
