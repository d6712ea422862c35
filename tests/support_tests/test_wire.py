"""The network that fails does what it says: a commit that is cut off before is not there, one cut off after is."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import anyio
import pytest

from stepwell import StorageError
from stepwell.storage import Query
from stepwell.storage.postgres import PostgresStorage
from stepwell.testing._scene import Scene, change
from tests.support.postgres.outsider import Outsider, outsider
from tests.support.wire import Fault, Proxy, proxied

pytestmark = [pytest.mark.anyio, pytest.mark.real_time]


@pytest.fixture
async def wire(postgres_dsn: str) -> AsyncIterator[Proxy]:
    parts = urlsplit(postgres_dsn)
    assert parts.hostname is not None
    assert parts.port is not None
    async with proxied((parts.hostname, parts.port)) as proxy:
        yield proxy


def through(wire: Proxy, dsn: str) -> str:
    parts = urlsplit(dsn)
    return dsn.replace(f"@{parts.hostname}:{parts.port}/", f"@{wire.host}:{wire.port}/")


@asynccontextmanager
async def storages(wire: Proxy, dsn: str) -> AsyncGenerator[tuple[PostgresStorage, PostgresStorage]]:
    """Open one through the proxy, and one that goes straight to the server."""
    async with PostgresStorage(through(wire, dsn), notify=False) as harmed, PostgresStorage(dsn) as sound:
        yield harmed, sound


@pytest.mark.parametrize(("fault", "rows"), [(Fault.CUT_BEFORE, 0), (Fault.CUT_AFTER, 1), (Fault.CLOSE_HALF, 1)])
async def test_a_statement_that_commits_is_cut_off(wire: Proxy, postgres_dsn: str, fault: Fault, rows: int) -> None:
    async with storages(wire, postgres_dsn) as (harmed, sound):
        scene = Scene(harmed)
        row = scene.row("x")
        await harmed.find(Query())
        wire.strike(fault)
        with pytest.raises(StorageError):
            await harmed.commit([(change(row),)])
        assert (await sound.load(row.id) is not None) is bool(rows)
        assert wire.struck == {fault: 1}
        assert await harmed.commit([(change(scene.row("y")),)]) == [True], "the next one goes through"


@pytest.mark.parametrize(("fault", "rows"), [(Fault.CUT_BEFORE, 0), (Fault.CUT_AFTER, 1)])
async def test_a_commit_of_a_transaction_is_cut_off(wire: Proxy, postgres_dsn: str, fault: Fault, rows: int) -> None:
    async with outsider(postgres_dsn) as sound:
        await sound.execute("CREATE TABLE cut (n integer)")
        async with outsider(through(wire, postgres_dsn)) as harmed:
            wire.strike(fault)
            await harmed.execute("BEGIN", "INSERT INTO cut VALUES (1)")
            assert not wire.struck, "nothing but the commit"
            with pytest.raises((OSError, Exception), match="connection"):
                await harmed.execute("COMMIT")
        await settled(sound)
        assert await sound.value("SELECT count(*) FROM cut") == rows


async def settled(sound: Outsider) -> None:
    """Return when the server has noticed that the other one is gone."""
    await sound.until(
        "SELECT count(*) = 0 FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"
        " AND datname = current_database()"
    )


async def test_an_answer_that_never_comes_leaves_the_connection_open(wire: Proxy, postgres_dsn: str) -> None:
    async with outsider(postgres_dsn) as sound, outsider(through(wire, postgres_dsn)) as harmed:
        await sound.execute("CREATE TABLE hung (n integer)")
        wire.strike(Fault.HANG_AFTER)
        async with anyio.create_task_group() as tasks:

            async def commit() -> None:
                with pytest.raises(Exception, match="connection"):
                    await harmed.execute("BEGIN", "INSERT INTO hung VALUES (1)", "COMMIT")

            tasks.start_soon(commit)
            await sound.until("SELECT count(*) = 1 FROM hung")
            assert wire.struck == {Fault.HANG_AFTER: 1}
            assert wire.cut() == 1


async def test_what_is_said_in_silence_comes_late(wire: Proxy, postgres_dsn: str) -> None:
    async with outsider(through(wire, postgres_dsn)) as harmed, anyio.create_task_group() as tasks:
        began = anyio.current_time()
        tasks.start_soon(wire.be_silent, 0.3)
        await anyio.wait_all_tasks_blocked()
        assert await harmed.value("SELECT 1") == 1
        assert anyio.current_time() - began >= 0.3
