"""Databases for tests: made from a template that was migrated once, and most of them used again.

To make a database and drop it costs 30 ms or so, to empty one 2 ms. So one is shared: between two tests its rows are
deleted, and it is made anew if a test changed anything else. What does DDL asks for a database of its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from secrets import token_hex
from typing import Final
from urllib.parse import urlsplit

import asyncpg
from anyio.from_thread import BlockingPortal, start_blocking_portal

from tests.support.postgres._shared import SharedDatabase

__all__ = ["Databases", "Migrate", "open_databases", "with_database"]

Migrate = Callable[[str], Awaitable[None]]
"""Brings the database with this URL up to date."""

USES: Final = 50
"""How many tests share one database: deleted rows stay in its files, and nobody sweeps them out."""


def with_database(dsn: str, name: str) -> str:
    """Return the URL of another database of the same server."""
    parts = urlsplit(dsn)
    # Not urlunsplit: it would drop the slashes of a URL whose host stands in the query, as that of a socket does.
    return f"{parts.scheme}://{parts.netloc}/{name}{parts.query and '?'}{parts.query}"


@contextmanager
def open_databases(dsn: str, migrate: Migrate) -> Generator[Databases]:
    """Provide databases on the server with this URL; all of them are dropped at the end of the block."""
    with start_blocking_portal("asyncio") as portal:  # a thread of its own: the test may have a loop, or Trio
        server = _Server(dsn, migrate)
        try:
            yield Databases(portal, server)
        finally:
            portal.call(server.close)


class Databases:
    """The databases of one test session. Its methods block, and may be called in or beside any event loop."""

    def __init__(self, portal: BlockingPortal, server: _Server) -> None:
        self._portal = portal
        self._server = server

    @contextmanager
    def fresh(self, *, migrated: bool = True) -> Generator[str]:
        """Give the URL of a database that nobody else sees; it is dropped at the end, whoever is still connected."""
        dsn = self._portal.call(self._server.create, migrated)
        try:
            yield dsn
        finally:
            self._portal.call(self._server.drop, dsn)

    def shared(self) -> str:
        """Give the URL of the shared database, as empty as the template; whoever is still connected is thrown out."""
        return self._portal.call(self._server.shared)


class _Server:
    """What happens in the thread's loop. Several sessions may use one server: names begin with a random one."""

    def __init__(self, dsn: str, migrate: Migrate) -> None:
        self._dsn = dsn
        self._migrate = migrate
        self._prefix = f"stepwell_test_{token_hex(6)}"
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self._names: list[str] = []
        self._made = 0
        self._template = ""
        self._shared: SharedDatabase | None = None

    async def create(self, migrated: bool) -> str:  # noqa: FBT001 (a portal passes arguments by position)
        """Make a database."""
        template = await self._migrated() if migrated else "template0"
        name = await self._create(template)
        return with_database(self._dsn, name)

    async def drop(self, dsn: str) -> None:
        """Drop a database, whoever is connected to it."""
        await self._drop(urlsplit(dsn).path.removeprefix("/"))

    async def shared(self) -> str:
        """Return the shared database, emptied, or a new one in its place."""
        if self._shared is not None and self._shared.uses < USES and await self._shared.is_emptied():
            return self._shared.dsn
        await self._drop_shared()
        self._shared = await SharedDatabase.open(await self.create(migrated=True))
        return self._shared.dsn

    async def close(self) -> None:
        """Drop all that was made."""
        if self._connection is None:
            return
        await self._drop_shared()
        for name in tuple(self._names):
            await self._drop(name)
        await self._connection.close()

    async def _drop_shared(self) -> None:
        if self._shared is not None:
            shared, self._shared = self._shared, None
            shared.terminate()
            await self.drop(shared.dsn)

    async def _migrated(self) -> str:
        """Return the name of the template; it is made when it is first needed."""
        if not self._template:
            name = await self._create("template0")
            await self._migrate(with_database(self._dsn, name))
            # A connection that is still closing would make everybody wait who copies it.
            await self._execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            await self._execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"  # noqa: S608 (our own name)
                f" WHERE datname = '{name}' AND backend_type = 'client backend'"
            )
            self._template = name
        return self._template

    async def _create(self, template: str) -> str:
        self._made += 1
        name = f"{self._prefix}_{self._made}"
        self._names.append(name)
        # Copying files is faster than logging pages, for a database as small as this.
        await self._execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy ENCODING 'UTF8'")
        return name

    async def _drop(self, name: str) -> None:
        await self._execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        self._names.remove(name)

    async def _execute(self, statement: str) -> None:
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(self._dsn)
        await self._connection.execute(statement)
