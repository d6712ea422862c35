"""A table of the user's beside the engine's, and what tests of transactions do with it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncpg

from stepwell import Context, Engine, Retry, Workflow, activity, fail, succeed
from stepwell.storage.postgres import PostgresStorage

__all__ = ["Ctx", "Orders", "booking", "insert", "open_orders"]

Ctx = Context[int]


class Orders:
    """The table `orders (id integer primary key, note text)`, a pool of the user's, and storages on that database."""

    def __init__(self, dsn: str, pool: asyncpg.Pool[Any], stack: AsyncExitStack) -> None:
        self.dsn = dsn
        self.pool = pool
        self._stack = stack

    async def storage(self, **options: Any) -> PostgresStorage:
        """Open a storage for as long as the test runs."""
        return await self._stack.enter_async_context(PostgresStorage(self.dsn, **options))

    async def engine(self, *workflows: Workflow[Any, Any], storage: PostgresStorage | None = None) -> Engine:
        """Open an engine for as long as the test runs, on a storage of its own if none is given."""
        used = await self.storage() if storage is None else storage
        return await self._stack.enter_async_context(Engine(used, workflows=workflows))

    async def run(self, workflow: Workflow[int, Any], number: int = 1) -> Any:
        """Run an execution to its end on an engine with a worker, and return its output."""
        engine = await self.engine(workflow)
        async with engine.worker():
            return await (await engine.start(workflow, number, id="one")).result(60)

    async def rows(self) -> list[int]:
        """Return the ids of the orders that are committed."""
        return [id for (id,) in await self.pool.fetch("SELECT id FROM orders ORDER BY id")]

    async def execute(self, statement: str, *args: Any) -> None:
        """Do it at once, on a connection that has nothing to do with any step."""
        await self.pool.execute(statement, *args)


@asynccontextmanager
async def open_orders(dsn: str) -> AsyncGenerator[Orders]:
    async with asyncpg.create_pool(dsn, min_size=0) as pool, AsyncExitStack() as stack:
        await pool.execute("CREATE TABLE orders (id integer PRIMARY KEY, note text)")
        yield Orders(dsn, pool, stack)


async def insert(connection: Any, number: int) -> None:
    await connection.execute("INSERT INTO orders (id) VALUES ($1)", number)


def booking(
    function: Callable[[Ctx], Any],
    *,
    retry: int | Retry = 1,
    timeout: float | None = 30.0,
    catch: type[Exception] | None = None,
    name: str = "booking",
) -> Workflow[int, Any]:
    """A workflow of the transactional activity `book`, and a terminal that returns what it gave."""
    book: Any = activity(name="book", retry=retry, timeout=timeout, returns=Any, transactional=True)(function)

    @succeed
    def booked(ctx: Ctx) -> Any:
        return ctx.output("book")

    @fail
    def caught(ctx: Ctx) -> str:
        return ctx.failure("book").type

    edge = book.then(booked, catch={catch: caught}) if catch else book.then(booked)
    return Workflow[int, Any](name, version="1", start=book, edges=[edge])
