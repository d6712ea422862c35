"""Databases for tests: empty when they are given out, and gone at the end."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import anyio
import asyncpg
import pytest

from tests.support.postgres import _databases
from tests.support.postgres._databases import Databases, open_databases, with_database
from tests.support_tests.postgres import ask, execute

SCHEMA = """
CREATE SCHEMA "odd name";
CREATE TABLE "odd name".parent (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text);
CREATE TABLE "odd name".child (parent bigint NOT NULL REFERENCES "odd name".parent);
CREATE TABLE "odd name".version (version int);
INSERT INTO "odd name".version VALUES (1);
"""
FILL = """
INSERT INTO "odd name".parent (name) VALUES ('a'), ('b');
INSERT INTO "odd name".child SELECT id FROM "odd name".parent;
"""


async def migrate(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(SCHEMA)
    await connection.close()


@pytest.fixture(scope="module")
def databases(postgres_url: str) -> Iterator[Databases]:
    with open_databases(postgres_url, migrate) as databases:
        yield databases


def rows(dsn: str) -> list[int]:
    counts = (f'SELECT count(*) FROM "odd name".{table}' for table in ("parent", "child", "version"))  # noqa: S608
    return [ask(dsn, count) for count in counts]


def name_in(dsn: str) -> str:
    return urlsplit(dsn).path.removeprefix("/")


def names(postgres_url: str) -> set[str]:
    return set(ask(postgres_url, "SELECT array_agg(datname::text) FROM pg_database"))


def test_the_shared_database_is_the_same_and_empty(databases: Databases) -> None:
    dsn = databases.shared()
    for _ in range(3):
        assert rows(dsn) == [0, 0, 1]
        execute(dsn, FILL)
        assert ask(dsn, 'SELECT max(id) FROM "odd name".parent') == 2
        assert databases.shared() == dsn


@pytest.mark.parametrize(
    "change",
    [
        'ALTER TABLE "odd name".parent ADD COLUMN more int',
        "ALTER TABLE \"odd name\".parent ALTER COLUMN name SET DEFAULT 'x'",
        'CREATE INDEX ON "odd name".parent (name)',
        "CREATE SCHEMA another",
        "CREATE TABLE public.another ()",
        "CREATE FUNCTION public.one() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        'DROP TABLE "odd name".child',
        'INSERT INTO "odd name".version VALUES (2)',
        'UPDATE "odd name".version SET version = 2',
    ],
)
def test_a_changed_database_is_not_shared_on(databases: Databases, change: str) -> None:
    changed = databases.shared()
    execute(changed, change)
    assert databases.shared() != changed
    assert rows(databases.shared()) == [0, 0, 1]


def test_statistics_are_no_change(databases: Databases) -> None:
    dsn = databases.shared()
    execute(dsn, FILL, "ANALYZE", "VACUUM")
    assert databases.shared() == dsn


def test_who_is_still_connected_is_thrown_out(databases: Databases) -> None:
    async def leave_open() -> None:
        connection = await asyncpg.connect(dsn)
        await connection.execute('BEGIN; LOCK TABLE "odd name".parent; INSERT INTO "odd name".version VALUES (7)')
        try:
            assert await anyio.to_thread.run_sync(databases.shared) == dsn
            with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
                await connection.execute("COMMIT")
        finally:
            connection.terminate()

    dsn = databases.shared()
    anyio.run(leave_open)
    assert rows(dsn) == [0, 0, 1]


def test_a_database_is_shared_so_often_and_no_more(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_databases, "USES", 3)
    assert len({databases.shared() for _ in range(9)}) >= 3


def test_a_fresh_database_is_dropped_whoever_is_connected(databases: Databases, postgres_url: str) -> None:
    async def leave_open(dsn: str) -> asyncpg.Connection[asyncpg.Record]:
        connection = await asyncpg.connect(dsn)
        await connection.execute(f"BEGIN; {FILL}")
        return connection

    async def main() -> None:
        with databases.fresh() as dsn:
            dsns.append(dsn)
            connection = await leave_open(dsn)
        connection.terminate()

    dsns: list[str] = []
    anyio.run(main)
    assert name_in(dsns[0]) not in names(postgres_url)


def test_a_fresh_database_may_be_empty(databases: Databases) -> None:
    with databases.fresh(migrated=False) as empty, databases.fresh() as migrated:
        assert ask(empty, "SELECT to_regclass('\"odd name\".parent')") is None
        assert rows(migrated) == [0, 0, 1]


@pytest.mark.anyio
async def test_a_database_is_given_out_within_an_event_loop(databases: Databases) -> None:
    assert databases.shared()


def test_sessions_share_a_server_and_drop_what_is_theirs(postgres_url: str) -> None:
    with open_databases(postgres_url, migrate) as one, open_databases(postgres_url, migrate) as other:
        prefixes = tuple(name_in(session.shared()).rpartition("_")[0] for session in (one, other))
        assert len(set(prefixes)) == 2
        with one.fresh() as first, other.fresh() as second:
            assert {name_in(first), name_in(second)} < names(postgres_url)
        assert len([name for name in names(postgres_url) if name.startswith(prefixes)]) == 4
    assert not [name for name in names(postgres_url) if name.startswith(prefixes)]


@pytest.mark.parametrize(
    ("dsn", "expected"),
    [
        ("postgresql://me:secret@host:1/db?sslmode=disable", "postgresql://me:secret@host:1/x?sslmode=disable"),
        ("postgres://host", "postgres://host/x"),
        ("postgresql:///db?host=/run", "postgresql:///x?host=/run"),
    ],
)
def test_the_url_of_another_database_keeps_all_else(dsn: str, expected: str) -> None:
    assert with_database(dsn, "x") == expected
