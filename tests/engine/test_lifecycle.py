"""Entering and leaving engines and workers: whose exception leaves, what is drained, and what is left behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import anyio
import pytest

from stepwell import Engine, Status, StorageError, Worker, WorkerCrashed
from stepwell.storage._protocol import Storage
from tests.engine.small import Ctx, Through, healthy, single
from tests.support.storages import StorageFactory
from tests.support.waiting import Gate, Recorder

pytestmark = pytest.mark.anyio


class Own(BaseException):
    """Not even an Exception."""


def _chained() -> ValueError:
    error = ValueError("mine")
    error.__cause__ = KeyError("the cause")
    error.__context__ = OSError("the context")
    return error


ERRORS: list[Callable[[], BaseException]] = [
    _chained,
    lambda: ExceptionGroup("mine", [ValueError("one"), ExceptionGroup("inner", [OSError("two")])]),
    lambda: BaseExceptionGroup("mine", [Own("one")]),
    lambda: Own("mine"),
    lambda: SystemExit(3),
    lambda: KeyboardInterrupt("mine"),
    lambda: StopIteration("mine"),
    lambda: StopAsyncIteration("mine"),
    lambda: TimeoutError("mine"),
]


def _storage_of(storage: Storage, **instead: Callable[..., Any]) -> Storage:
    return cast("Storage", Through(storage, **instead))


async def _bug(*_arguments: Any, **_options: Any) -> Any:
    raise RuntimeError("a bug in the storage")


# -- whose exception leaves --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", ERRORS, ids=lambda make: type(make()).__name__)
@pytest.mark.parametrize("storage_kind", ["memory"])
async def test_the_blocks_own_exception_leaves_bare(storage: Storage, make: Callable[[], BaseException]) -> None:
    error = make()
    cause, context = error.__cause__, error.__context__
    caught: BaseException | None = None
    try:
        async with Engine(storage, workflows=[healthy]) as engine, engine.worker():
            await (await engine.start(healthy, 1)).result(60)
            raise error
    except BaseException as left:
        caught = left
    if isinstance(error, StopIteration):  # no context manager made of a generator can let it pass
        assert caught is error or (isinstance(caught, RuntimeError) and caught.__cause__ is error)
        return
    assert caught is error
    assert error.__cause__ is cause
    assert error.__context__ is context


async def test_a_dead_worker_cancels_the_block_and_surfaces_as_one_error(storage: Storage) -> None:
    broken = _storage_of(storage, claim=_bug)
    reached: list[str] = []
    with pytest.raises(WorkerCrashed, match="RuntimeError: a bug in the storage") as caught:  # noqa: PT012 -- how the block is left
        async with Engine(broken, workflows=[healthy]) as engine, engine.worker():
            try:
                await anyio.sleep_forever()
            finally:
                reached.append("cancelled")
    assert reached == ["cancelled"]
    assert isinstance(caught.value.__cause__, RuntimeError), "the one error, out of the groups that it came in"


async def test_where_both_fail_the_blocks_exception_leaves_with_the_crash_as_its_context(storage: Storage) -> None:
    broken = _storage_of(storage, claim=_bug)
    error = _chained()
    context = error.__context__
    assert context is not None
    with pytest.raises(ValueError, match="mine") as caught:  # noqa: PT012 -- how the block is left
        async with Engine(broken, workflows=[healthy]) as engine, engine.worker():
            try:
                await anyio.sleep_forever()
            finally:
                raise error
    assert caught.value is error
    chain: list[BaseException | None] = [error]
    while chain[-1] is not None:
        chain.append(chain[-1].__context__)
    assert any(isinstance(link, WorkerCrashed) for link in chain)


async def test_a_task_group_of_the_caller_that_a_crash_cancels_hides_nothing(storage: Storage) -> None:
    broken = _storage_of(storage, claim=_bug)
    with pytest.raises(WorkerCrashed):  # noqa: PT012 -- how the block is left
        async with Engine(broken, workflows=[healthy]) as engine, engine.worker(), anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.sleep_forever)
            tasks.start_soon(anyio.sleep_forever)


async def test_a_group_around_the_workers_block_gets_the_callers_error_alone(storage: Storage) -> None:
    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012 -- how the block is left
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.sleep_forever)
            async with Engine(storage, workflows=[healthy]) as engine, engine.worker():
                raise ValueError("mine")
    assert [type(error) for error in caught.value.exceptions] == [ValueError]


# -- a storage that is away --------------------------------------------------------------------------------------------


async def test_a_storage_that_is_away_is_told_and_work_goes_on_when_it_is_back(storage: Storage) -> None:
    failures = 3

    async def claim(*arguments: Any, **options: Any) -> Any:
        nonlocal failures
        if failures:
            failures -= 1
            raise StorageError("the storage is away")
        return await storage.claim(*arguments, **options)

    told: Recorder[str] = Recorder()
    engine = Engine(_storage_of(storage, claim=claim), workflows=[healthy])
    engine.on("worker.error", lambda event: told.record(event.message))
    async with engine, engine.worker():
        assert await (await engine.start(healthy, 1)).result(60) == 1
        await told.until_count(3)
    assert all("the storage is away" in message for message in told.entries)


@pytest.mark.promise("P12", "I2")
async def test_a_storage_that_is_away_while_committing_repeats_no_handler(storage: Storage) -> None:
    failures = 2
    calls: list[int] = []

    async def commit(units: Any, /) -> Any:
        nonlocal failures
        if calls and failures:
            failures -= 1
            raise StorageError("the storage is away")
        return await storage.commit(units)

    async def work(ctx: Ctx) -> None:
        calls.append(ctx.attempt)

    flow = single(work)
    async with Engine(_storage_of(storage, commit=commit), workflows=[flow]) as engine, engine.worker():
        assert await (await engine.start(flow, 1)).result(60) == 1
    assert calls == [1]


# -- leaving -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["normally", "error"])
async def test_a_block_that_is_left_lets_running_steps_end(storage: Storage, by: str) -> None:
    gate = Gate()

    async def work(ctx: Ctx) -> None:
        await gate.enter()
        await anyio.sleep(20)

    engine = Engine(storage, workflows=[flow := single(work)])
    began = 0.0
    with pytest.raises(ValueError, match="mine"):  # noqa: PT012 -- how the block is left
        async with engine:
            with pytest.raises(ValueError, match="mine"):  # noqa: PT012 -- how the block is left
                async with engine.worker(grace=30):
                    await engine.start(flow, 1, id="e")
                    await gate.reached()
                    gate.open()
                    began = anyio.current_time()
                    if by == "error":
                        raise ValueError("mine")
                raise ValueError("mine")
            assert 20 <= anyio.current_time() - began < 25
            state = await engine.get("e")
            assert state.steps["work"].status is Status.SUCCEEDED
            raise ValueError("mine")


@pytest.mark.promise("P12", "I22")
async def test_steps_that_outlast_the_grace_are_cancelled_and_handed_back_uncounted(storage: Storage) -> None:
    gate = Gate()

    async def work(ctx: Ctx) -> None:
        await gate.enter()

    async with Engine(storage, workflows=[flow := single(work, timeout=None)]) as engine:
        async with engine.worker(grace=7):
            execution = await engine.start(flow, 1)
            await gate.reached()
            began = anyio.current_time()
        assert 7 <= anyio.current_time() - began < 12
        state = await execution.get()
        assert state.worker is None
        assert state.status is not Status.RUNNING
        assert state.error is None
        gate.open()
        async with engine.worker():
            began = anyio.current_time()
            assert await execution.result(60) == 1
            assert anyio.current_time() - began < 1


@pytest.mark.parametrize("around", ["worker", "engine"])
async def test_a_block_that_is_cancelled_is_left_at_once_and_its_leases_are_handed_back(
    storage: Storage, around: str
) -> None:
    gate = Gate()

    async def work(ctx: Ctx) -> None:
        await gate.enter()

    engine = Engine(storage, workflows=[flow := single(work, timeout=None)])
    began = 0.0

    async def use(worker_scope: anyio.CancelScope) -> None:
        nonlocal began
        with worker_scope:
            async with engine.worker(grace=3000):
                await engine.start(flow, 1, id="e")
                await gate.reached()
                began = anyio.current_time()
                scope.cancel()
                await anyio.sleep_forever()

    scope = anyio.CancelScope()
    if around == "worker":
        async with engine:
            await use(scope)
    else:
        with scope:
            async with engine:
                await use(anyio.CancelScope())
    assert scope.cancelled_caught
    assert anyio.current_time() - began <= 5
    async with engine:
        state = await engine.get("e")
        assert (state.status, state.worker, state.error) == (Status.QUEUED, None, None)
        assert "execution.failed" not in {entry.kind for entry in await engine.journal("e")}
        gate.open()
        assert await engine.run_until_idle() == 1
        assert (await engine.get("e")).status is Status.SUCCEEDED


async def test_a_block_inside_a_time_limit_ends_with_it(storage: Storage) -> None:
    async with Engine(storage, workflows=[healthy]) as engine:
        with anyio.move_on_after(10) as limit:
            async with engine.worker():
                with anyio.move_on_after(3):
                    await anyio.sleep_forever()
                assert await (await engine.start(healthy, 1)).result(60) == 1
                await anyio.sleep_forever()
        assert limit.cancelled_caught
        assert anyio.current_time() < 15


# -- other ways to run -------------------------------------------------------------------------------------------------


async def test_a_worker_may_run_in_a_task_group_of_the_callers_until_it_is_stopped(storage: Storage) -> None:
    async with Engine(storage, workflows=[healthy]) as engine:
        async with anyio.create_task_group() as tasks:
            worker: Worker = await tasks.start(engine.run_worker)
            execution = await engine.start(healthy, 1)
            assert await execution.result(60) == 1
            worker.stop()
        with pytest.raises(TimeoutError, match="has not ended within 100 s"):
            await (await engine.start(healthy, 1)).result(100)


async def test_a_worker_in_a_task_group_ends_when_the_group_is_cancelled(storage: Storage) -> None:
    async with Engine(storage, workflows=[healthy]) as engine, anyio.create_task_group() as tasks:
        await tasks.start(engine.run_worker)
        tasks.cancel_scope.cancel()


async def test_two_workers_of_one_engine_share_the_work_and_double_nothing(storage: Storage) -> None:
    calls: list[str] = []

    async def work(ctx: Ctx) -> None:
        calls.append(ctx.execution_id)
        await anyio.sleep(1)

    flow = single(work)
    async with Engine(storage, workflows=[flow]) as engine:
        async with engine.worker(concurrency=3), engine.worker(concurrency=3):
            executions = [await engine.start(flow, n) for n in range(12)]
            for number, execution in enumerate(executions):
                assert await execution.result(60) == number
        workers = {entry.worker for execution in executions for entry in await execution.journal() if entry.worker}
    assert sorted(calls) == sorted(execution.id for execution in executions)
    assert len(workers) == 2


@pytest.mark.promise("P2")
async def test_two_engines_with_one_name_share_the_work_and_double_nothing(storage_factory: StorageFactory) -> None:
    calls: list[str] = []

    async def work(ctx: Ctx) -> None:
        calls.append(ctx.execution_id)
        await anyio.sleep(1)

    flow = single(work)
    async with (
        storage_factory() as one,
        storage_factory() as two,
        Engine(one, workflows=[flow], name="same") as first,
        Engine(two, workflows=[flow], name="same") as second,
        first.worker(concurrency=2),
        second.worker(concurrency=2),
    ):
        executions = [await first.start(flow, n) for n in range(8)]
        for number, execution in enumerate(executions):
            assert await execution.result(120) == number
    assert sorted(calls) == sorted(execution.id for execution in executions)
