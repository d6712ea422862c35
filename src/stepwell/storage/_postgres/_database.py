"""Connections to one database, the unit of work, and what the server's errors mean. Runs in an asyncio loop.

Rule 1: waiting for a connection may be cancelled. What was begun with it may not: work and release are shielded
together, since a cancelled COMMIT may have happened all the same. A time limit stands over them; at its end the
connection is cut, and what became of the work is unknown.
Rule 2: every error of the driver, of the network and of the server becomes a StorageError, which names the server
without its password.
Rule 3: nothing relies on the state of a session, so that a pooler in transaction mode may stand between.
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import anyio
import asyncpg
from anyio import CancelScope

from stepwell.storage._postgres._errors import AGAIN, DRIVER, DatabaseAway, has_sent_nothing, meant
from stepwell.storage._postgres._users_connection import CLEAN, UsersConnection
from stepwell.storage._protocol import StorageError

if TYPE_CHECKING:
    from stepwell.storage._postgres._address import Address

__all__ = ["Connection", "Database", "DatabaseAway"]

T = TypeVar("T")

Connection: TypeAlias = "asyncpg.Connection[Any] | asyncpg.pool.PoolConnectionProxy[Any]"
"""What runs statements: a connection, or a pool's stand-in for one."""

_UNIT_LIMIT: Final = 15.0
"""seconds that a unit of work may take once it has a connection"""
_RELEASE_LIMIT: Final = 2.0
_CONNECT_LIMIT: Final = 10.0
_CLOSE_LIMIT: Final = 5.0
"""seconds"""
_TRIES: Final = 12
"""how often a transaction is run that the server gives up for the sake of others"""
_JITTER: Final = random.SystemRandom()
"""not the generator that user code may seed, and expects to go on from there"""
_FIRST_PAUSE: Final = 0.004
_LONGEST_PAUSE: Final = 0.25
"""seconds at most before it is begun again; doubled from the first on, half of it on average: 0.8 s in all. Where every
commit is serializable, as behind a pooler in a database of that default, a few workers need some tries to get by.
"""

_SESSION: Final = {
    "application_name": "stepwell",
    # Whatever the database or the role has by default: each statement here looks at its rows again once it has locked
    # them, as read committed does, and a guard that doesn't hold is an answer, not an error.
    "default_transaction_isolation": "read committed",
    # Every statement goes by an index to a few rows. Plans are made once and kept, perhaps from when a table was empty.
    "enable_seqscan": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}


