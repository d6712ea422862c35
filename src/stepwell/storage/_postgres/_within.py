"""Transactions that hold rows of the user's: the caller's own (the outbox), and those that are opened for a step.

They wait for a row that somebody else has locked, unlike other commits, since they can't be sent again. The server sees
them wait, and ends one of two that wait for each other.

Only where the host's loop is asyncio's: a connection can't be used in two loops.

Starts a task: the commit of a step's transaction, which no cancellation may cut in two.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import anyio
import asyncpg
from anyio import CancelScope

from stepwell._checks import InvalidArgument
from stepwell._raised import holds, is_a
from stepwell.storage._postgres._commit import Raced, commit_changes, decide_and_write, is_one_change
from stepwell.storage._postgres._errors import DRIVER
from stepwell.storage._postgres._plan import ids_of
from stepwell.storage._postgres._rows import stored
from stepwell.storage._protocol import StorageError
from stepwell.storage._transactions import TransactionLost, TransactionRefused
from stepwell.storage._unreadable import readable

if TYPE_CHECKING:
    from collections.abc import Callable

    from stepwell._model import Stored, Unit
    from stepwell.storage._postgres._database import Connection, Database
    from stepwell.storage._postgres._sql import Statements

__all__ = ["PostgresCallersTransaction", "PostgresStepTransaction", "step_transaction"]

_RACES: Final = 5
"""how often somebody else may create what is being created; one who reads what is committed meets him once"""
_ROLLBACK_LIMIT: Final = 2.0
_LIMIT: Final = 10.0
"""seconds that beginning may take, and committing"""
_LEAVE_LIMIT: Final = 2.5
"""seconds for which a step that is cancelled waits for its commit"""
_CUT: Final = (
    OSError,  # and with it TimeoutError
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
"""Errors after which it isn't known what became of a COMMIT that was sent."""
_GONE: Final = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError, asyncpg.PostgresConnectionError)
"""Errors for which no step is to blame, whatever it did when they came."""
_LOST: Final = (
    *_GONE,
    OSError,
    asyncpg.LockNotAvailableError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    Raced,
    StorageError,
)
"""Errors for which no step is to blame when they come to a statement of ours."""
_ENDED: Final = (asyncpg.InvalidSavepointSpecificationError, asyncpg.NoActiveSQLTransactionError)
_NOTIFY: Final = "SELECT pg_notify($1, '')"

_MARK: Final = "SAVEPOINT stepwell_step"
_OWN_AGAIN: Final = """
    RELEASE SAVEPOINT stepwell_step; RESET SESSION AUTHORIZATION; RESET ROLE; SET LOCAL statement_timeout = 0;
    SET LOCAL enable_seqscan = off; SET LOCAL enable_mergejoin = off; SET LOCAL jit = off"""
"""Fails unless the transaction is the one that was opened for the step, and undoes what the step may have set."""


