"""Transactional steps that are cut, cancelled, outrun or held up: rows and result stay one, whatever happens."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import asyncpg
import pytest

from stepwell import Engine, ExecutionCancelled, ExecutionFailed, Status
from stepwell.storage._postgres._within import PostgresStepTransaction
from tests.engine.flows import HOUR_POLL, gated, kinds
from tests.engine.orders import Ctx, Orders, booking, insert
from tests.support.waiting import Gate, Recorder

pytestmark = [pytest.mark.anyio, pytest.mark.real_time, pytest.mark.parametrize("backend", ["asyncio"])]

Around = Callable[[Callable[[], Awaitable[None]]], Awaitable[None]]


@asynccontextmanager
async def around_commit(monkeypatch: pytest.MonkeyPatch, around: Around) -> AsyncGenerator[None]:
    """Have *around* called with each COMMIT of a step's transaction, in its place."""

    class Committing:
        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

        async def commit(self) -> None:
            await around(self._inner.commit)

    begin = PostgresStepTransaction.begin

    async def begin_so(self: PostgresStepTransaction) -> None:
        await begin(self)
        self._transaction = Committing(self._transaction)

    with monkeypatch.context() as patch:
        patch.setattr(PostgresStepTransaction, "begin", begin_so)
        yield


def leave_it(_: PostgresStepTransaction) -> None:
    """Take the place of what cuts a connection off."""


async def kill(orders: Orders, connection: Any) -> None:
    await orders.execute("SELECT pg_terminate_backend($1, 5000)", connection.get_server_pid())


# -- connections that are cut ------------------------------------------------------------------------------------------


async def test_a_connection_that_is_cut_in_the_handler_costs_no_attempt(orders: Orders) -> None:
    ran: list[int] = []

    async def work(ctx: Ctx) -> int:
        ran.append(ctx.attempt)
        await insert(ctx.connection, len(ran))
        if len(ran) == 1:
            await kill(orders, ctx.connection)
            await insert(ctx.connection, 9)
        if len(ran) == 2:
            await kill(orders, ctx.connection)  # and it looks at it no more
        return len(ran)

    assert await orders.run(booking(work)) == 3
    assert (ran, await orders.rows()) == ([1, 1, 1], [3])


async def test_a_deadlock_in_the_handler_costs_no_attempt(orders: Orders) -> None:
    ran: list[int] = []

    async def work(ctx: Ctx) -> int:
        ran.append(ctx.attempt)
        await insert(ctx.connection, len(ran))
        if len(ran) == 1:
            raise asyncpg.DeadlockDetectedError("deadlock detected")
        return len(ran)

    assert await orders.run(booking(work)) == 2
    assert (ran, await orders.rows()) == ([1, 1], [2])


