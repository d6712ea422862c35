"""Steps whose rows and result are one commit: exactly once, or not at all."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Literal

import anyio
import asyncpg
import pytest

from stepwell import (
    Engine,
    ExecutionFailed,
    Failure,
    InvalidArgument,
    MemoryStorage,
    Retry,
    SQLiteStorage,
    Workflow,
    activity,
    decision,
)
from stepwell.storage.postgres import PostgresStorage
from tests.engine.flows import HOUR_POLL, kinds, nest
from tests.engine.orders import Ctx, Orders, booking, insert
from tests.engine.small import done, healthy, refused
from tests.support.waiting import Gate

pytestmark = [pytest.mark.anyio, pytest.mark.real_time]
on_asyncio = pytest.mark.parametrize("backend", ["asyncio"])
AT_ONCE = Retry(max_attempts=3, backoff=0)


async def failure_of(orders: Orders, workflow: Workflow[int, Any]) -> Failure:
    with pytest.raises(ExecutionFailed) as caught:
        await orders.run(workflow)
    assert caught.value.failure is not None
    return caught.value.failure


async def book(ctx: Ctx) -> int:
    await insert(ctx.connection, ctx.input)
    return ctx.input


@on_asyncio
async def test_a_step_s_rows_and_its_result_are_one_commit(orders: Orders) -> None:
    seen: list[list[int]] = []

    async def work(ctx: Ctx) -> int:
        await insert(ctx.connection, ctx.input)
        seen.append(await orders.rows())
        return ctx.input

    assert await orders.run(booking(work), 7) == 7
    assert (seen, await orders.rows()) == ([[]], [7])
    storage = await orders.storage()
    assert await kinds(storage, "one") == ["created 0", "claimed 1", "succeeded 1", "succeeded 1"]


@on_asyncio
async def test_a_failed_attempt_leaves_no_rows_and_is_tried_again(orders: Orders) -> None:
    async def work(ctx: Ctx) -> int:
        await insert(ctx.connection, ctx.attempt)
        if ctx.attempt < 3:
            raise LookupError("not yet")
        return ctx.attempt

    assert await orders.run(booking(work, retry=AT_ONCE)) == 3
    assert await orders.rows() == [3]


@on_asyncio
async def test_an_attempt_that_runs_into_its_timeout_leaves_no_rows(orders: Orders) -> None:
    async def work(ctx: Ctx) -> int:
        await insert(ctx.connection, ctx.attempt)
        await ctx.connection.execute("SELECT pg_sleep($1)", 30.0 if ctx.attempt == 1 else 0.0)
        return ctx.attempt

    assert await orders.run(booking(work, retry=AT_ONCE, timeout=0.5)) == 2
    assert await orders.rows() == [2]


@on_asyncio
async def test_a_constraint_that_fails_at_the_commit_is_the_step_s_failure_and_can_be_caught(orders: Orders) -> None:
    await orders.execute("ALTER TABLE orders ADD UNIQUE (note) DEFERRABLE INITIALLY DEFERRED")

    async def work(ctx: Ctx) -> int:
        await ctx.connection.execute("INSERT INTO orders VALUES (1, 'same'), (2, 'same')")
        return 1

    with pytest.raises(ExecutionFailed) as caught:
        await orders.run(booking(work, catch=asyncpg.UniqueViolationError))
    assert caught.value.value == "asyncpg.exceptions.UniqueViolationError"
    assert await orders.rows() == []


@on_asyncio
async def test_any_error_of_a_trigger_at_the_commit_is_the_step_s_failure(orders: Orders) -> None:
    await orders.execute(
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN RAISE EXCEPTION 'no such order' USING ERRCODE = 'OR001'; END$$"
    )
    await orders.execute(
        "CREATE CONSTRAINT TRIGGER no AFTER INSERT ON orders DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION no()"
    )
    failure = await failure_of(orders, booking(book))
    assert (failure.code, failure.message) == ("transaction", "no such order")


@on_asyncio
async def test_a_step_that_swallows_an_error_of_the_database_fails(orders: Orders) -> None:
    async def work(ctx: Ctx) -> int:
        await insert(ctx.connection, 1)
        with suppress(asyncpg.UniqueViolationError):
            await insert(ctx.connection, 1)
        return 1

    failure = await failure_of(orders, booking(work))
    assert failure.code == "transaction"
    assert failure.type == "asyncpg.exceptions.InFailedSQLTransactionError"
    assert await orders.rows() == []


@on_asyncio
@pytest.mark.parametrize("statement", ["COMMIT", "ROLLBACK", "COMMIT AND CHAIN", "ROLLBACK; BEGIN"])
async def test_a_step_that_ends_its_transaction_itself_fails_and_is_told_why(orders: Orders, statement: str) -> None:
    async def work(ctx: Ctx) -> int:
        await insert(ctx.connection, ctx.input)
        await ctx.connection.execute(statement)
        return 1

    failure = await failure_of(orders, booking(work))
    assert failure.code == "transaction"
    assert "has ended its transaction itself" in failure.message


@on_asyncio
async def test_savepoints_and_cursors_that_are_left_open_do_no_harm(orders: Orders) -> None:
    async def work(ctx: Ctx) -> int:
        with suppress(asyncpg.UniqueViolationError):
            async with ctx.connection.transaction():
                await insert(ctx.connection, 1)
                await insert(ctx.connection, 1)
        await ctx.connection.execute("SAVEPOINT mine")
        await ctx.connection.transaction().start()
        await insert(ctx.connection, 2)
        await ctx.connection.cursor("SELECT * FROM generate_series(1, 10)")
        await ctx.connection.execute("DECLARE held CURSOR WITH HOLD FOR SELECT 1")
        return 2

    assert await orders.run(booking(work)) == 2
    assert await orders.rows() == [2]


@on_asyncio
async def test_what_a_step_does_to_the_session_the_next_one_does_not_see(orders: Orders) -> None:
    await orders.execute("CREATE SCHEMA elsewhere")
    told: list[Any] = []
    look = (
        "SELECT current_user = session_user, current_setting('search_path'), current_setting('statement_timeout'),"
        " to_regclass('pg_temp.mine') IS NULL, (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'),"
        " '{\"a\": 1}'::json"
    )

    async def work(ctx: Ctx) -> int:
        told.append(tuple(await ctx.connection.fetchrow(look)))
        if ctx.input == 1:
            await insert(ctx.connection, 1)
            await ctx.connection.execute("SELECT pg_advisory_lock(1)")
            await ctx.connection.execute("CREATE TEMP TABLE mine (id integer)")
            await ctx.connection.execute("SET search_path = elsewhere; SET statement_timeout = 1; SET ROLE pg_monitor")
        else:
            await ctx.connection.set_type_codec("json", encoder=str, decoder=len, schema="pg_catalog")
        return ctx.input

    flow = booking(work)
    engine = await orders.engine(flow, storage=await orders.storage(transactions=1))
    async with engine.worker():
        for number in (1, 2, 3):
            assert await (await engine.start(flow, number)).result(60) == number
    assert await orders.rows() == [1]
    assert told == [(True, '"$user", public', "0", True, 0, '{"a": 1}')] * 3


@on_asyncio
async def test_a_connection_is_of_no_use_after_its_step(orders: Orders) -> None:
    kept: list[Any] = []

    async def work(ctx: Ctx) -> int:
        kept.append(ctx.connection)
        return 1

    assert await orders.run(booking(work)) == 1
    with pytest.raises(asyncpg.InterfaceError, match="released back to the pool"):
        await kept[0].execute("SELECT 1")


@on_asyncio
async def test_plain_steps_that_follow_ride_along_in_the_transaction(orders: Orders) -> None:
    booked: Any = activity(name="book", transactional=True)(book)

    @decision
    def which(ctx: Ctx) -> Literal["go", "stop"]:
        return "go" if ctx.output("book") == 5 else "stop"

    flow = Workflow[int, int](
        "riding", version="1", start=booked, edges=[booked.then(which), which.to({"go": done, "stop": refused})]
    )
    assert await orders.run(flow, 5) == 5
    stored = await (await orders.storage()).load("one")
    assert stored is not None
    assert len({entry.change for entry in stored.journal[2:]}) == 1
    assert await orders.rows() == [5]


@on_asyncio
@pytest.mark.parametrize("where", ["step", "rider", "rider leaves a scope"])
async def test_a_native_cancellation_of_its_own_task_costs_no_result(orders: Orders, where: str) -> None:
    ran: list[int] = []

    async def work(ctx: Ctx) -> int:
        ran.append(ctx.attempt)
        await insert(ctx.connection, ctx.input)
        if where == "step":
            _cancel_natively()
        return ctx.input

    booked: Any = activity(name="book", transactional=True)(work)

    @decision(retry=AT_ONCE)
    def which(ctx: Ctx) -> Literal["go", "stop"]:
        if where == "rider" and ctx.attempt == 1:
            _cancel_natively()
        if where == "rider leaves a scope" and ctx.attempt == 1:
            anyio.CancelScope().__enter__()
        return "go"

    flow = Workflow[int, int](
        "riding", version="1", start=booked, edges=[booked.then(which), which.to({"go": done, "stop": refused})]
    )
    assert await orders.run(flow, 5) == 5
    assert (ran, await orders.rows()) == ([1], [5])


def _cancel_natively() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


@on_asyncio
async def test_the_last_step_of_a_child_wakes_its_parent_without_a_poll(orders: Orders) -> None:
    parent = nest(booking(book))
    engine = await orders.engine(parent)
    async with engine.worker(poll_interval=HOUR_POLL):
        result = await (await engine.start(parent, 3)).result(60)
    assert result.startswith("succeeded 3")


@on_asyncio
async def test_who_waits_in_another_process_hears_of_the_end_without_a_poll(orders: Orders) -> None:
    """Two storages stand for two processes: they hear each other by NOTIFY alone."""
    gate = Gate()

    async def work(ctx: Ctx) -> int:
        await gate.enter()
        return 4

    flow = booking(work)
    runs, asks = await orders.engine(flow), await orders.engine(flow)
    heard: list[float] = []
    async with runs.worker(poll_interval=HOUR_POLL), anyio.create_task_group() as tasks:
        handle = await asks.start(flow, 1)
        await gate.reached()

        async def wait() -> None:
            began = anyio.current_time()
            assert await handle.result(60) == 4
            heard.append(anyio.current_time() - began)

        tasks.start_soon(wait)
        gate.open()
    assert heard[0] < 0.9


# -- where it can't be -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_other_storages_refuse_transactional_steps_and_run_the_others(kind: str, tmp_path: Any) -> None:
    flow = booking(book)
    storage: Any = MemoryStorage() if kind == "memory" else SQLiteStorage(tmp_path / "flows.db")
    async with storage:
        with pytest.raises(InvalidArgument, match="step 'book' of workflow 'booking', needs a storage beside your own"):
            async with Engine(storage, workflows=[flow]):
                pass
        async with Engine(storage, workflows=[healthy]) as engine, engine.worker():
            engine.register(flow)
            assert await (await engine.start(healthy, 7)).result(60) == 7
            for _ in range(2):
                with pytest.raises(InvalidArgument, match="PostgresStorage, not"):
                    await engine.start(flow, 1)
            assert await (await engine.start(healthy, 8)).result(60) == 8


@pytest.mark.parametrize("backend", ["trio"])
async def test_trio_refuses_transactional_steps(postgres_dsn: str, anyio_backend: object) -> None:
    async with PostgresStorage(postgres_dsn) as storage:
        with pytest.raises(InvalidArgument, match="works on asyncio only: asyncpg connections live in an asyncio loop"):
            async with Engine(storage, workflows=[booking(book)]):
                pass