class PostgresCallersTransaction:
    """The transaction that is open on a connection of the caller's. Hints go out when it is committed."""

    def __init__(
        self, database: Database, sql: Statements, connection: Any, *, now: Callable[[], int | None], channel: str
    ) -> None:
        """See that there is a transaction. Raises InvalidArgument."""
        _check_open(connection)
        self._database = database
        self._sql = sql
        self._connection = connection
        self._now = now
        self._channel = channel

    async def load(self, id: str, /) -> Stored | None:
        """Return the execution as this transaction sees it. Raises StorageError."""
        try:
            return await _load(self._connection, self._sql, self._now(), id)
        except DRIVER as error:
            raise self._error(error) from error

    async def commit(self, unit: Unit, /) -> bool:
        """Write *unit*; a row that somebody else has locked is waited for. Raises StorageError."""
        try:
            result, raced = None, 0
            while result is None:
                try:
                    result = await self._try(unit)
                except Raced as error:
                    raced += 1
                    if raced == _RACES:  # the transaction sees only what was there when it began
                        raise StorageError("another transaction has created the same execution meanwhile") from error
                else:
                    if result is None:
                        await self._wait(unit)
            if result and self._channel:
                await self._connection.execute(_NOTIFY, self._channel)
        except DRIVER as error:
            raise self._error(error) from error
        return result

    async def _wait(self, unit: Unit) -> None:
        """Wait in the server, which sees it, and ends one of two transactions that wait for each other."""
        await self._connection.execute("SAVEPOINT stepwell")
        try:
            await self._connection.execute(self._sql.wait, ids_of(unit))
        finally:
            with anyio.move_on_after(_ROLLBACK_LIMIT, shield=True):
                await self._connection.execute("ROLLBACK TO SAVEPOINT stepwell; RELEASE SAVEPOINT stepwell")

    def _error(self, error: BaseException) -> StorageError:
        if isinstance(error, asyncpg.InterfaceError):
            return StorageError(f"the connection can't be used: {error}")
        return self._database.error(error)

    async def _try(self, unit: Unit) -> bool | None:
        """Do it in a savepoint: what fails, is refused or is cancelled leaves the caller's work alone, and no lock.

        It is not the driver's, which can't be had where the caller has said BEGIN by himself.
        """
        is_done = False
        await self._connection.execute("SAVEPOINT stepwell")
        try:
            (result,) = await decide_and_write(self._connection, self._sql, [unit], self._now())
            is_done = bool(result)
        finally:
            end = "RELEASE SAVEPOINT stepwell"
            with anyio.move_on_after(_ROLLBACK_LIMIT, shield=True):
                await self._connection.execute(end if is_done else f"ROLLBACK TO SAVEPOINT stepwell; {end}")
        return result


def _check_open(connection: Any) -> None:
    """See that it is a connection with an open transaction. Raises InvalidArgument."""
    if not callable(getattr(connection, "is_in_transaction", None)):
        raise InvalidArgument(f"connection must be an asyncpg connection, not {type(connection).__name__}")
    try:
        is_closed, is_open = connection.is_closed(), not connection.is_closed() and connection.is_in_transaction()
    except asyncpg.InterfaceError as error:  # it has gone back to its pool
        raise InvalidArgument(f"this connection can't be used: {error}") from error
    if is_closed:
        raise InvalidArgument("the connection is closed")
    if not is_open:
        raise InvalidArgument(
            "the connection has no open transaction; use it inside `async with connection.transaction():`, so that "
            "the execution exists exactly if your rows do"
        )


