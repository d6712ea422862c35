"""A Postgres that is harmed while an engine works on it, itself or its network; and what must hold then."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from secrets import token_hex
from typing import Any, Final
from urllib.parse import urlsplit

import anyio
from anyio import to_thread

from stepwell import Context, Engine, PostgresStorage, Retry, Status
from stepwell.storage import StorageError
from stepwell.testing import check_invariants
from tests.engine.flows import line
from tests.support.postgres import Server
from tests.support.postgres.outsider import Outsider, outsider
from tests.support.wire import Proxy, proxied

__all__ = ["LEASE", "Nemesis", "World", "nothing_is_lost", "world"]

LEASE: Final = 2.0
EXECUTIONS: Final = 30


class World:
    """A role of its own with its own schema on a server that may be harmed."""

    def __init__(self, server: Server, dba: Outsider, wire: Proxy | None = None, standby: Server | None = None) -> None:
        self.server = server
        self.dba = dba
        self.role = f"app{token_hex(4)}"
        self.dsn = server.dsn.replace("://postgres:", f"://{self.role}:")
        if wire is not None:
            self.dsn = self.dsn.replace(f"@{server.host}:{server.port}/", f"@{wire.host}:{wire.port}/")
        if standby is not None:
            place = f"@{server.host}:{server.port}"
            self.dsn = self.dsn.replace(place, f"{place},{standby.host}:{standby.port}")
            self.dsn += "&target_session_attrs=primary"
        self.troubles: list[str] = []
        """what the engine's worker has told to be wrong"""
        self._wire = wire
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

    @property
    def wire(self) -> Proxy:
        """The network between the storages and the server, where it can be made to fail."""
        assert self._wire is not None
        return self._wire

    def storage(self, connections: int = 4) -> PostgresStorage:
        return PostgresStorage(self.dsn, schema=self.role, connections=connections)


Nemesis = Callable[[World], Coroutine[Any, Any, None]]


@asynccontextmanager
async def world(server: Server, *, has_wire: bool = False, standby: Server | None = None) -> AsyncGenerator[World]:
    await to_thread.run_sync(server.start)
    async with AsyncExitStack() as stack:
        wire = await stack.enter_async_context(proxied((server.host, server.port))) if has_wire else None
        made = World(server, await stack.enter_async_context(outsider(server.dsn)), wire, standby)
        await made.prepare()
        yield made


async def nothing_is_lost(
    server: Server,
    nemesis: Nemesis,
    *,
    executions: int = EXECUTIONS,
    has_wire: bool = False,
    standby: Server | None = None,
    connections: int = 4,
    concurrency: int = 8,
    within: float = 90,
) -> None:
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

    async with world(server, has_wire=has_wire, standby=standby) as made:
        async with (
            made.storage(connections) as storage,
            Engine(storage, workflows=[workflow], lease=LEASE, max_crashes=100) as engine,
            engine.worker(poll_interval=0.2, concurrency=concurrency),
        ):
            engine.on("worker.error", lambda event: made.troubles.append(event.message))
            with anyio.fail_after(within):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(nemesis, made)
                    for number in range(executions):
                        tasks.start_soon(client, engine, number)
            assert told == {f"x{number}": str(number + 1) for number in range(executions)}
            for id in told:
                assert (await engine.get(id)).status is Status.SUCCEEDED
            assert await check_invariants(storage) == executions
        assert len(ran) == 3 * executions
