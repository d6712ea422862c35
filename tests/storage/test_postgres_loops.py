"""Calls on their way to the driver's loop, cancelled and cut off at every stage; and storages opened again."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Awaitable, Callable

import anyio
import pytest
from anyio import CancelScope, to_thread
from anyio.lowlevel import checkpoint

from stepwell.storage import Query, StorageError
from stepwell.storage import _loops as loops_module
from stepwell.storage._loops import Loop, loop_for_host
from stepwell.storage.postgres import PostgresStorage
from stepwell.testing._scene import Scene, change
from tests.support.postgres.outsider import outsider

pytestmark = [pytest.mark.anyio, pytest.mark.real_time]

CLOSED = "the storage was closed"


@pytest.fixture
async def loop() -> AsyncIterator[Loop]:
    loop = await loop_for_host()
    yield loop
    await loop.close()


async def for_ever() -> None:
    await anyio.sleep_forever()


@pytest.mark.parametrize("backend", ["trio"])
async def test_a_call_that_is_cancelled_before_it_began_has_no_effect(loop: Loop) -> None:
    is_free, began = threading.Event(), threading.Event()

    async def block() -> None:
        is_free.wait(30)

    async def begin() -> None:
        await checkpoint()
        began.set()

    async def cancel_and_free() -> None:
        callers.cancel_scope.cancel()
        for _ in range(5):  # the cancellation is on its way
            await checkpoint()
        is_free.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(loop.run, block)
        await anyio.wait_all_tasks_blocked()
        async with anyio.create_task_group() as callers:
            callers.start_soon(loop.run, begin)
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(cancel_and_free)
    assert not began.is_set()


async def test_a_result_that_came_in_spite_of_a_cancellation_is_not_lost(loop: Loop) -> None:
    goes_on, results = anyio.Event(), list[str]()

    async def insist() -> str:
        with CancelScope(shield=True):
            await anyio.sleep(0.05)
        return "done"

    async def call() -> None:
        goes_on.set()
        results.append(await loop.run(insist))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await goes_on.wait()
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert results == ["done"]


@pytest.mark.parametrize("backend", ["trio"])
async def test_a_call_in_flight_is_told_when_the_thread_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops_module, "_END_LIMIT", 0.1)

    async def insist() -> None:
        with CancelScope(shield=True):
            await for_ever()

    async def call(function: Callable[[], Awaitable[None]]) -> None:
        with pytest.raises(StorageError, match=CLOSED):
            await loop.run(function)
        told.append(function)

    told: list[object] = []
    loop = await loop_for_host()
    async with anyio.create_task_group() as tasks:
        for function in (for_ever, insist, for_ever):
            tasks.start_soon(call, function)
        await anyio.wait_all_tasks_blocked()
        await loop.close()
    assert len(told) == 3
    with pytest.raises(StorageError, match=CLOSED):
        await loop.run(for_ever)


@pytest.mark.parametrize("backend", ["trio"])
async def test_a_thread_may_end_before_the_cancellation_of_a_call_reaches_it() -> None:
    loop = await loop_for_host()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(loop.run, for_ever)
        await anyio.wait_all_tasks_blocked()
        await to_thread.run_sync(lambda: None)
        tasks.cancel_scope.cancel()
        await loop.close()


async def test_waiters_for_an_exhausted_pool_may_leave(postgres_dsn: str) -> None:
    async with (
        outsider(postgres_dsn) as dba,
        PostgresStorage(postgres_dsn, connections=2, notify=False) as storage,
    ):
        scene = Scene(storage)
        await dba.execute("BEGIN", "LOCK TABLE stepwell.executions")
        async with anyio.create_task_group() as busy:
            busy.start_soon(storage.load, "nobody")
            busy.start_soon(storage.load, "nobody")
            await dba.until("SELECT count(*) = 2 FROM pg_locks WHERE NOT granted")
            for checkpoints in range(6):
                async with anyio.create_task_group() as waiting:
                    for number in range(20):
                        waiting.start_soon(storage.load, str(number))
                    for _ in range(checkpoints):
                        await checkpoint()
                    waiting.cancel_scope.cancel()
            await dba.execute("COMMIT")
        with anyio.fail_after(20):
            await scene.create_many(scene.row(str(number)) for number in range(5))
            assert len(await scene.claimed()) == 5


async def test_a_commit_is_never_half_cancelled(postgres_dsn: str) -> None:
    async with PostgresStorage(postgres_dsn, notify=False) as storage:
        for checkpoints in range(25):
            scene = Scene(storage)
            results: list[bool | None] = []

            async def commit(scene: Scene = scene, results: list[bool | None] = results) -> None:
                results += await storage.commit([(change(scene.row()),)])

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(commit)
                for _ in range(checkpoints):
                    await checkpoint()
                tasks.cancel_scope.cancel()
            stored = await storage.load(scene.id("one"))
            assert stored is not None or not results
            assert stored is None or len(stored.journal) == 1


async def test_calls_in_flight_are_told_that_the_storage_was_closed(postgres_dsn: str) -> None:
    ended: list[str] = []

    async def ask() -> None:
        try:
            while True:
                await storage.find(Query())
        except StorageError:
            ended.append("told")

    async with outsider(postgres_dsn) as dba, anyio.create_task_group() as tasks:
        async with PostgresStorage(postgres_dsn, connections=3, notify=False) as storage:
            for _ in range(10):
                tasks.start_soon(ask)
            await dba.until("SELECT count(*) > 3 FROM pg_stat_activity WHERE application_name = 'stepwell'")
        await dba.until_alone()
    assert ended == ["told"] * 10


async def test_a_storage_can_be_opened_again_after_its_exit(postgres_dsn: str) -> None:
    storage = PostgresStorage(postgres_dsn)
    for name in "abc":
        async with storage:
            scene = Scene(storage, name)
            await scene.create(scene.row())
            with pytest.raises(StorageError, match="open already"):
                await storage.__aenter__()


def test_a_storage_can_be_opened_in_one_loop_after_the_other(postgres_dsn: str) -> None:
    storage = PostgresStorage(postgres_dsn)

    async def use() -> int:
        async with storage:
            await Scene(storage).create()
            return len((await storage.find(Query())).rows)

    assert [anyio.run(use, backend=backend) for backend in ("asyncio", "trio", "asyncio")] == [1, 2, 3]
