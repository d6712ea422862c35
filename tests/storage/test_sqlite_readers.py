"""Who reads from SQLite: many at once, cancelled, and still at it when the storage is closed."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from stepwell.storage import Row, StorageError
from stepwell.storage.sqlite import SQLiteStorage
from stepwell.testing._scene import Scene

pytestmark = [pytest.mark.anyio, pytest.mark.real_time]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "flows.db"


@pytest.fixture
async def storage(path: Path) -> AsyncIterator[SQLiteStorage]:
    async with SQLiteStorage(path) as opened:
        yield opened


@pytest.fixture
def scene(storage: SQLiteStorage) -> Scene:
    return Scene(storage)


async def test_a_cancelled_read_leaves_a_reader_that_sees_what_came_after(scene: Scene) -> None:
    row = await scene.create()
    for number in range(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(scene.storage.load, row.id)
            await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        row = await scene.create(scene.row(str(number)))
        assert await scene.stored_row(row.id) == row
    gc.collect()  # a connection that was left open would say so


async def test_a_long_read_is_interrupted_when_it_is_cancelled(storage: SQLiteStorage) -> None:
    opened = storage._opened
    assert opened is not None
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    with anyio.fail_after(20):
        with anyio.move_on_after(0.05) as scope:
            await opened.readers.select(endless, ())
    assert scope.cancelled_caught
    assert await storage.load("none") is None


async def test_who_still_reads_when_the_storage_is_closed_hears_the_answer(path: Path) -> None:
    heard: list[Row] = []

    async def read(scene: Scene) -> None:
        heard.append(await scene.stored_row(scene.id("one")))

    async with anyio.create_task_group() as tasks, SQLiteStorage(path) as storage:
        scene = Scene(storage)
        await scene.create()
        for _ in range(4):
            tasks.start_soon(read, scene)
        await anyio.wait_all_tasks_blocked()
    assert len(heard) == 4
    assert [file.name for file in path.parent.iterdir()] == ["flows.db"]


async def test_who_waits_for_a_reader_when_the_storage_is_closed_is_refused(path: Path) -> None:
    refused: list[str] = []

    async def read(storage: SQLiteStorage) -> None:
        try:
            await storage.load("one")
        except StorageError as error:
            refused.append(str(error))

    async with anyio.create_task_group() as tasks, SQLiteStorage(path) as storage:
        for _ in range(10):
            tasks.start_soon(read, storage)
        await anyio.wait_all_tasks_blocked()
    assert len(refused) <= 6  # of ten, four were reading
    assert all("the storage was closed" in message for message in refused)


async def test_many_readers_at_once_each_hear_their_own_answer(scene: Scene) -> None:
    rows = [await scene.create(scene.row(str(number))) for number in range(50)]

    async def read(index: int) -> None:
        assert await scene.stored_row(rows[index].id) == rows[index]

    async with anyio.create_task_group() as tasks:
        for index in range(50):
            tasks.start_soon(read, index)
