"""Somebody else who is connected to the database: a DBA, say. Tests on either backend never block for him."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import anyio
import asyncpg
from anyio import to_thread
from anyio.from_thread import BlockingPortal, start_blocking_portal

__all__ = ["Outsider", "outsider"]

LIMIT: Final = 60.0
SERVERS: Final = "application_name = 'stepwell' AND datname = current_database()"
"""The backends that work for storages."""


class Outsider:
    """One connection, in an asyncio loop of a thread of its own."""

    def __init__(self, portal: BlockingPortal, connection: asyncpg.Connection[Any]) -> None:
        self._portal = portal
        self._connection = connection

    async def execute(self, *statements: str) -> None:
        """Run these one after the other; BEGIN and COMMIT among them work as in psql."""
        for statement in statements:
            await self._call(self._connection.execute, statement)

    async def value(self, query: str, *values: Any) -> Any:
        """Return the first value of the answer."""
        return await self._call(self._connection.fetchval, query, *values)

    async def column(self, query: str, *values: Any) -> list[Any]:
        """Return the first value of each row of the answer."""
        return [record[0] for record in await self._call(self._connection.fetch, query, *values)]

    async def until(self, query: str, *values: Any, within: float = LIMIT) -> None:
        """Ask until the answer is true."""
        with anyio.fail_after(within):
            while not await self.value(query, *values):  # noqa: ASYNC110 (the server has no event to wait for)
                await anyio.sleep(0.01)

    async def cut(self, which: str = "true") -> int:
        """Terminate the backends of storages of which this is true; return how many there were."""
        query = f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {SERVERS} AND ({which})"  # noqa: S608
        return int(await self.value(query))

    async def until_alone(self) -> None:
        """Return when no backend works for a storage any more."""
        await self.until(f"SELECT count(*) = 0 FROM pg_stat_activity WHERE {SERVERS}")  # noqa: S608

    async def _call(self, function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        call = partial(self._portal.call, function, *args)
        return await to_thread.run_sync(call)


@asynccontextmanager
async def outsider(dsn: str) -> AsyncGenerator[Outsider]:
    """Connect somebody else; what he has begun and not committed is rolled back at the end of the block."""
    with start_blocking_portal("asyncio") as portal:
        connection: asyncpg.Connection[Any] = await to_thread.run_sync(portal.call, _connect, dsn)
        try:
            yield Outsider(portal, connection)
        finally:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(portal.call, _leave, connection)


async def _connect(dsn: str) -> asyncpg.Connection[Any]:
    connection: asyncpg.Connection[Any] = await asyncpg.connect(dsn)
    return connection


async def _leave(connection: asyncpg.Connection[Any]) -> None:
    try:
        await connection.close(timeout=5)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):  # the test stopped the server: TimeoutError, too
        connection.terminate()
