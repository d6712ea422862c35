"""Opening and closing engines: what closes with them, and who is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
from anyio import to_thread
from anyio.abc import TaskStatus

from stepwell import Engine, EngineClosed, SQLiteStorage, Status
from stepwell.storage._protocol import Storage
from tests.engine.small import Ctx, Through, healthy, single
from tests.support.waiting import Gate, Recorder

pytestmark = pytest.mark.anyio


def _storage_of(storage: Storage, **instead: Callable[..., Any]) -> Storage:
    return cast("Storage", Through(storage, **instead))


async def test_a_closed_engine_says_how_it_is_to_be_used(storage: Storage) -> None:
    engine = Engine(storage, workflows=[healthy], name="mine")
    for _ in range(2):
        for call in (
            lambda: engine.start(healthy, 1),
            lambda: engine.get("e"),
            engine.find,
            lambda: engine.journal("e"),
            lambda: engine.signal("e", "step"),
            lambda: engine.cancel("e"),
            lambda: engine.pause("e"),
            lambda: engine.resume("e"),
            engine.run_due,
            engine.run_until_idle,
            engine.run_worker,
            lambda: engine.handle(healthy, "e").result(),
            lambda: engine.worker().__aenter__(),
        ):
            with pytest.raises(EngineClosed, match=r"'mine' is not open: use it inside `async with engine:`"):
                await call()
        async with engine:
            pass


async def test_an_engine_that_is_open_cannot_be_entered_again_and_stays_open(storage: Storage) -> None:
    async with Engine(storage, workflows=[healthy]) as engine:
        with pytest.raises(RuntimeError, match="already been entered"):
            async with engine:
                pass
        await engine.start(healthy, 1)
        assert await engine.run_until_idle() == 1


async def test_an_engine_can_be_opened_again(storage: Storage) -> None:
    engine = Engine(storage, workflows=[healthy])
    for round in range(3):
        async with engine, engine.worker():
            assert await (await engine.start(healthy, round)).result(60) == round


async def test_who_waits_for_a_result_when_the_engine_closes_is_told_so(storage: Storage) -> None:
    told: Recorder[str] = Recorder()

    async def ask(engine: Engine, *, task_status: TaskStatus[None]) -> None:
        execution = await engine.start(healthy, 1)
        task_status.started()
        try:
            await execution.result()
        except EngineClosed:
            told.record("told")

    async with anyio.create_task_group() as tasks:
        async with Engine(storage, workflows=[healthy]) as engine:
            await tasks.start(ask, engine)
            await anyio.wait_all_tasks_blocked()
        await told.until_count(1)


async def test_a_commit_in_flight_when_the_engine_closes_is_waited_for(storage: Storage) -> None:
    gate = Gate()

    async def commit(units: Any, /) -> Any:
        await gate.enter()
        return await storage.commit(units)

    async def ask(engine: Engine) -> None:
        await engine.start(healthy, 1, id="e")
        told.record("started")

    told: Recorder[str] = Recorder()
    async with anyio.create_task_group() as tasks:
        async with Engine(_storage_of(storage, commit=commit), workflows=[healthy]) as engine:
            tasks.start_soon(ask, engine)
            await gate.reached()
            tasks.start_soon(_open_after, gate, 2.0)
        assert told.entries == ["started"]
        assert await storage.load("e")


async def test_a_commit_that_never_ends_does_not_keep_the_engine_open(storage: Storage) -> None:
    gate = Gate()

    async def commit(units: Any, /) -> Any:
        await gate.enter()

    async def ask(engine: Engine) -> None:
        with pytest.raises(EngineClosed):
            await engine.start(healthy, 1)
        told.record("told")

    told: Recorder[str] = Recorder()
    async with anyio.create_task_group() as tasks:
        async with Engine(_storage_of(storage, commit=commit), workflows=[healthy]) as engine:
            tasks.start_soon(ask, engine)
            await gate.reached()
            began = anyio.current_time()
        assert anyio.current_time() - began <= 6
        await told.until_count(1)


async def test_a_worker_in_the_callers_task_ends_with_the_engine_and_hands_back(storage: Storage) -> None:
    gate = Gate()

    async def work(ctx: Ctx) -> None:
        await gate.enter()

    async with anyio.create_task_group() as tasks:
        async with Engine(storage, workflows=[flow := single(work, timeout=None)]) as engine:
            await tasks.start(engine.run_worker)
            await engine.start(flow, 1, id="e")
            await gate.reached()
            began = anyio.current_time()
        assert anyio.current_time() - began <= 5
    stored = await storage.load("e")
    assert stored is not None
    assert (stored.row.status, stored.row.worker) == (Status.QUEUED, None)


async def _open_after(gate: Gate, delay: float) -> None:
    await anyio.sleep(delay)
    gate.open()


async def test_no_task_is_left_behind(storage: Storage) -> None:
    before = {task.id for task in anyio.get_running_tasks()}
    async with Engine(storage, workflows=[healthy]) as engine, engine.worker(), engine.events():
        engine.on("step.started", lambda event: None)
        await (await engine.start(healthy, 1)).result(60)
        assert {task.id for task in anyio.get_running_tasks()} > before
    assert {task.id for task in anyio.get_running_tasks()} <= before


async def test_an_engine_without_a_storage_keeps_everything_in_memory() -> None:
    engine = Engine(workflows=[healthy])
    async with engine, engine.worker():
        assert await (await engine.start(healthy, 1, id="e")).result(60) == 1
    async with engine:
        assert (await engine.find()).executions == ()


async def test_a_storage_that_was_not_opened_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"async with|not open"):
        async with Engine(SQLiteStorage(tmp_path / "flows.db"), workflows=[healthy]):
            pass


async def test_who_asks_for_a_result_while_an_engine_closes_is_told(storage: Storage) -> None:
    told: list[Exception] = []

    async def listen(event: Any) -> None:
        await anyio.sleep(1)  # the engine waits for it before it is closed

    async def ask() -> None:
        await anyio.sleep(0.5)
        try:
            await handle.result()
        except EngineClosed as error:
            told.append(error)

    async with anyio.create_task_group() as tasks, Engine(storage, workflows=[healthy]) as engine:
        engine.on((), listen)
        handle = await engine.start(healthy, 1, delay=100)
        tasks.start_soon(ask)
    assert len(told) == 1


async def test_an_engine_says_so_where_it_is_used_in_another_event_loop(storage: Storage) -> None:
    def elsewhere(call: Callable[[], Any]) -> str:
        with pytest.raises(EngineClosed) as caught:
            anyio.run(call)
        return str(caught.value)

    async with Engine(storage, workflows=[healthy], name="mine") as engine:
        for call in (lambda: engine.start(healthy, 1), lambda: engine.get("e"), engine.run_due, engine.find):
            told = await to_thread.run_sync(elsewhere, call)
            assert "'mine' is open in another event loop or process" in told
        assert await (await engine.start(healthy, 1)).get() is not None
