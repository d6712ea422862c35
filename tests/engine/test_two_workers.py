"""Several engines on one storage: nothing is run twice, and what one does the other notices."""

from __future__ import annotations

import time
from collections import Counter
from functools import partial
from pathlib import Path

import anyio
import pytest

from stepwell import Engine, MemoryStorage, SQLiteStorage, Status
from stepwell.storage import Storage
from stepwell.testing import check_invariants
from tests.engine.faulty import Faulty, How
from tests.engine.flows import HOUR_POLL, Ctx, gated, kinds, line, nest
from tests.support.storages import StorageFactory
from tests.support.virtual_time import VirtualTime, _OnAsyncio, _OnTrio
from tests.support.waiting import Recorder

pytestmark = pytest.mark.anyio


@pytest.mark.promise("P1", "P2", "I2")
async def test_two_workers_of_one_name_share_the_work_and_run_nothing_twice(
    store: Storage, storage_factory: StorageFactory
) -> None:
    ran: Counter[str] = Counter()

    async def work(ctx: Ctx) -> int:
        ran[ctx.idempotency_key] += 1
        await anyio.sleep(1)
        return ctx.input

    async def after(ctx: Ctx) -> int:
        ran[ctx.idempotency_key] += 1
        return int(ctx.output("work"))

    flow = line(work, after)
    async with (
        storage_factory() as second,
        Engine(store, workflows=[flow], name="same") as engine,
        Engine(second, workflows=[flow], name="same") as other,
    ):
        handles = [await engine.start(flow, number) for number in range(60)]
        async with engine.worker(concurrency=10), other.worker(concurrency=10):
            for number, handle in enumerate(handles):
                assert await handle.result(100) == number
        workers = {entry.worker for handle in handles for entry in await store.journal(handle.id) if entry.worker}
    assert len(workers) == 2
    assert len(ran) == 120
    assert set(ran.values()) == {1}


async def test_two_workers_of_one_engine_share_its_work(store: Storage) -> None:
    ran: Counter[str] = Counter()

    async def work(ctx: Ctx) -> int:
        ran[ctx.idempotency_key] += 1
        await anyio.sleep(1)
        return ctx.input

    flow = nest(line(work))
    async with (
        Engine(store, workflows=[flow]) as engine,
        engine.worker(concurrency=5, poll_interval=HOUR_POLL),
        engine.worker(concurrency=5, poll_interval=HOUR_POLL),
    ):
        handles = [await engine.start(flow, number) for number in range(20)]
        for handle in handles:
            await handle.result(100)
    assert set(ran.values()) == {1}
    assert len(ran) == 20


@pytest.mark.promise("P2", "I3")
async def test_of_two_holders_of_one_lease_only_the_later_commits_whatever_their_names(
    faulty: Faulty, store: Storage
) -> None:
    begun: Recorder[int] = Recorder()

    async def work(ctx: Ctx) -> str:
        begun.record(ctx.attempt)
        with anyio.CancelScope(shield=True):  # goes on though its lease is lost
            await anyio.sleep(100 if ctx.attempt == 1 else 60)
        return f"attempt {ctx.attempt}"

    flow = line(work, timeout=None)
    async with (
        Engine(faulty, workflows=[flow], name="same", lease=60) as engine,
        Engine(store, workflows=[flow], name="same", lease=60) as other,
        engine.worker(),
    ):
        handle = await engine.start(flow, 0)
        await begun.until_recorded(1)
        fault = faulty.spoil("renew", "claim", how=How.FAILS_BEFORE, times=None)
        await anyio.sleep(1)
        async with other.worker():
            assert await other.handle(flow, handle.id).result(200) == "attempt 2"
        fault.mend()
    journal = await kinds(store, handle.id)
    assert [kind for kind in journal if kind.startswith("succeeded")] == ["succeeded 2", "succeeded 1"]


@pytest.mark.parametrize("is_cancelled", [True, False])
async def test_a_worker_whose_storage_hangs_can_be_left_in_seconds(faulty: Faulty, *, is_cancelled: bool) -> None:
    begun: Recorder[str] = Recorder()

    async def work(ctx: Ctx) -> str:
        begun.record("begun")
        await anyio.sleep_forever()
        return ""

    flow = line(work, timeout=None)
    async with Engine(faulty, workflows=[flow]) as engine:
        await engine.start(flow, 0)
        fault, began = None, 0.0
        with anyio.CancelScope() as scope:
            async with engine.worker(grace=0, poll_interval=HOUR_POLL):
                await begun.until_recorded("begun")
                await anyio.wait_all_tasks_blocked()
                fault = faulty.cut()
                began = anyio.current_time()
                if is_cancelled:
                    scope.cancel()
        assert anyio.current_time() - began <= 5.1
        assert fault is not None
        fault.mend()


def block(time: VirtualTime, seconds: float) -> None:
    """Let time pass without the loop turning, as a handler does that computes or is stopped."""
    mechanism = time._mechanism
    if isinstance(mechanism, _OnTrio):
        mechanism._clock.jump(seconds)
    elif isinstance(mechanism, _OnAsyncio):
        mechanism._time.now += seconds


