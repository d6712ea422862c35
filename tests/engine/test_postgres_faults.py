"""A Postgres that is restarted, cut off, full, read-only or in a hurry: nothing is lost, and all heals by itself.

After each fault is over every execution must have ended, as its handlers and its clients were told. The short forms run
everywhere; the long ones, marked `chaos`, in `nox -s chaos`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from secrets import token_hex
from typing import Any, Final
from urllib.parse import urlsplit

import anyio
import pytest
from anyio import to_thread

from stepwell import Context, Engine, PostgresStorage, Retry, Status
from stepwell.storage import StorageError
from stepwell.testing import check_invariants
from tests.engine.flows import line
from tests.support.postgres import Server
from tests.support.postgres.outsider import Outsider, outsider

pytestmark = [pytest.mark.anyio, pytest.mark.real_time]

LEASE: Final = 2.0
EXECUTIONS: Final = 30


class World:
    """A role of its own with its own schema on a server that may be harmed."""

    def __init__(self, server: Server, dba: Outsider) -> None:
        self.server = server
        self.dba = dba
        self.role = f"app{token_hex(4)}"
        self.dsn = server.dsn.replace("://postgres:", f"://{self.role}:")
        self._password = urlsplit(server.dsn).password

    async def prepare(self) -> None:
        await self.dba.execute(
            f"CREATE ROLE {self.role} LOGIN PASSWORD '{self._password}'",
            f"CREATE SCHEMA {self.role} AUTHORIZATION {self.role}",
            f"GRANT CREATE ON DATABASE postgres TO {self.role}",
        )

    async def alter(self, *settings: str) -> None:
        """Change the role, and let its connections be opened anew."""
        await self.dba.execute(*(f"ALTER ROLE {self.role} {setting}" for setting in settings))
        await self.dba.cut()

    def storage(self) -> PostgresStorage:
        return PostgresStorage(self.dsn, schema=self.role, connections=4)


Nemesis = Callable[[World], Coroutine[Any, Any, None]]


@asynccontextmanager
async def world(server: Server) -> AsyncGenerator[World]:
    await to_thread.run_sync(server.start)
    async with outsider(server.dsn) as dba:
        made = World(server, dba)
        await made.prepare()
        yield made


async def nothing_is_lost(server: Server, nemesis: Nemesis, *, executions: int = EXECUTIONS) -> None:
    """Start executions and await their results while the nemesis is at work; then compare all that was told."""
    ran: Counter[str] = Counter()
    told: dict[str, str] = {}

    async def first(ctx: Context[int]) -> int:
        ran[ctx.idempotency_key] += 1
        return ctx.input

    async def second(ctx: Context[int]) -> int:
        ran[ctx.idempotency_key] += 1
        await anyio.sleep(0.05)
        return int(ctx.output("first")) + 1

    async def third(ctx: Context[int]) -> str:
        ran[ctx.idempotency_key] += 1
        return f"{ctx.output('second')}"

    workflow = line(first, second, third, retry=Retry(10))

    async def client(engine: Engine, number: int) -> None:
        while True:
            try:
                handle = await engine.start(workflow, number, id=f"x{number}")
                told[handle.id] = await handle.result()
            except StorageError:  # the server was away for longer than the engine insists
                continue
            return

    async with world(server) as made:
        async with (
            made.storage() as storage,
            Engine(storage, workflows=[workflow], lease=LEASE, max_crashes=100) as engine,
            engine.worker(poll_interval=0.2, concurrency=8),
        ):
            with anyio.fail_after(90):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(nemesis, made)
                    for number in range(executions):
                        tasks.start_soon(client, engine, number)
            assert told == {f"x{number}": str(number + 1) for number in range(executions)}
            for id in told:
                assert (await engine.get(id)).status is Status.SUCCEEDED
            assert await check_invariants(storage) == executions
        assert len(ran) == 3 * executions


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


SHORT: Final = [cut_off, crash, be_read_only_for_a_while, be_in_a_hurry]
LONG: Final = [be_away_for_longer_than_a_lease, allow_two_connections, be_serializable, be_repeatable]


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
