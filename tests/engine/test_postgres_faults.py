"""A Postgres that is restarted, cut off, full, read-only or in a hurry: nothing is lost, and all heals by itself.

After each fault is over every execution must have ended, as its handlers and its clients were told. The short forms run
everywhere; the long ones, marked `chaos`, in `nox -s chaos`.
"""

from __future__ import annotations

from typing import Final

import anyio
import pytest
from anyio import to_thread

from tests.engine.harmed import LEASE, Nemesis, World, nothing_is_lost
from tests.support.postgres import Server

pytestmark = [pytest.mark.anyio, pytest.mark.real_time]


async def cut_off(world: World) -> None:
    for _ in range(8):
        await world.dba.cut()
        await anyio.sleep(0.25)


async def crash(world: World, times: int = 2) -> None:
    for _ in range(times):
        await anyio.sleep(0.3)
        await to_thread.run_sync(world.server.restart, "immediate")


async def be_away_for_longer_than_a_lease(world: World) -> None:
    await anyio.sleep(0.1)
    await to_thread.run_sync(world.server.stop, "immediate")
    await anyio.sleep(1.5 * LEASE)
    await to_thread.run_sync(world.server.start)


async def be_read_only_for_a_while(world: World) -> None:
    await anyio.sleep(0.1)
    await world.alter("SET default_transaction_read_only = on")
    await anyio.sleep(0.5)
    # Nobody cuts these connections: the storage itself must open others.
    await world.dba.execute(f"ALTER ROLE {world.role} RESET default_transaction_read_only")


async def allow_two_connections(world: World) -> None:
    await world.alter("CONNECTION LIMIT 2")
    await anyio.sleep(1.5)
    await world.dba.execute(f"ALTER ROLE {world.role} CONNECTION LIMIT -1")


async def be_in_a_hurry(world: World) -> None:
    await world.alter("SET statement_timeout = '100ms'", "SET idle_in_transaction_session_timeout = '100ms'")
    for _ in range(5):
        await world.dba.execute("BEGIN", f"LOCK TABLE {world.role}.journal")
        await anyio.sleep(0.2)
        await world.dba.execute("COMMIT")


async def be_serializable(world: World) -> None:
    await world.alter("SET default_transaction_isolation = 'serializable'")


async def be_repeatable(world: World) -> None:
    await world.alter("SET default_transaction_isolation = 'repeatable read'")


async def keep_an_old_transaction(world: World) -> None:
    await world.dba.execute("BEGIN ISOLATION LEVEL REPEATABLE READ", f"SELECT FROM {world.role}.executions")
    await anyio.sleep(5)
    await world.dba.execute("ROLLBACK")


async def hold_rows(world: World) -> None:
    """Lock what is open, for longer than a lease, in an order that nobody else keeps to."""
    for _ in range(3):
        await anyio.sleep(0.1)
        open_ones = f"SELECT FROM {world.role}.executions WHERE ended_at IS NULL ORDER BY id DESC FOR UPDATE"
        await world.dba.execute("BEGIN", open_ones)
        await anyio.sleep(1.2 * LEASE)
        await world.dba.execute("ROLLBACK")


async def change_tables_under_plans(world: World) -> None:
    """Plans that were made for the tables as they were must not be kept; each change takes a lock on all of a table."""
    for table in 3 * ("executions", "journal", "signals"):
        await anyio.sleep(0.1)
        await world.dba.execute(
            f"ALTER TABLE {world.role}.{table} ADD COLUMN more integer",
            f"ANALYZE {world.role}.{table}",
            f"ALTER TABLE {world.role}.{table} DROP COLUMN more",
        )


SHORT: Final = [cut_off, crash, be_read_only_for_a_while, be_in_a_hurry]
LONG: Final = [
    be_away_for_longer_than_a_lease,
    allow_two_connections,
    be_serializable,
    be_repeatable,
    keep_an_old_transaction,
    hold_rows,
    change_tables_under_plans,
]


@pytest.mark.promise("P5", "P10", "I17", "I25")
@pytest.mark.parametrize("nemesis", SHORT, ids=lambda nemesis: nemesis.__name__)
async def test_nothing_is_lost(own_postgres: Server, nemesis: Nemesis) -> None:
    await nothing_is_lost(own_postgres, nemesis)


@pytest.mark.chaos
@pytest.mark.parametrize("nemesis", [*SHORT, *LONG], ids=lambda nemesis: nemesis.__name__)
async def test_nothing_is_lost_of_much(own_postgres: Server, nemesis: Nemesis) -> None:
    await nothing_is_lost(own_postgres, nemesis, executions=300)


@pytest.mark.chaos
async def test_nothing_is_lost_when_the_server_crashes_again_and_again(own_postgres: Server) -> None:
    async def nemesis(world: World) -> None:
        await crash(world, 10)

    await nothing_is_lost(own_postgres, nemesis, executions=300)


@pytest.mark.chaos
async def test_nothing_is_lost_where_everything_goes_through_one_connection(own_postgres: Server) -> None:
    """Two hundred clients and fifty steps at a time wait for it, and leases are renewed by one of their own."""
    await nothing_is_lost(own_postgres, cut_off, executions=200, connections=1, concurrency=50)