class PostgresStepTransaction:
    """A transaction for one step, on a connection of a pool that bounds how many there are at a time."""

    def __init__(
        self,
        database: Database,
        sql: Statements,
        connection: Any,
        now: Callable[[], int | None],
        committed: Callable[[Unit], None],
    ) -> None:
        """Tell *committed* of the unit with which it was committed."""
        self._database = database
        self._sql = sql
        self._now = now
        self._committed = committed
        self._transaction = connection.transaction(isolation="read_committed")
        self.connection = connection
        self._is_own = False
        """whether the step's part is over and the rest is ours"""
        self._is_over = False

    async def begin(self) -> None:
        """Open it. Raises StorageError."""
        with CancelScope(shield=True):
            try:
                with anyio.fail_after(_LIMIT):
                    await self._transaction.start()
                    await self.connection.execute(_MARK)
            except DRIVER as error:
                self._cut_off()
                raise self._database.error(error) from error

    def is_lost(self, error: BaseException | None, /) -> bool:
        """Tell whether it is gone through no fault of the step's, which has raised *error*."""
        if self._is_cut:
            return True
        if error is not None and is_a(error, StorageError):  # of a start within the step's transaction, say
            error = error.__cause__
        return error is not None and holds(error, _GONE)

    def _cut_off(self) -> None:
        with suppress(asyncpg.InterfaceError):  # the pool may have taken it back already
            self.connection.terminate()

    @property
    def _is_cut(self) -> bool:
        try:
            return bool(self.connection.is_closed())
        except asyncpg.InterfaceError:  # the pool has taken back what was cut
            return True

    async def load(self, id: str, /) -> Stored | None:
        """Return the execution as this transaction sees it; after a commit of unknown outcome, once that is over.

        Raises TransactionLost, and StorageError.
        """
        if self._is_over:
            await self._database.unit(_let_go, self._sql, id)  # the server may be at it still, and holds the row
            return await self._database.unit(_load, self._sql, self._now(), id)
        try:
            return await _load(self.connection, self._sql, self._now(), id)
        except DRIVER as error:
            raise TransactionLost(f"the step's transaction is gone: {error}") from error

    async def commit(self, unit: Unit, /) -> bool | None:
        """Write *unit* as its last statement and commit; once begun, it is waited for.

        All is open still where it returns False, since a guard doesn't hold, or None, since somebody else has locked a
        row. Raises TransactionRefused, TransactionLost, and StorageError where it may be committed or not.
        """
        task = asyncio.get_running_loop().create_task(self._commit(unit), name="stepwell commit")
        ended = anyio.Event()
        task.add_done_callback(lambda _: ended.set())
        try:
            await ended.wait()
        except BaseException as error:
            with anyio.move_on_after(_LEAVE_LIMIT, shield=True):
                await ended.wait()
            if not ended.is_set():
                self._cut_off()
                with CancelScope(shield=True):
                    await ended.wait()
            if not isinstance(error, asyncio.CancelledError):
                raise
            # Its outcome must not be lost: what cancels a scope comes again at the next checkpoint.
        return task.result()

    async def _commit(self, unit: Unit) -> bool | None:
        try:
            with anyio.fail_after(_LIMIT):
                while (result := await self._write(unit)) is None:
                    await self.connection.execute(self._sql.wait, ids_of(unit))
        except (*DRIVER, StorageError, Raced) as error:
            if isinstance(error, TimeoutError):
                self._cut_off()
            raise self._told(error) from (None if isinstance(error, _ENDED) else error)
        if not result:
            return result
        self._is_over = True
        try:
            with anyio.fail_after(_LIMIT):
                await self._transaction.commit()
        except DRIVER as error:
            if not (self._is_cut or isinstance(error, _CUT)):
                raise self._told(error) from error
            self._cut_off()
            raise self._database.error(error) from error
        self._committed(unit)
        return True

    async def _write(self, unit: Unit) -> bool | None:
        if not self._is_own:
            await self.connection.execute(_OWN_AGAIN)
            self._is_own = True
        if is_one_change(unit):
            change: Any = unit[0]
            (result,) = await commit_changes(self.connection, self._sql, [change], self._now())
        else:
            (result,) = await decide_and_write(self.connection, self._sql, [unit], self._now())
        return result

    def _told(self, error: BaseException) -> Exception:
        """Say whether the step is to blame, or nobody is. It is not committed."""
        if isinstance(error, _LOST) or self._is_cut:
            return TransactionLost(f"the step's transaction is gone: {error}")
        if isinstance(error, _ENDED):
            return TransactionRefused(
                "the step has ended its transaction itself, by COMMIT or ROLLBACK; leave that to the engine, and use "
                "`async with ctx.connection.transaction():` for a savepoint"
            )
        return TransactionRefused(f"the database refused to commit what the step did: {error}")

    async def end(self) -> None:
        """Roll back what was not committed."""
        if self._is_over or self._is_cut:
            return
        with anyio.move_on_after(_ROLLBACK_LIMIT, shield=True) as limit:
            try:
                await self._transaction.rollback()
            except DRIVER:
                self._cut_off()
        if limit.cancelled_caught:
            self._cut_off()


@asynccontextmanager
async def step_transaction(
    database: Database, sql: Statements, now: Callable[[], int | None], committed: Callable[[Unit], None]
) -> AsyncGenerator[PostgresStepTransaction]:
    """Open a transaction for a step; left without a commit, it is rolled back. Raises StorageError."""
    async with database.lent() as connection:
        transaction = PostgresStepTransaction(database, sql, connection, now, committed)
        try:
            await transaction.begin()
            yield transaction
        finally:
            await transaction.end()


async def _load(connection: Connection, sql: Statements, now: int | None, id: str) -> Stored | None:
    record: Any = await connection.fetchrow(sql.load, now, id)
    return None if record is None else readable(stored(record))


async def _let_go(connection: Connection, sql: Statements, id: str) -> None:
    await connection.fetchrow(sql.let_go, id)
