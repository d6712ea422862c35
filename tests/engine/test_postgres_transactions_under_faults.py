"""Transactional steps that hold all connections, and whose transactions the server ends: rows and results agree."""

from __future__ import annotations

from typing import Any

import anyio
import asyncpg
import pytest

from stepwell import Context, Engine, PostgresStorage, Retry, Workflow, activity, succeed
from stepwell.testing import check_invariants
from tests.engine.small import healthy
from tests.support.postgres.outsider import outsider
from tests.support.waiting import Gate

pytestmark = [pytest.mark.anyio, pytest.mark.real_time]

COUNTS = "SELECT array_agg(n ORDER BY n) FROM orders"


@pytest.fixture(params=["asyncio"])
def backend(request: pytest.FixtureRequest) -> str:
    """Connections of the user's exist on asyncio only."""
    return str(request.param)


def ordering(gate: Gate) -> Workflow[int, int]:
    @activity(transactional=True, retry=Retry(20), timeout=None)
    async def order(ctx: Context[int]) -> int:
        connection: asyncpg.Connection[Any] = ctx.connection
        await connection.execute("INSERT INTO orders VALUES ($1)", ctx.input)
        await gate.enter()
        await connection.execute("SELECT 1")
        return ctx.input

    @succeed
    def ordered(ctx: Context[int]) -> int:
        return int(ctx.output(order))

    return Workflow[int, int]("ordering", version="1", start=order, edges=[order.then(ordered)])


async def test_steps_that_hold_all_connections_hold_up_nobody_else(postgres_database: str) -> None:
    gate = Gate()
    workflow = ordering(gate)
    async with (
        outsider(postgres_database) as dba,
        PostgresStorage(postgres_database, transactions=2, connections=2) as storage,
        Engine(storage, workflows=[workflow, healthy], lease=2.0) as engine,
        engine.worker(poll_interval=0.5, concurrency=20),
    ):
        await dba.execute("CREATE TABLE orders (n integer)")
        handles = [await engine.start(workflow, number) for number in range(8)]
        await gate.reached(2)
        assert await (await engine.start(healthy, 7)).result(20) == 7
        cancelled = await engine.start(workflow, 100)
        await engine.cancel(cancelled.id)
        await anyio.sleep(2.5)  # longer than a lease: those that wait keep theirs
        gate.open()
        assert [await handle.result(30) for handle in handles] == list(range(8))
        assert await dba.value(COUNTS) == list(range(8))
        await check_invariants(storage)


async def test_a_step_whose_transaction_the_server_ends_is_run_again(postgres_database: str) -> None:
    gate = Gate()
    workflow = ordering(gate)
    async with (
        outsider(postgres_database) as dba,
        PostgresStorage(postgres_database, transactions=4) as storage,
        Engine(storage, workflows=[workflow], lease=2.0, max_crashes=100) as engine,
        engine.worker(poll_interval=0.2, concurrency=20),
    ):
        await dba.execute("CREATE TABLE orders (n integer)")
        handles = [await engine.start(workflow, number) for number in range(8)]
        await gate.reached(4)
        assert await dba.cut("state = 'idle in transaction'") == 4
        gate.open()
        with anyio.fail_after(60):
            assert [await handle.result() for handle in handles] == list(range(8))
        assert await dba.value(COUNTS) == list(range(8))
        await check_invariants(storage)
