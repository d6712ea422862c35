"""How a storage in Postgres starts: many at once, on another version's schema, with few rights, before its server."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from stepwell import Engine, PostgresStorage, Status
from stepwell.storage import StorageError, _migrate
from stepwell.storage._migrate import Migration, pending
from tests.cli.shop import Verdict, greeting, verdict
from tests.support.not_postgres import closed_port
from tests.support.postgres import Server
from tests.support.postgres.by_hand import execute, fetch, role
from tests.support.postgres.flow import once
from tests.support.processes import ENVIRONMENT, run_script
from tests.support.virtual_time import Backend

pytestmark = [pytest.mark.anyio, pytest.mark.real_time]

SCRIPT = Path(__file__).parent / "scripts" / "open_postgres.py"
SECOND = Migration(2, "0002_more", "CREATE TABLE stepwell.more (id integer);\nINSERT INTO stepwell.more VALUES (1);\n")
BROKEN = Migration(
    3, "0003_broken", "CREATE TABLE stepwell.half (id integer);\nINSERT INTO stepwell.nowhere VALUES (1);\n"
)
WORKER = (
    "GRANT USAGE ON SCHEMA stepwell TO {role}",
    "GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA stepwell TO {role}",
)
APPLIED = "SELECT number, name FROM stepwell.migrations ORDER BY number"
CORE = (1, "0001_core")
DEFINITIONS = """
    SELECT 'column', table_name || '.' || column_name, concat_ws(' ', data_type, is_nullable, collation_name)
      FROM information_schema.columns WHERE table_schema = 'stepwell'
    UNION ALL SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'stepwell'
    UNION ALL SELECT 'table', relname, reloptions::text FROM pg_class WHERE relnamespace = 'stepwell'::regnamespace
     ORDER BY 1, 2"""


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> list[Migration]:
    """The migrations of a later release."""
    migrations = [*pending("postgres", 0), SECOND]

    def of(dialect: _migrate.Dialect) -> tuple[Migration, ...]:
        return tuple(migrations)

    monkeypatch.setattr(_migrate, "_all", of)
    return migrations


async def applied_by_opening(dsn: str, *, migrate: bool = True, schema: str = "stepwell") -> tuple[str, ...]:
    async with PostgresStorage(dsn, schema=schema, migrate=migrate, wait=0) as storage:
        return storage.applied


class TestManyAtOnce:
    async def test_fifty_storages_come_up_and_each_migration_is_applied_once(
        self, postgres_empty_database: str
    ) -> None:
        applied: list[tuple[str, ...]] = []

        async def open_one() -> None:
            async with PostgresStorage(postgres_empty_database, connections=1, wait=60) as storage:
                applied.append(storage.applied)

        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(open_one)
        assert sorted(applied) == [()] * 49 + [("0001_core",)]
        assert fetch(postgres_empty_database, APPLIED) == [CORE]

    def test_twenty_processes_come_up_and_work_half_of_them_on_trio(self, postgres_empty_database: str) -> None:
        command = [sys.executable, "-u", str(SCRIPT), postgres_empty_database]
        children = [started([*command, backend]) for _ in range(10) for backend in ("asyncio", "trio")]
        try:
            for child in children:
                assert child.stdout is not None
                assert child.stdout.readline() == "ready\n"
            for child in children:
                assert child.stdin is not None
                child.stdin.write("go\n")
                child.stdin.flush()
            told = sorted(child.communicate(timeout=90)[0] for child in children)
        finally:
            for child in children:
                child.kill()
                child.communicate()
        assert told == ["ran hello Ada, applied 0\n"] * 19 + ["ran hello Ada, applied 1\n"]
        assert fetch(postgres_empty_database, APPLIED) == [CORE]

    async def test_whoever_waits_for_the_tables_is_not_cut_off_by_the_limits_of_its_role(
        self, postgres_empty_database: str
    ) -> None:
        limits = ("ALTER ROLE {role} SET statement_timeout = 100", "ALTER ROLE {role} SET lock_timeout = 100")
        hold = """BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('"stepwell"', 5730218));
                  CREATE SCHEMA held; SELECT pg_sleep(0.5); COMMIT"""  # longer than the limits
        execute(postgres_empty_database, f'GRANT CREATE ON DATABASE "{database_of(postgres_empty_database)}" TO public')
        with role(postgres_empty_database, *limits) as dsn:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(to_thread.run_sync, execute, postgres_empty_database, hold)
                waiting = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted"
                with anyio.fail_after(10):
                    while not await to_thread.run_sync(fetch, postgres_empty_database, waiting):
                        await anyio.lowlevel.checkpoint()
                assert await applied_by_opening(dsn) == ("0001_core",)


def started(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)


def database_of(dsn: str) -> str:
    return dsn.rpartition("/")[2].partition("?")[0]


class TestVersions:
    async def test_an_older_schema_is_brought_up_to_date(
        self, postgres_empty_database: str, newer: list[Migration]
    ) -> None:
        newer.pop()
        assert await applied_by_opening(postgres_empty_database) == ("0001_core",)
        newer.append(SECOND)
        assert await applied_by_opening(postgres_empty_database) == ("0002_more",)
        assert await applied_by_opening(postgres_empty_database) == ()
        assert fetch(postgres_empty_database, APPLIED) == [CORE, (2, "0002_more")]
        assert fetch(postgres_empty_database, "SELECT id FROM stepwell.more") == [(1,)]

    async def test_a_migration_that_fails_leaves_nothing(
        self, postgres_empty_database: str, newer: list[Migration]
    ) -> None:
        newer.append(BROKEN)
        with pytest.raises(StorageError, match="nowhere"):
            await applied_by_opening(postgres_empty_database)
        assert fetch(postgres_empty_database, "SELECT FROM pg_namespace WHERE nspname = 'stepwell'") == []

    async def test_a_newer_schema_is_refused_with_both_versions_and_the_place(self, postgres_database: str) -> None:
        execute(postgres_database, "INSERT INTO stepwell.migrations VALUES (7, '0007_later')")
        place = f"{database_of(postgres_database)}: schema .stepwell.: "
        for migrate in (True, False):
            with pytest.raises(StorageError, match=f"{place}.* has version 7, .* up to 1: .* upgrade this one"):
                await applied_by_opening(postgres_database, migrate=migrate)

    async def test_without_migrating_an_older_schema_is_refused(
        self, postgres_database: str, newer: list[Migration]
    ) -> None:
        with pytest.raises(StorageError, match="too old, it lacks 0002_more; run `stepwell migrate`"):
            await applied_by_opening(postgres_database, migrate=False)
        assert fetch(postgres_database, APPLIED) == [CORE]

    async def test_without_migrating_an_empty_database_stays_empty(self, postgres_empty_database: str) -> None:
        with pytest.raises(
            StorageError, match=r"no tables of Stepwell in the schema .stepwell.; run `stepwell migrate`"
        ):
            await applied_by_opening(postgres_empty_database, migrate=False)
        assert fetch(postgres_empty_database, "SELECT FROM pg_namespace WHERE nspname = 'stepwell'") == []

    async def test_a_schema_made_by_the_script_is_up_to_date(
        self, postgres_empty_database: str, postgres_database: str
    ) -> None:
        execute(postgres_empty_database, PostgresStorage.script())
        for migrate in (False, True):
            assert await applied_by_opening(postgres_empty_database, migrate=migrate) == ()
        assert fetch(postgres_empty_database, DEFINITIONS) == fetch(postgres_database, DEFINITIONS)

    @pytest.mark.parametrize("table", ["executions (id integer)", "migrations (name text)"])
    async def test_a_schema_of_something_else_is_left_alone(self, postgres_empty_database: str, table: str) -> None:
        execute(postgres_empty_database, f"CREATE TABLE public.{table}")
        with pytest.raises(StorageError, match="is the schema that of something else"):
            await applied_by_opening(postgres_empty_database, schema="public")
        tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        assert fetch(postgres_empty_database, tables) == [(table.partition(" ")[0],)]

    async def test_each_schema_of_a_database_is_by_itself(self, postgres_empty_database: str) -> None:
        execute(postgres_empty_database, PostgresStorage.script("other_one"))
        assert await applied_by_opening(postgres_empty_database, schema="other_one", migrate=False) == ()
        assert await applied_by_opening(postgres_empty_database) == ("0001_core",)

    async def test_a_script_for_a_schema_that_is_not_plain_is_refused(self) -> None:
        with pytest.raises(StorageError, match="lower-case name"):
            PostgresStorage.script('x"; DROP TABLE y; --')


class TestRights:
    @pytest.mark.parametrize("migrate", [False, True])
    async def test_a_role_without_ddl_rights_works_on_a_schema_that_is_up_to_date(
        self, postgres_database: str, *, migrate: bool
    ) -> None:
        with role(postgres_database, *WORKER) as dsn:
            async with (
                PostgresStorage(dsn, migrate=migrate, wait=0) as storage,
                Engine(storage, workflows=[greeting]) as engine,
            ):
                handle = await engine.start(greeting, "Ada")
                await engine.run_until_idle()
                await handle.signal(verdict, Verdict(approved=True))
                await engine.run_until_idle()
                assert (await handle.get()).status is Status.SUCCEEDED

    async def test_a_role_without_ddl_rights_that_finds_nothing_is_told_what_it_lacks(
        self, postgres_empty_database: str
    ) -> None:
        with (
            role(postgres_empty_database) as dsn,
            pytest.raises(StorageError, match=r"lacks CREATE on the database, .* schema .stepwell.; run `stepwell m"),
        ):
            await applied_by_opening(dsn)
        with (
            role(postgres_empty_database, "CREATE SCHEMA stepwell", "GRANT USAGE ON SCHEMA stepwell TO {role}") as dsn,
            pytest.raises(StorageError, match=r"lacks CREATE on the schema .stepwell.,"),
        ):
            await applied_by_opening(dsn)

    async def test_a_role_may_make_the_tables_in_a_schema_that_was_made_for_it(
        self, postgres_empty_database: str
    ) -> None:
        with role(postgres_empty_database, "CREATE SCHEMA stepwell AUTHORIZATION {role}") as dsn:
            assert await applied_by_opening(dsn) == ("0001_core",)

    @pytest.mark.parametrize(
        ("grants", "says"),
        [
            ([], "lacks USAGE on SCHEMA .stepwell.: GRANT USAGE ON SCHEMA"),
            (
                [WORKER[0]],
                "lacks SELECT on .stepwell..migrations: GRANT SELECT ON .stepwell..migrations TO stepwell_test",
            ),
            ([*WORKER, "REVOKE SELECT ON stepwell.signals FROM {role}"], "lacks SELECT on .stepwell..signals"),
            ([*WORKER, "REVOKE INSERT ON stepwell.journal FROM {role}"], "lacks INSERT on .stepwell..journal"),
            (
                [*WORKER, "REVOKE INSERT, UPDATE ON stepwell.workflows FROM {role}"],
                "lacks INSERT, UPDATE on .stepwell..wor",
            ),
            ([*WORKER, "REVOKE UPDATE ON stepwell.executions FROM {role}"], "lacks UPDATE on .stepwell..executions"),
        ],
    )
    async def test_a_role_that_lacks_a_right_is_told_which_and_on_what(
        self, postgres_database: str, grants: list[str], says: str
    ) -> None:
        with role(postgres_database, *grants) as dsn:
            for migrate in (True, False):
                with pytest.raises(StorageError, match=f"the role stepwell_test_[0-9a-f]+ {says}"):
                    await applied_by_opening(dsn, migrate=migrate)

    async def test_a_role_that_may_only_read_looks_and_is_told_what_it_needs_to_work(
        self, postgres_database: str
    ) -> None:
        grants = (WORKER[0], "GRANT SELECT ON ALL TABLES IN SCHEMA stepwell TO {role}")
        with role(postgres_database, *grants) as dsn:
            async with PostgresStorage(dsn, migrate=False, wait=0) as storage, Engine(storage) as engine:
                assert (await engine.find()).executions == ()
                engine.register(once)
                with pytest.raises(StorageError, match=r"table workflows; .* SELECT, INSERT and UPDATE on its tables"):
                    await engine.start(once, "Ada")


class TestSeveralHosts:
    async def test_the_one_that_answers_is_found(self, postgres_dsn: str) -> None:
        login, _, place = postgres_dsn.rpartition("@")
        dsn = f"{login}@127.0.0.1:{closed_port()},{place}&target_session_attrs=primary"
        assert await applied_by_opening(dsn) == ()


class TestBeforeTheServer:
    async def test_a_process_that_starts_first_waits(self, own_postgres: Server, backend: Backend) -> None:
        own_postgres.stop()
        with door(own_postgres) as waiting:
            async with run_script(SCRIPT, own_postgres.dsn, backend) as child:
                await child.line("ready")
                await child.tell("go")
                await knocked(waiting)  # it has begun
                waiting.close()
                await to_thread.run_sync(own_postgres.start)
                await child.line("ran hello Ada")
                assert await child.ended() == 0
                assert "waiting for the database, up to 60 s: " in child.errors()

    async def test_a_storage_that_is_opened_first_waits(self, own_postgres: Server) -> None:
        own_postgres.stop()
        opened = anyio.Event()

        async def open_it() -> None:
            async with PostgresStorage(own_postgres.dsn, schema="waits"):
                opened.set()

        with door(own_postgres) as waiting:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(open_it)
                await knocked(waiting)
                assert not opened.is_set()
                waiting.close()
                await to_thread.run_sync(own_postgres.start)
                with anyio.fail_after(30):
                    await opened.wait()

    async def test_whoever_stops_waiting_leaves_nothing_open(self, own_postgres: Server) -> None:
        own_postgres.stop()
        storage = PostgresStorage(own_postgres.dsn, schema="waits", wait=3600)
        with door(own_postgres) as waiting:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(storage.__aenter__)
                await knocked(waiting)
                tasks.cancel_scope.cancel()
        await to_thread.run_sync(own_postgres.start)
        async with storage:
            pass


def door(server: Server) -> socket.socket:
    """Listen where a server that was stopped did: whoever comes to it is seen, and not let in."""
    return socket.create_server((server.host, server.port))


async def knocked(waiting: socket.socket) -> None:
    """Return when somebody has come to the door."""
    visitor, _ = await to_thread.run_sync(waiting.accept)
    visitor.close()