async def test_a_step_that_loses_its_transaction_each_time_fails_in_the_end(orders: Orders) -> None:
    ran: list[int] = []

    async def work(ctx: Ctx) -> int:
        ran.append(ctx.attempt)
        await insert(ctx.connection, 1)
        await ctx.connection.close()
        return 1

    with pytest.raises(ExecutionFailed) as caught:
        await orders.run(booking(work))
    assert caught.value.failure is not None
    assert caught.value.failure.code == "transaction"
    assert (len(ran), await orders.rows()) == (6, [])


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_commit_whose_answer_is_lost_is_found_or_done_again(
    orders: Orders, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    ran: list[Any] = []
    tries: list[str] = []

    async def work(ctx: Ctx) -> int:
        ran.append(ctx.connection)
        await insert(ctx.connection, len(ran))
        return len(ran)

    async def around(commit: Callable[[], Awaitable[None]]) -> None:
        tries.append("commit")
        if len(tries) > 1:
            return await commit()
        if when == "after":
            await commit()
        await kill(orders, ran[0])
        raise ConnectionResetError("cut")

    async with around_commit(monkeypatch, around):
        result = await orders.run(booking(work))
    expected = 1 if when == "after" else 2
    assert (result, len(ran), await orders.rows()) == (expected, expected, [expected])


async def test_a_commit_that_the_server_is_still_at_is_waited_for(
    orders: Orders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client has lost its connection, and the server commits all the same, later: the step must not run again."""
    ran: list[int] = []
    troubles: Recorder[str] = Recorder()

    async def work(ctx: Ctx) -> int:
        ran.append(ctx.attempt)
        await insert(ctx.connection, len(ran))
        return len(ran)

    engine = await orders.engine(flow := booking(work))
    engine.on("worker.error", lambda event: troubles.record(event.message or ""))

    async with anyio.create_task_group() as tasks:

        async def commit_late(commit: Callable[[], Awaitable[None]]) -> None:
            await troubles.until_count(2)  # the runner has looked, and has found the row held
            await commit()

        async def around(commit: Callable[[], Awaitable[None]]) -> None:
            tasks.start_soon(commit_late, commit)
            raise asyncpg.InterfaceError("cut")

        async with around_commit(monkeypatch, around):
            monkeypatch.setattr(PostgresStepTransaction, "_cut_off", leave_it)
            async with engine.worker():
                assert await (await engine.start(flow, 1)).result(60) == 1
    assert (ran, await orders.rows()) == ([1], [1])


# -- four endings ------------------------------------------------------------------------------------------------------


async def test_a_cancelled_execution_leaves_no_rows(orders: Orders) -> None:
    gate = Gate()

    async def work(ctx: Ctx) -> None:
        await insert(ctx.connection, 1)
        await gate.enter()

    engine = await orders.engine(flow := booking(work))
    async with engine.worker():
        handle = await engine.start(flow, 1)
        await gate.reached()
        await handle.cancel()
        with pytest.raises(ExecutionCancelled):
            await handle.result(60)
    assert await orders.rows() == []


async def test_a_worker_that_is_drained_leaves_no_rows_and_another_runs_the_step(orders: Orders) -> None:
    gate = Gate()

    async def work(ctx: Ctx) -> int:
        await insert(ctx.connection, ctx.attempt)
        await gate.enter()
        return ctx.attempt

    engine = await orders.engine(flow := booking(work))
    handle = await engine.start(flow, 1)
    async with engine.worker(grace=0):
        await gate.reached()
    assert await orders.rows() == []
    gate.open()
    async with engine.worker():
        result = await handle.result(60)
    assert await orders.rows() == [result]


async def test_a_commit_that_was_begun_survives_the_end_of_its_worker(
    orders: Orders, monkeypatch: pytest.MonkeyPatch
) -> None:
    committing, stopped = Gate(), anyio.Event()

    async def work(ctx: Ctx) -> int:
        await insert(ctx.connection, ctx.input)
        return 1

    async def around(commit: Callable[[], Awaitable[None]]) -> None:
        committing.arrivals.record("")
        await stopped.wait()
        await commit()

    engine = await orders.engine(flow := booking(work))
    handle = await engine.start(flow, 7)
    async with around_commit(monkeypatch, around), anyio.create_task_group() as tasks:
        await tasks.start(engine.run_worker)
        await committing.reached()
        tasks.cancel_scope.cancel()
        stopped.set()
    assert (await handle.get()).status is Status.SUCCEEDED
    assert await orders.rows() == [7]


async def test_whoever_lost_the_lease_leaves_no_rows(orders: Orders) -> None:
    gate, ran = Gate(), Recorder[str]()

    def worker(name: str) -> Callable[[Ctx], Awaitable[str]]:
        async def work(ctx: Ctx) -> str:
            await insert(ctx.connection, 1 if name == "slow" else 2)
            ran.record(name)
            if name == "slow":
                await gate.enter()
            return name

        return work

    deaf = await orders.storage(notify=False)
    slow = await orders.engine(first := booking(worker("slow")), storage=deaf)
    quick = await orders.engine(booking(worker("quick")))
    # Without hints and polls it doesn't hear of its loss, so it isn't cancelled, and can't claim the execution itself.
    async with slow.worker(concurrency=1, poll_interval=HOUR_POLL):
        handle = await slow.start(first, 1)
        await gate.reached()
        # As if this worker had slept for longer than its lease: the other takes it, and this one knows nothing of it.
        await orders.execute("UPDATE stepwell.executions SET due_at = 0")
        async with quick.worker():
            assert await (quick.handle(first, handle.id)).result(60) == "quick"
        gate.open()
    assert ran.entries == ["slow", "quick"]
    assert await orders.rows() == [2]


async def test_a_pause_that_is_asked_for_meanwhile_keeps_rows_and_result(orders: Orders) -> None:
    gate = Gate()

    async def work(ctx: Ctx) -> int:
        await insert(ctx.connection, ctx.input)
        await gate.enter()
        return ctx.input

    engine = await orders.engine(flow := booking(work))
    async with engine.worker(), engine.events("execution.paused") as events:
        handle = await engine.start(flow, 7)
        await gate.reached()
        await handle.pause()
        gate.open()
        await events.receive()
        assert await orders.rows() == [7]
        await handle.resume()
        assert await handle.result(60) == 7
    assert await orders.rows() == [7]


async def test_a_step_can_signal_its_own_execution(orders: Orders) -> None:
    engine = await orders.engine()

    async def first(ctx: Ctx) -> None:
        await engine.signal(ctx.execution_id, "gate", "go", connection=ctx.connection)

    flow = gated(before=first, transactional=True)
    engine.register(flow)
    async with engine.worker():
        assert await (await engine.start(flow, 1, id="one")).result(60) == "go"


# -- more steps than connections ---------------------------------------------------------------------------------------


async def test_waiting_for_a_connection_is_no_part_of_an_attempt(orders: Orders) -> None:
    most: list[int] = []
    running = 0

    async def work(ctx: Ctx) -> int:
        nonlocal running
        running += 1
        most.append(running)
        await insert(ctx.connection, ctx.input)
        await ctx.connection.execute("SELECT pg_sleep(0.2)")
        running -= 1
        return ctx.input

    flow = booking(work, timeout=1.0)
    engine = await orders.engine(flow, storage=await orders.storage(transactions=2))
    async with engine.worker(concurrency=20, poll_interval=HOUR_POLL):
        handles = [await engine.start(flow, number) for number in range(16)]  # 1.6 s of work in all
        assert [await handle.result(60) for handle in handles] == list(range(16))
    assert max(most) == 2
    assert await orders.rows() == list(range(16))


async def test_who_waits_for_a_connection_is_stopped_at_once(orders: Orders) -> None:
    gate = Gate()

    async def work(ctx: Ctx) -> int:
        await gate.enter(str(ctx.input))
        return ctx.input

    flow = booking(work)
    storage = await orders.storage(transactions=1)
    engine = await orders.engine(flow, storage=storage)
    async with engine.worker():
        await engine.start(flow, 1)
        await gate.reached()
        waits = await engine.start(flow, 2, id="two")
        await _until_claimed(engine, "two")
        await waits.cancel()
        with pytest.raises(ExecutionCancelled):
            await waits.result(60)
        gate.open()
    assert gate.arrivals.entries == ["1"]
    assert await kinds(storage, "two") == ["created 0", "claimed 1", "cancelled 1"]


async def _until_claimed(engine: Engine, id: str) -> None:
    async with engine.events("step.started") as events:
        while (await engine.get(id)).status is not Status.RUNNING:
            await events.receive()
