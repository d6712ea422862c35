"""Transactions that hold rows of the user's: the caller's own (the outbox), and those that are opened for a step.

They wait for a row that somebody else has locked, unlike other commits, since they can't be sent again. The server sees
them wait, and ends one of two that wait for each other.

Only where the host's loop is asyncio's: a connection can't be used in two loops.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import anyio
import asyncpg
from anyio import CancelScope

from stepwell.storage._postgres._commit import decide_and_write
from stepwell.storage._postgres._database import DRIVER_ERRORS
from stepwell.storage._postgres._plan import ids_of
from stepwell.storage._postgres._rows import stored
from stepwell.storage._protocol import StorageError
from stepwell.storage._transactions import TransactionLost, TransactionRefused

if TYPE_CHECKING:
    from collections.abc import Callable

    from stepwell._model import Stored, Unit
    from stepwell.storage._postgres._database import Database
    from stepwell.storage._postgres._sql import Statements

__all__ = ["PostgresCallersTransaction", "PostgresStepTransaction", "step_transaction"]

_ROLLBACK_LIMIT: Final = 2.0
_COMMIT_LIMIT: Final = 10.0
"""seconds"""
_LOST: Final = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError, asyncpg.LockNotAvailableError)
_REFUSED: Final = (
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.InFailedSQLTransactionError,
    asyncpg.TriggeredDataChangeViolationError,
    asyncpg.RaiseError,
)
_NOTIFY: Final = "SELECT pg_notify($1, '')"


class PostgresCallersTransaction:
    """The transaction that is open on a connection of the caller's. Hints go out when it is committed."""

    def __init__(
        self, database: Database, sql: Statements, connection: Any, *, now: Callable[[], int | None], channel: str
    ) -> None:
        """See that there is a transaction. Raises StorageError."""
        if not callable(getattr(connection, "is_in_transaction", None)):
            raise StorageError(f"connection must be an asyncpg connection, not {type(connection).__name__}")
        if not connection.is_in_transaction():
            raise StorageError(
                "the connection has no open transaction; use it inside `async with connection.transaction():`, so that "
                "the execution exists exactly if your rows do"
            )
        self._database = database
        self._sql = sql
        self._connection = connection
        self._now = now
        self._channel = channel

    async def load(self, id: str, /) -> Stored | None:
        """Return the execution as this transaction sees it. Raises StorageError."""
        try:
            record = await self._connection.fetchrow(self._sql.load, self._now(), id)
        except DRIVER_ERRORS as error:
            raise self._database.error(error) from error
        return None if record is None else stored(record)

    async def commit(self, unit: Unit, /) -> bool:
        """Write *unit*; a row that somebody else has locked is waited for. Raises StorageError."""
        try:
            while True:
                async with self._connection.transaction():  # a savepoint: what fails leaves the caller's work alone
                    (result,) = await decide_and_write(self._connection, self._sql, [unit], self._now())
                if result is not None:
                    break
                async with self._connection.transaction():
                    await self._connection.execute(self._sql.wait, ids_of(unit))
            if result and self._channel:
                await self._connection.execute(_NOTIFY, self._channel)
        except DRIVER_ERRORS as error:
            raise self._database.error(error) from error
        return result


class PostgresStepTransaction:
    """A transaction for one step, on a connection of a pool that bounds how many there are at a time."""

    def __init__(self, database: Database, sql: Statements, connection: Any, now: Callable[[], int | None]) -> None:
        self._database = database
        self._sql = sql
        self._now = now
        self._transaction = connection.transaction(isolation="read_committed")
        self.connection = connection
        self._is_over = False

    async def begin(self) -> None:
        """Open it."""
        await self._transaction.start()

    async def commit(self, unit: Unit, /) -> bool:
        """Write *unit* as its last statement and commit; False, and all is open still, if a guard doesn't hold."""
        try:
            while True:
                (result,) = await decide_and_write(self.connection, self._sql, [unit], self._now())
                if result is not None:
                    break
                await self.connection.execute(self._sql.wait, ids_of(unit))
        except DRIVER_ERRORS as error:
            raise self._told(error, is_sent=False) from error
        if not result:
            return False
        self._is_over = True
        with CancelScope(shield=True):
            try:
                with anyio.fail_after(_COMMIT_LIMIT):
                    await self._transaction.commit()
            except DRIVER_ERRORS as error:
                self.connection.terminate()
                raise self._told(error, is_sent=True) from error
        return True

    def _told(self, error: BaseException, *, is_sent: bool) -> Exception:
        """Say whether the step is to blame, nobody is, or it can't be known what became of it."""
        if isinstance(error, _REFUSED):
            return TransactionRefused(f"the database refused to commit what the step did: {error}")
        if isinstance(error, _LOST) or not is_sent:
            return TransactionLost(f"the step's transaction is gone: {error}")
        return self._database.error(error)

    async def end(self) -> None:
        """Roll back what was not committed."""
        if self._is_over or self.connection.is_closed():
            return
        with anyio.move_on_after(_ROLLBACK_LIMIT, shield=True) as limit:
            try:
                await self._transaction.rollback()
            except DRIVER_ERRORS:
                self.connection.terminate()
        if limit.cancelled_caught:
            self.connection.terminate()


@asynccontextmanager
async def step_transaction(
    database: Database, sql: Statements, now: Callable[[], int | None]
) -> AsyncGenerator[PostgresStepTransaction]:
    """Open a transaction for a step; left without a commit, it is rolled back. Raises StorageError."""
    async with database.lent() as connection:
        transaction = PostgresStepTransaction(database, sql, connection, now)
        try:
            await transaction.begin()
        except DRIVER_ERRORS as error:
            raise database.error(error) from error
        try:
            yield transaction
        finally:
            await transaction.end()
