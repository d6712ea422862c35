"""Hints: heard by every engine that waits, again after the listening connection was lost, and never in the way."""

from __future__ import annotations

from collections import Counter

import anyio
import asyncpg
import pytest
from anyio import CancelScope
from anyio.lowlevel import checkpoint

from stepwell.storage import StorageError
from stepwell.storage._postgres import _listener
from stepwell.storage.postgres import PostgresStorage
from stepwell.testing._scene import Scene
from tests.support.postgres.outsider import Outsider, outsider
from tests.support.waiting import Recorder

pytestmark = [pytest.mark.anyio, pytest.mark.real_time]

LISTENS = "query LIKE 'LISTEN%' OR query = 'SELECT 1'"
IS_THERE = "SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"


async def hear(storage: PostgresStorage, name: str, heard: Recorder[str]) -> None:
    while True:
        await storage.wakeup()
        heard.record(name)


async def everyone_hears(heard: Recorder[str], names: str, scene: Scene) -> None:
    """Commit somewhere else, until each has heard of each commit."""
    before = Counter(heard.entries)
    await scene.create(scene.row(f"{len(heard.entries)} {before}"))
    await heard.until(lambda entries: all(Counter(entries)[name] > before[name] for name in names), within=20)


async def test_every_engine_on_a_storage_hears_every_hint(postgres_dsn: str) -> None:
    heard: Recorder[str] = Recorder()
    async with (
        PostgresStorage(postgres_dsn) as storage,
        PostgresStorage(postgres_dsn) as elsewhere,
        anyio.create_task_group() as tasks,
    ):
        for name in "abc":
            tasks.start_soon(hear, storage, name, heard)
        await heard.until_count(1)  # it listens
        for _ in range(20):
            await everyone_hears(heard, "abc", Scene(elsewhere))
        tasks.cancel_scope.cancel()


async def test_the_last_commit_of_a_storage_that_is_closed_at_once_is_heard(postgres_dsn: str) -> None:
    heard: Recorder[str] = Recorder()
    async with PostgresStorage(postgres_dsn) as storage, anyio.create_task_group() as tasks:
        tasks.start_soon(hear, storage, "a", heard)
        await heard.until_count(1)  # it listens
        for number in range(5):
            async with PostgresStorage(postgres_dsn) as leaving:
                scene = Scene(leaving)
                await scene.create(scene.row(f"first {number}"))
                await heard.until_count(2 * number + 2, within=20)
                await scene.create(scene.row(f"last {number}"))
            await heard.until_count(2 * number + 3, within=20)
        tasks.cancel_scope.cancel()


class Unreachable:
    """A database to which a connection takes for ever."""

    async def unit(self, *_: object, **__: object) -> None:
        await anyio.sleep_forever()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # the driver's loop, wherever the engine runs
async def test_a_last_hint_that_finds_no_server_holds_up_no_close() -> None:
    listener = _listener.Listener(Unreachable(), "channel", "me")  # type: ignore[arg-type] # all that it asks of it
    listener.send()
    await checkpoint()
    with anyio.fail_after(5):
        await listener.close()


async def test_engines_on_a_storage_without_hints_from_elsewhere_hear_each_other(postgres_dsn: str) -> None:
    heard: Recorder[str] = Recorder()
    async with PostgresStorage(postgres_dsn, notify=False) as storage, anyio.create_task_group() as tasks:
        for name in "ab":
            tasks.start_soon(hear, storage, name, heard)
        await anyio.wait_all_tasks_blocked()
        for _ in range(20):
            await everyone_hears(heard, "ab", Scene(storage))
        tasks.cancel_scope.cancel()


async def test_many_who_wait_share_one_look_at_the_connection(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_listener, "_PING_EVERY", 0.02)
    looked_at: set[tuple[int, str]] = set()
    looks = "SELECT pid || ' ' || query_start FROM pg_stat_activity WHERE query = 'SELECT 1' AND state = 'idle'"
    heard: Recorder[str] = Recorder()
    async with (
        outsider(postgres_dsn) as dba,
        PostgresStorage(postgres_dsn) as storage,
        anyio.create_task_group() as tasks,
    ):
        pool = await dba.column("SELECT pid FROM pg_stat_activity WHERE datname = current_database()")
        for name in "abcde":
            tasks.start_soon(hear, storage, name, heard)
        await heard.until_count(1)
        with anyio.fail_after(30):
            while len(looked_at) < 10:
                found = [one.partition(" ") for one in await dba.column(looks)]
                looked_at.update((int(pid), at) for pid, _, at in found if int(pid) not in pool)
        tasks.cancel_scope.cancel()
    assert len({pid for pid, _ in looked_at}) == 1
    assert heard.entries.count("a") <= 2


async def test_a_listener_that_was_cut_off_is_back_and_hears(postgres_dsn: str) -> None:
    heard: Recorder[str] = Recorder()
    async with (
        outsider(postgres_dsn) as dba,
        PostgresStorage(postgres_dsn) as storage,
        PostgresStorage(postgres_dsn) as elsewhere,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(hear, storage, "a", heard)
        for _ in range(5):
            await dba.until(IS_THERE)
            await everyone_hears(heard, "a", Scene(elsewhere))
            count = len(heard.entries)
            assert await dba.cut("query LIKE 'LISTEN%'") == 1
            await heard.until_count(count + 1, within=20)  # hints may have been missed
        await dba.until(IS_THERE)
        await everyone_hears(heard, "a", Scene(elsewhere))
        tasks.cancel_scope.cancel()


async def close_while_one_waits(dsn: str, checkpoints: int) -> None:
    ended = anyio.Event()

    async def wait() -> None:
        try:
            while True:
                await storage.wakeup()
        except StorageError:
            ended.set()

    async with anyio.create_task_group() as tasks:
        async with PostgresStorage(dsn) as storage:
            tasks.start_soon(wait)
            for _ in range(checkpoints):
                await checkpoint()
        with anyio.fail_after(20):
            await ended.wait()


async def test_a_storage_may_be_closed_while_its_listener_connects(postgres_dsn: str) -> None:
    async with outsider(postgres_dsn) as dba:
        for checkpoints in (0, 1, 2, 3, 5, 8, 13, 21, 34):
            await close_while_one_waits(postgres_dsn, checkpoints)
        await dba.until_alone()


async def test_who_waits_may_leave_at_any_moment(postgres_dsn: str) -> None:
    async with outsider(postgres_dsn) as dba:
        async with PostgresStorage(postgres_dsn) as storage:
            for checkpoints in (0, 1, 2, 3, 5, 8, 13, 21, 34):
                await leave_after(storage, checkpoints, dba)
        await dba.until_alone()


async def leave_after(storage: PostgresStorage, checkpoints: int, dba: Outsider) -> None:
    with CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(storage.wakeup)
            for _ in range(checkpoints):
                await checkpoint()
            scope.cancel()
    await dba.cut(LISTENS)


async def test_a_connection_that_is_cut_before_it_listens_is_an_error_of_the_storage(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def add_listener(*_: object) -> None:
        raise asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress")

    monkeypatch.setattr(asyncpg.Connection, "add_listener", add_listener)
    async with outsider(postgres_dsn) as dba:
        async with PostgresStorage(postgres_dsn) as storage:
            with pytest.raises(StorageError, match="the server is ending its connections"):
                await storage.wakeup()
        await dba.until_alone()