@pytest.mark.promise("P2", "P3", "I2", "I10")
async def test_a_worker_whose_loop_stood_still_past_its_lease_commits_nothing_and_begins_nothing(
    faulty: Faulty, virtual_time: VirtualTime
) -> None:
    begun: list[str] = []
    faulty.spoil("renew", how=How.FAILS_BEFORE, times=None)  # a renewal after the stand-still would save the lease

    async def work(ctx: Ctx) -> int:
        begun.append(f"work {ctx.attempt}")
        if len(begun) == 1:
            block(virtual_time, 100)
        return ctx.attempt

    async def after(ctx: Ctx) -> int:
        begun.append(f"after {ctx.attempt}")
        return int(ctx.output("work"))

    flow = line(work, after, timeout=None)
    async with Engine(faulty, workflows=[flow], lease=60) as engine, engine.worker():
        handle = await engine.start(flow, 0)
        attempt = await handle.result(300)
    assert attempt > 1  # a claim that was on its way meanwhile is lost as well
    assert begun == ["work 1", f"work {attempt}", "after 1"]


@pytest.mark.promise("P3", "I10")
async def test_a_handler_does_not_begin_where_its_neighbour_kept_the_loop_past_the_lease(
    faulty: Faulty, virtual_time: VirtualTime
) -> None:
    """One claim brings both; only the look at the lease comes between the block of one and the start of the other."""
    begun: list[int] = []
    faulty.spoil("renew", how=How.FAILS_BEFORE, times=None)

    async def work(ctx: Ctx) -> int:
        begun.append(ctx.attempt)
        if len(begun) == 1:
            block(virtual_time, 100)
        return ctx.attempt

    flow = line(work, timeout=None)
    async with Engine(faulty, workflows=[flow], lease=60) as engine:
        handles = [await engine.start(flow, number) for number in range(2)]
        async with engine.worker(concurrency=2):
            assert sorted([await handle.result(300) for handle in handles]) == sorted(begun[1:])
    assert faulty.claimed[0] == 2
    assert begun[0] == 1
    assert len(begun) == 3
    assert min(begun[1:]) > 1


@pytest.mark.promise("P10", "I26")
async def test_many_starts_of_one_id_from_two_engines_are_one_execution(
    store: Storage, storage_factory: StorageFactory
) -> None:
    ran: list[str] = []

    async def work(ctx: Ctx) -> int:
        ran.append(ctx.execution_id)
        return ctx.input

    flow = line(work)
    async with (
        storage_factory() as second,
        Engine(store, workflows=[flow]) as engine,
        Engine(second, workflows=[flow]) as other,
        engine.worker(),
        other.worker(),
    ):
        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(partial((engine, other)[number % 2].start, flow, 7, id="same"))
        assert await engine.handle(flow, "same").result(60) == 7
    assert ran == ["same"]


async def test_a_start_by_another_engine_is_noticed_at_once_in_memory(virtual_time: VirtualTime) -> None:
    async def work(ctx: Ctx) -> int:
        return ctx.input

    flow = line(work)
    async with (
        MemoryStorage(clock=virtual_time.clock()) as storage,
        Engine(storage, workflows=[flow]) as engine,
        Engine(storage, workflows=[flow]) as other,
        other.worker(poll_interval=HOUR_POLL),
    ):
        await anyio.sleep(100)
        assert await (await engine.start(flow, 3)).result(10) == 3
        assert virtual_time.now() < 101
        await check_invariants(storage)


@pytest.mark.real_time
async def test_a_start_through_another_connection_to_the_file_is_noticed_without_a_poll(tmp_path: Path) -> None:
    async def work(ctx: Ctx) -> int:
        return ctx.input

    flow = line(work)
    path = tmp_path / "shared.db"
    async with (
        SQLiteStorage(path) as mine,
        SQLiteStorage(path) as others,
        Engine(mine, workflows=[flow]) as engine,
        Engine(others, workflows=[flow]) as other,
        other.worker(poll_interval=HOUR_POLL),
    ):
        began = time.monotonic()
        for number in range(3):
            assert await (await engine.start(flow, number)).result(20) == number
        assert time.monotonic() - began < 10
        await check_invariants(mine)


@pytest.mark.real_time
async def test_a_cancel_through_another_connection_stops_the_handler_without_a_poll(tmp_path: Path) -> None:
    seen: Recorder[str] = Recorder()

    async def work(ctx: Ctx) -> int:
        seen.record("begun")
        try:
            await anyio.sleep_forever()
        finally:
            seen.record("stopped")
        return 1

    flow = line(work, timeout=None)
    path = tmp_path / "shared.db"
    async with (
        SQLiteStorage(path) as mine,
        SQLiteStorage(path) as others,
        Engine(mine, workflows=[flow]) as engine,
        Engine(others, workflows=[flow]) as other,
        other.worker(poll_interval=HOUR_POLL, concurrency=1),
    ):
        handle = await engine.start(flow, 1)
        await seen.until_recorded("begun", within=10)
        assert await handle.cancel() is Status.CANCELLED
        await seen.until_recorded("stopped", within=10)
        await check_invariants(mine)


async def test_a_signal_by_another_engine_moves_an_execution_on(
    store: Storage, storage_factory: StorageFactory
) -> None:
    flow = gated()
    async with (
        storage_factory() as second,
        Engine(store, workflows=[flow]) as engine,
        Engine(second, workflows=[flow]) as other,
        engine.worker(poll_interval=1),
    ):
        handle = await engine.start(flow, 0)
        await anyio.sleep(3)
        await other.signal(handle.id, "gate", "hello")
        assert await handle.result(5) == "hello"
