"""User code with bad manners about cancellation, and handlers that call the engine: nothing is lost."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, Literal

import anyio
import pytest

from stepwell import Context, Engine, ExecutionCancelled, ExecutionFailed, Status, Workflow, activity, wait
from stepwell.storage._protocol import Storage
from tests.engine.small import Ctx, deciding, done, failure_of_run, healthy, single
from tests.support.virtual_time import Backend
from tests.support.waiting import Gate

pytestmark = pytest.mark.anyio


# -- cancellation ------------------------------------------------------------------------------------------------------


async def test_a_cancellation_that_user_code_raises_itself_is_a_failure(storage: Storage) -> None:
    async def work(ctx: Ctx) -> None:
        leaked: list[BaseException] = []
        with anyio.CancelScope() as scope:
            scope.cancel()
            try:
                await anyio.sleep(1)
            except anyio.get_cancelled_exc_class() as error:
                leaked.append(error)
                raise
        raise leaked[0]

    failure = await failure_of_run(storage, single(work))
    assert failure.code == "cancellation"
    assert "'work'" in failure.message


@pytest.mark.parametrize("backend", ["asyncio"])
@pytest.mark.parametrize("how", ["raise", "cancel and wait", "plain"])
async def test_a_task_that_cancels_itself_natively_fails_its_step(storage: Storage, backend: Backend, how: str) -> None:
    async def work(ctx: Ctx) -> int:
        if how == "raise":
            raise asyncio.CancelledError
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(1)
        return 1

    def plainly(ctx: Ctx) -> Literal["go", "stop"]:
        raise asyncio.CancelledError

    flow = deciding(plainly) if how == "plain" else single(work)
    failure = await failure_of_run(storage, flow)
    assert failure.code == "cancellation"


@pytest.mark.parametrize("backend", ["asyncio"])
@pytest.mark.parametrize("first", ["returns", "waits"])
async def test_after_a_native_cancellation_timeouts_and_the_next_steps_work(
    storage: Storage, backend: Backend, first: str
) -> None:
    async def work(ctx: Ctx) -> int:
        if ctx.attempt == 1:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            if first == "waits":
                await asyncio.sleep(1)
        elif ctx.attempt == 2:
            await anyio.sleep(1000)
        return 1

    async with Engine(storage, workflows=[flow := single(work, retry=3, timeout=5)]) as engine, engine.worker():
        execution = await engine.start(flow, 5)
        assert await execution.result(60) == 5


async def test_a_handler_that_cancels_its_own_scope_goes_on(storage: Storage) -> None:
    async def work(ctx: Ctx) -> int:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await anyio.sleep(1)
        with anyio.move_on_after(0.5):
            await anyio.sleep_forever()
        return 1

    async with Engine(storage, workflows=[flow := single(work)]) as engine, engine.worker():
        assert await (await engine.start(flow, 5)).result(60) == 5


async def test_a_handler_that_swallows_its_timeout_has_timed_out_all_the_same(storage: Storage) -> None:
    async def work(ctx: Ctx) -> int:
        with suppress(BaseException):
            await anyio.sleep(100)
        return 1

    failure = await failure_of_run(storage, single(work, timeout=2))
    assert failure.code == "timeout"


async def test_a_handler_that_answers_its_cancellation_with_an_error_is_cancelled_all_the_same(
    storage: Storage,
) -> None:
    gate = Gate()

    async def work(ctx: Ctx) -> int:
        try:
            await gate.enter()
        except BaseException as error:
            raise ValueError("cleaning up went wrong") from error
        return 1

    async with Engine(storage, workflows=[flow := single(work)]) as engine, engine.worker():
        execution = await engine.start(flow, 5)
        await gate.reached()
        assert await execution.cancel("enough") is Status.CANCELLED
        with pytest.raises(ExecutionCancelled, match="enough"):
            await execution.result(60)
        assert await (await engine.start(flow, 6)).cancel() is Status.CANCELLED


async def test_a_background_task_in_a_group_of_the_handlers_ends_with_its_timeout(storage: Storage) -> None:
    ended: list[str] = []

    async def linger() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("background")

    async def work(ctx: Ctx) -> int:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(linger)
        return 1

    failure = await failure_of_run(storage, single(work, timeout=2))
    assert (failure.code, ended) == ("timeout", ["background"])


async def test_an_error_in_a_task_group_of_the_handlers_is_told_whole(storage: Storage) -> None:
    async def broken() -> None:
        raise ValueError("in the background")

    async def work(ctx: Ctx) -> int:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(broken)
            await anyio.sleep_forever()
        return 1

    failure = await failure_of_run(storage, single(work))
    assert failure.type == "ExceptionGroup"
    assert [cause.message for cause in failure.causes] == ["in the background"]


@pytest.mark.parametrize("backend", ["asyncio"])
@pytest.mark.parametrize("storage_kind", ["memory"])
async def test_a_native_task_that_a_handler_leaves_behind_changes_nothing(storage: Storage, backend: Backend) -> None:
    left: list[asyncio.Task[None]] = []

    async def linger() -> None:
        await asyncio.sleep(5)
        raise ValueError("nobody waits for it")

    async def work(ctx: Ctx) -> int:
        left.append(asyncio.create_task(linger()))
        return 1

    async with Engine(storage, workflows=[flow := single(work)]) as engine, engine.worker():
        assert await (await engine.start(flow, 5)).result(60) == 5
    left[0].cancel()


@pytest.mark.parametrize("then", ["returns", "cancels it", "is cancelled by it"])
async def test_a_cancel_scope_that_a_handler_leaves_open_does_no_harm_to_others(storage: Storage, then: str) -> None:
    async def work(ctx: Ctx) -> int:
        scope = anyio.CancelScope()
        scope.__enter__()
        if then != "returns":
            scope.cancel()
        if then == "is cancelled by it":
            await anyio.sleep(1)
        return 1

    async with Engine(storage, workflows=[flow := single(work), healthy]) as engine, engine.worker():
        execution = await engine.start(flow, 5)
        with suppress(ExecutionFailed):
            await execution.result(60)
        after = await execution.get()
        assert (after.status.is_terminal, after.steps["work"].attempts) == (True, 1)
        assert await (await engine.start(healthy, 7)).result(60) == 7


async def test_context_variables_of_one_attempt_are_not_seen_by_the_next(storage: Storage) -> None:
    variable: ContextVar[str] = ContextVar("variable", default="clean")

    async def work(ctx: Ctx) -> None:
        assert variable.get() == "clean"
        variable.set("dirty")
        if ctx.attempt < 3:
            raise ValueError("once more")

    async with Engine(storage, workflows=[flow := single(work, retry=3)]) as engine, engine.worker():
        assert await (await engine.start(flow, 5)).result(60) == 5


# -- handlers that call the engine ------------------------------------------------------------------------------------


async def test_a_handler_may_start_another_execution_and_wait_for_it(storage: Storage) -> None:
    engine = Engine(storage, workflows=[healthy])

    async def work(ctx: Ctx) -> int:
        return await (await engine.start(healthy, 41, id="from-inside")).result(60)

    engine.register(flow := single(work))
    async with engine, engine.worker(concurrency=2):
        execution = await engine.start(flow, 5)
        assert await execution.result(60) == 5
        assert (await execution.get()).steps["work"].output == 41


async def test_a_handler_that_waits_for_its_own_result_times_out(storage: Storage) -> None:
    engine = Engine(storage)

    async def work(ctx: Ctx) -> Any:
        return await engine.handle(flow, ctx.execution_id).result(3)

    engine.register(flow := single(work))
    async with engine, engine.worker():
        execution = await engine.start(flow, 5)
        with pytest.raises(ExecutionFailed, match="has not ended within 3 s"):
            await execution.result(60)


async def test_a_handler_may_cancel_its_own_execution(storage: Storage) -> None:
    engine = Engine(storage)

    async def work(ctx: Ctx) -> Any:
        await engine.cancel(ctx.execution_id, "by myself")
        await anyio.sleep(10)

    engine.register(flow := single(work))
    async with engine, engine.worker():
        execution = await engine.start(flow, 5)
        with pytest.raises(ExecutionCancelled, match="by myself"):
            await execution.result(60)
        assert [entry.kind for entry in await execution.journal()][-1] == "execution.cancelled"


async def test_a_handler_may_signal_and_pause_its_own_execution(storage: Storage) -> None:
    engine = Engine(storage)

    @wait
    def gate(ctx: Context[int], signal: int) -> Literal["go"]:
        return "go"

    @activity
    async def early(ctx: Context[int]) -> None:
        await engine.signal(ctx.execution_id, gate, 1)
        await engine.pause(ctx.execution_id)

    flow = Workflow[int, int]("early", version="1", start=early, edges=[early.then(gate), gate.to({"go": done})])
    engine.register(flow)
    async with engine:
        execution = await engine.start(flow, 5)
        await engine.run_until_idle()
        assert (await execution.get()).status is Status.PAUSED
        await execution.resume()
        await engine.run_until_idle()
        assert await execution.result(60) == 5