class Database:
    """A pool of connections, opened as they are needed."""

    def __init__(self, address: Address, *, connections: int, pooler: bool, is_for_users: bool = False) -> None:
        """Open up to *connections*; behind a *pooler*, prepare no statements and set nothing for the session.

        Those *for users* are planned for as the server plans any statement, and cleaned before somebody else gets them.
        """
        self.address = address
        self._connections = connections
        self._options: dict[str, Any] = {
            "password": address.password,
            "timeout": _CONNECT_LIMIT,
            "statement_cache_size": 0 if pooler else 200,
            "server_settings": {"application_name": "stepwell"} if pooler or is_for_users else _SESSION,
        }
        if is_for_users:
            self._options["connection_class"] = UsersConnection
        self._reset = _clean if is_for_users and not pooler else _keep_as_it_is
        self._pool: asyncpg.Pool[Any] | None = None

    async def open(self, *, connects: bool = True) -> None:
        """Make the pool, and if it *connects*, see that the server answers. Raises StorageError."""
        try:
            self._pool = await asyncpg.create_pool(
                self.address.dsn,
                min_size=0,
                max_size=self._connections,
                max_inactive_connection_lifetime=0,
                reset=self._reset,
                **self._options,
            )
            if connects:
                await self.unit(_answers)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Close all connections; cut those that don't close in time."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        with CancelScope(shield=True):
            with anyio.move_on_after(_CLOSE_LIMIT), suppress(*DRIVER):  # the server may be gone
                await pool.close()
                return
            pool.terminate()

    async def connect(self) -> asyncpg.Connection[Any]:
        """Open a connection beside the pool, for one who needs one for himself. Raises StorageError."""
        try:
            connection: asyncpg.Connection[Any] = await asyncpg.connect(self.address.dsn, **self._options)
        except Exception as error:  # as in _acquired
            raise self.error(error) from error
        return connection

    async def _acquired(self) -> tuple[asyncpg.Pool[Any], Any]:
        """Return a connection of the pool, opened if need be, and the pool. Raises StorageError."""
        pool = self._pool
        if pool is None:
            raise StorageError(f"{self.address.name}: the storage is closed")
        try:
            return pool, await pool.acquire()
        except Exception as error:  # the driver stumbles over what isn't Postgres in many ways
            raise self.error(error) from error

    async def unit(self, work: Callable[..., Awaitable[T]], *args: Any, limit: float = _UNIT_LIMIT) -> T:
        """Return what *work* does with a connection of the pool; begun, it can't be cancelled. Raises StorageError.

        Where the server ended its transaction for the sake of others, or the connection just before, it is begun again.
        """
        for attempt in range(1, _TRIES + 1):
            try:
                return await self._once(work, args, limit)
            except AGAIN as error:
                if attempt == _TRIES:
                    raise self.error(error) from error
            except asyncpg.InternalClientError as error:
                if attempt == _TRIES or not has_sent_nothing(error):
                    raise self.error(error) from error
            except DRIVER as error:
                raise self.error(error) from error
            pause = min(_FIRST_PAUSE * 2 ** (attempt - 1), _LONGEST_PAUSE)
            await anyio.sleep(pause * _JITTER.random())
        raise AssertionError("unreachable")

    async def _once(self, work: Callable[..., Awaitable[T]], args: tuple[Any, ...], limit: float) -> T:
        pool, connection = await self._acquired()
        with CancelScope(shield=True):
            try:
                with anyio.fail_after(limit):
                    result = await work(connection, *args)
            except (asyncpg.ReadOnlySQLTransactionError, asyncpg.InternalClientError):
                # To a standby, perhaps since a moment ago: its name may stand for another one. Or it is broken.
                connection.terminate()
                raise
            except TimeoutError:
                connection.terminate()
                raise DatabaseAway(f"{self.address.name}: the server didn't answer within {limit:g} s") from None
            finally:
                await _release(pool, connection)
            return result
        raise AssertionError("a scope that nobody cancels swallows nothing")

    @asynccontextmanager
    async def lent(self) -> AsyncGenerator[Any]:
        """Lend a connection of the pool for as long as the block runs. Raises StorageError if none can be had."""
        pool, connection = await self._acquired()
        try:
            yield connection
        finally:
            await _release(pool, connection)

    def error(self, cause: BaseException) -> StorageError:
        """Return *cause* as an error of this storage: which server, and what to do."""
        return meant(cause, self.address.name)


async def _release(pool: asyncpg.Pool[Any], connection: Any) -> None:
    with anyio.move_on_after(_RELEASE_LIMIT, shield=True) as limit, suppress(*DRIVER):
        if getattr(connection, "is_altered", False):  # what was cut has gone back already
            await connection.close()
        await pool.release(connection)  # where that fails, it cuts the connection
    if limit.cancelled_caught:
        with suppress(asyncpg.InterfaceError):  # it may be released all the same
            connection.terminate()


async def _answers(connection: Connection) -> None:
    await connection.execute("SELECT 1")


async def _keep_as_it_is(_: asyncpg.Connection[Any]) -> None:
    """Reset nothing: no statement here leaves anything behind, and the default costs a round trip for each unit."""


async def _clean(connection: asyncpg.Connection[Any]) -> None:
    await connection.execute(CLEAN)
