"""Starts and signals within the caller's transaction: they happen exactly if the caller's rows do."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import asyncpg
import pytest

from stepwell import (
    Engine,
    Event,
    ExecutionConflict,
    ExecutionEnded,
    ExecutionNotFound,
    InvalidArgument,
    MemoryStorage,
    PayloadError,
    SQLiteStorage,
    Status,
)
from stepwell.storage.postgres import PostgresStorage
from tests.engine.flows import HOUR_POLL, Ctx, gated, line
from tests.engine.orders import Orders, booking, insert
from tests.engine.small import healthy
from tests.support.waiting import Gate

pytestmark = [pytest.mark.anyio, pytest.mark.real_time]
on_asyncio = pytest.mark.parametrize("backend", ["asyncio"])


class Regret(Exception):
    """Why a caller rolls back."""


@asynccontextmanager
async def regretted(connection: Any) -> AsyncGenerator[None]:
    """Open a transaction, or a savepoint, and roll it back at the end."""
    with suppress(Regret):
        async with connection.transaction():
            yield
            raise Regret


# -- starts ------------------------------------------------------------------------------------------------------------


@on_asyncio
async def test_an_execution_exists_exactly_if_the_caller_s_rows_do(orders: Orders) -> None:
    engine = await orders.engine(healthy)
    async with orders.pool.acquire() as connection:
        async with regretted(connection):
            await insert(connection, 1)
            await engine.start(healthy, 1, id="one", connection=connection)
        async with connection.transaction():
            await insert(connection, 2)
            handle = await engine.start(healthy, 2, id="two", connection=connection)
            with pytest.raises(ExecutionNotFound):
                await engine.get("two")
    assert await orders.rows() == [2]
    assert [execution.id for execution in (await engine.find()).executions] == ["two"]
    assert await engine.run_until_idle() > 0
    assert await handle.result(60) == 2


@on_asyncio
async def test_a_start_in_a_savepoint_that_is_rolled_back_never_happened(orders: Orders) -> None:
    engine = await orders.engine(healthy)
    async with orders.pool.acquire() as connection, connection.transaction():
        async with regretted(connection):
            await engine.start(healthy, 1, id="one", connection=connection)
        await engine.start(healthy, 2, id="one", connection=connection)
    assert (await engine.get("one")).input == 2


@on_asyncio
async def test_the_same_id_twice_in_one_transaction_is_one_execution(orders: Orders) -> None:
    engine = await orders.engine(healthy)
    async with orders.pool.acquire() as connection, connection.transaction():
        for _ in range(2):
            assert (await engine.start(healthy, 1, id="one", connection=connection)).id == "one"
        with pytest.raises(ExecutionConflict):
            await engine.start(healthy, 2, id="one", connection=connection)
        await insert(connection, 1)
    assert (await engine.get("one")).input == 1
    assert await orders.rows() == [1]


@on_asyncio
async def test_a_conflict_with_what_is_committed_leaves_the_transaction_usable_and_locks_nothing(
    orders: Orders,
) -> None:
    engine = await orders.engine(healthy)
    await engine.start(healthy, 1, id="one")
    async with orders.pool.acquire() as connection, connection.transaction():
        with pytest.raises(ExecutionConflict):
            await engine.start(healthy, 2, id="one", connection=connection)
        assert (await engine.start(healthy, 1, id="one", connection=connection)).id == "one"
        await insert(connection, 1)
        with anyio.fail_after(10):
            assert await engine.cancel("one") is Status.CANCELLED  # in another transaction, while this one is open
    assert await orders.rows() == [1]


@on_asyncio
@pytest.mark.parametrize("commits", [True, False])
async def test_of_two_transactions_that_start_one_id_the_second_waits_for_the_first(
    orders: Orders, *, commits: bool
) -> None:
    engine = await orders.engine(healthy)
    told: list[Any] = []

    async def second() -> None:
        async with orders.pool.acquire() as connection, connection.transaction():
            try:
                await engine.start(healthy, 2, id="one", connection=connection)
                told.append("started")
            except ExecutionConflict:
                told.append("conflict")
            await insert(connection, 2)

    async with orders.pool.acquire() as connection, anyio.create_task_group() as tasks:
        transaction = connection.transaction()
        await transaction.start()
        await engine.start(healthy, 1, id="one", connection=connection)
        tasks.start_soon(second)
        await _until_somebody_waits(orders)
        await (transaction.commit() if commits else transaction.rollback())
    assert told == ["conflict" if commits else "started"]
    assert (await engine.get("one")).input == (1 if commits else 2)
    assert await orders.rows() == [2]


async def _until_somebody_waits(orders: Orders) -> None:
    with anyio.fail_after(30):
        # The server tells nobody of a lock that is waited for.
        while not await orders.pool.fetchval(  # noqa: ASYNC110
            "SELECT count(*) FROM pg_locks WHERE NOT granted"
        ):
            await anyio.sleep(0.01)


@on_asyncio
async def test_a_workflow_that_is_registered_for_the_first_time_can_be_started_at_once(orders: Orders) -> None:
    engine = await orders.engine()
    engine.register(healthy)
    async with orders.pool.acquire() as connection, connection.transaction():
        handle = await engine.start("healthy", 3, connection=connection)
    async with engine.worker():
        assert await handle.result(60) == 3


@on_asyncio
async def test_a_start_takes_along_what_any_start_does(orders: Orders) -> None:
    engine = await orders.engine(healthy)
    async with orders.pool.acquire() as connection, connection.transaction():
        later = await engine.start(
            healthy, 1, tags=["vip"], metadata={"shop": "north", "n": 1}, delay=3600, connection=connection
        )
        at = datetime(2100, 1, 1, tzinfo=UTC)
        on_a_day = await engine.start(healthy, 2, at=at, connection=connection)
    execution = await later.get()
    assert (execution.tags, execution.metadata) == (("vip",), {"shop": "north", "n": 1})
    assert execution.due_at is not None
    assert abs(execution.due_at - execution.created_at - timedelta(hours=1)) < timedelta(seconds=1)
    assert (await on_a_day.get()).due_at == at


@on_asyncio
async def test_a_payload_that_does_not_fit_leaves_the_transaction_usable(orders: Orders) -> None:
    engine = await orders.engine(healthy)
    wrong: Any = "one"
    async with orders.pool.acquire() as connection, connection.transaction():
        with pytest.raises(PayloadError):
            await engine.start(healthy, wrong, connection=connection)
        await insert(connection, 1)
    assert await orders.rows() == [1]


@on_asyncio
async def test_codecs_and_a_transaction_begun_by_hand_make_no_difference(orders: Orders) -> None:
    engine = await orders.engine(gate := gated())
    connection: Any = await asyncpg.connect(orders.dsn)
    try:
        for name in ("json", "jsonb"):
            await connection.set_type_codec(name, encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
        await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        await engine.start(gate, 1, id="one", tags=["vip"], metadata={"a": 1}, connection=connection)
        await engine.signal("one", "gate", "go", connection=connection)
        await connection.execute("COMMIT")
    finally:
        await connection.close()
    async with engine.worker():
        assert await engine.result_of("one") == "go"


@on_asyncio
async def test_the_commit_wakes_workers_here_and_elsewhere_without_a_poll(orders: Orders) -> None:
    here, there = await orders.engine(healthy), await orders.engine(healthy)
    for engine, worker in ((here, here), (here, there)):
        async with worker.worker(poll_interval=HOUR_POLL):
            # A first one tells that the worker listens.
            await (await worker.start(healthy, 1)).result(60)
            async with orders.pool.acquire() as connection, connection.transaction():
                handle = await engine.start(healthy, 5, connection=connection)
            assert await handle.result(60) == 5


@on_asyncio
async def test_a_step_can_start_what_exists_exactly_if_its_result_does(orders: Orders) -> None:
    engine = await orders.engine(healthy)

    async def work(ctx: Ctx) -> str:
        handle = await engine.start(healthy, ctx.attempt, id=f"of-{ctx.attempt}", connection=ctx.connection)
        await insert(ctx.connection, ctx.attempt)
        if ctx.attempt == 1:
            raise LookupError("again")
        return handle.id

    engine.register(flow := booking(work, retry=2))
    async with engine.worker(poll_interval=0.1):
        assert await (await engine.start(flow, 1)).result(60) == "of-2"
        assert await engine.result_of("of-2") == 2
    assert await orders.rows() == [2]
    with pytest.raises(ExecutionNotFound):
        await engine.get("of-1")


# -- signals -----------------------------------------------------------------------------------------------------------


@on_asyncio
async def test_a_signal_that_is_rolled_back_never_came(orders: Orders) -> None:
    engine = await orders.engine(flow := gated())
    handle = await engine.start(flow, 1)
    await engine.run_until_idle()
    async with orders.pool.acquire() as connection:
        async with regretted(connection):
            await engine.signal(handle.id, "gate", "stop", signal_id="s", connection=connection)
        assert (await handle.get()).status is Status.SUSPENDED
        assert await engine.run_until_idle() == 0
        async with engine.worker(poll_interval=HOUR_POLL), connection.transaction():
            for _ in range(2):
                await engine.signal(handle.id, "gate", "go", signal_id="s", connection=connection)
            await insert(connection, 1)
    async with engine.worker(poll_interval=HOUR_POLL):
        assert await handle.result(60) == "go"


@on_asyncio
async def test_a_signal_to_what_is_being_run_is_kept_for_its_wait(orders: Orders) -> None:
    gate = Gate()

    async def first(ctx: Ctx) -> None:
        await gate.enter()

    engine = await orders.engine(flow := gated(before=first))
    async with engine.worker(poll_interval=HOUR_POLL):
        handle = await engine.start(flow, 1)
        await gate.reached()
        async with orders.pool.acquire() as connection, connection.transaction():
            await engine.signal(handle.id, "gate", "go", connection=connection)
            gate.open()  # its step ends, and waits for this transaction
            await insert(connection, 1)
        assert await handle.result(60) == "go"


@on_asyncio
async def test_a_signal_to_nobody_or_to_what_has_ended_leaves_the_transaction_usable(orders: Orders) -> None:
    engine = await orders.engine(flow := gated())
    ended = await engine.start(flow, 1)
    await ended.cancel()
    async with orders.pool.acquire() as connection, connection.transaction():
        with pytest.raises(ExecutionNotFound):
            await engine.signal("nobody", "gate", "go", connection=connection)
        with pytest.raises(ExecutionEnded):
            await engine.signal(ended.id, "gate", "go", connection=connection)
        await insert(connection, 1)
    assert await orders.rows() == [1]


@on_asyncio
async def test_a_transaction_that_stays_open_takes_only_its_own_execution_s_lease(orders: Orders) -> None:
    gate = Gate()

    async def first(ctx: Ctx) -> None:
        await gate.enter(str(ctx.input))

    flow = gated(before=first)
    storage = await orders.storage()
    async with Engine(storage, workflows=[flow], lease=2.0) as engine, engine.worker():
        signalled, other = await engine.start(flow, 1), await engine.start(flow, 2)
        await gate.reached(2)
        async with orders.pool.acquire() as connection, connection.transaction():
            await engine.signal(signalled.id, "gate", "go", connection=connection)
            async with engine.events("execution.lease_lost") as lost:
                event = await lost.receive()
            assert isinstance(event, Event)
            assert event.execution is not None
            assert event.execution.id == signalled.id
        gate.open()
        await other.signal("gate", "go")
        assert [await signalled.result(60), await other.result(60)] == ["go", "go"]
        assert [entry.attempt for entry in await engine.journal(other.id) if entry.kind.endswith("claimed")][:1] == [1]


# -- connections that won't do -----------------------------------------------------------------------------------------


@on_asyncio
async def test_a_connection_without_a_transaction_is_refused_and_told_why(orders: Orders) -> None:
    engine = await orders.engine(healthy)
    async with orders.pool.acquire() as connection:
        with pytest.raises(InvalidArgument, match=r"no open transaction; use it inside `async with"):
            await engine.start(healthy, 1, connection=connection)
    with pytest.raises(InvalidArgument, match="released back to the pool"):
        await engine.start(healthy, 1, connection=connection)
    closed = await asyncpg.connect(orders.dsn)
    await closed.close()
    with pytest.raises(InvalidArgument, match="the connection is closed"):
        await engine.signal("one", "gate", connection=closed)
    with pytest.raises(InvalidArgument, match="must be an asyncpg connection, not str"):
        await engine.start(healthy, 1, connection="postgresql://localhost")
    assert (await engine.find()).executions == ()


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_other_storages_take_part_in_no_transaction(kind: str, tmp_path: Any) -> None:
    storage: Any = MemoryStorage() if kind == "memory" else SQLiteStorage(tmp_path / "flows.db")
    async with storage, Engine(storage, workflows=[healthy]) as engine:
        with pytest.raises(InvalidArgument, match=f"PostgresStorage, not .*{type(storage).__name__}"):
            await engine.start(healthy, 1, connection=object())
        with pytest.raises(InvalidArgument, match="connection=… needs a storage beside your own tables"):
            await engine.signal("one", "gate", connection=object())


@pytest.mark.parametrize("backend", ["trio"])
async def test_trio_has_no_connection_that_could_be_used(postgres_dsn: str, anyio_backend: object) -> None:
    async with PostgresStorage(postgres_dsn) as storage, Engine(storage, workflows=[line(_nothing)]) as engine:
        with pytest.raises(InvalidArgument, match="connection=… works on asyncio only"):
            await engine.start("line", 1, connection=object())


async def _nothing(ctx: Ctx) -> None:
    pass
