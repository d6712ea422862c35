"""The storage in Postgres, for many workers on many machines, on asyncio and on Trio.

asyncpg needs an asyncio loop. On asyncio that is the host's; anywhere else a thread has one (`_loops`), to which each
call is one hop.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from uuid import uuid4

import anyio
from anyio import CancelScope

from stepwell._model import Change, Definition, Entry, Page, Query, Status, Stored, Unit
from stepwell.storage._families import check_purge
from stepwell.storage._loops import Loop, loop_for_host
from stepwell.storage._postgres import _claim, _schema
from stepwell.storage._postgres._address import Address, quoted_schema
from stepwell.storage._postgres._commit import commit_changes, commit_parts, is_one_change
from stepwell.storage._postgres._database import Connection, Database, DatabaseAway
from stepwell.storage._postgres._find import select
from stepwell.storage._postgres._horizon import Horizon
from stepwell.storage._postgres._lifeline import PostgresLifeline
from stepwell.storage._postgres._listener import Listener
from stepwell.storage._postgres._purge import purge
from stepwell.storage._postgres._rows import entry, row, stored
from stepwell.storage._postgres._sql import Statements
from stepwell.storage._postgres._times import microseconds
from stepwell.storage._postgres._within import (
    PostgresCallersTransaction,
    PostgresStepTransaction,
    step_transaction,
)
from stepwell.storage._protocol import Capability, Claims, Lease, Lifeline, Renewal, StorageError
from stepwell.storage._unreadable import readable

__all__ = ["PostgresStorage"]

T = TypeVar("T")

logger = logging.getLogger("stepwell")

_LAST_SEQ: Final = 2**31 - 1
_RENEWAL_TRIES: Final = 5
_RENEWAL_PAUSE: Final = 0.1
"""how often, and after how many seconds, a lease whose row is locked is tried again"""


Prepare = Callable[[Connection], Awaitable[tuple[str, ...]]]
"""Sees to the tables, and tells which migrations were applied."""


class _Opened:
    """What there is between enter and exit. All of it is used in the driver's loop only."""

    def __init__(self, loop: Loop, database: Database, renewals: Database, steps: Database, listener: Listener) -> None:
        self.loop = loop
        self.database = database
        self.renewals = renewals
        self.steps = steps
        self.listener = listener
        self.horizon = Horizon()
        self.process = os.getpid()

    async def open_patiently(self, prepare: Prepare, wait: float) -> tuple[str, ...]:
        """In the host's loop: open, as often as it takes for up to *wait* seconds; return what was applied."""
        until = anyio.current_time() + wait
        pause = 0.1
        is_waiting = False
        while True:
            try:
                return await self.loop.run(self._open, prepare)
            except DatabaseAway as error:
                with CancelScope(shield=True):
                    await self.loop.run(self._close_databases)
                if anyio.current_time() + pause > until:
                    raise
                if not is_waiting:
                    logger.warning("waiting for the database, up to %g s: %s", wait, error)
                    is_waiting = True
            except BaseException:
                with CancelScope(shield=True):
                    await self.loop.run(self._close_databases)
                raise
            await anyio.sleep(pause)
            pause = min(pause * 2, 2.0)

    async def _open(self, prepare: Prepare) -> tuple[str, ...]:
        await self.database.open()
        await self.renewals.open()
        await self.steps.open(connects=False)  # most programs have no such steps
        return await self.database.unit(prepare, limit=600.0)

    async def close(self) -> None:
        await self.listener.close()
        await self._close_databases()

    async def _close_databases(self) -> None:
        await self.steps.close()
        await self.renewals.close()
        await self.database.close()


class PostgresStorage:
    """Keeps everything in the tables of one schema of the database that *dsn* names.

    `postgresql://user:password@host:5432/database`; what is left out is taken from the environment, as libpq does. The
    tables lie in *schema*. They are made and brought up to date on entering, under a lock, so any number of processes
    may start at once; with *migrate* False a schema that isn't up to date is refused instead, and the role needs no
    right but to read and write the tables. A server that isn't there yet is waited for, up to *wait* seconds.

    With *notify* other processes hear at once what concerns them (LISTEN and NOTIFY); without, at their next poll.
    Behind PgBouncer in transaction mode say `pooler=True, notify=False`. Up to *connections* are opened for all that an
    engine does, two more for renewals and for listening, and up to *transactions* for transactional steps. *clock*
    tells seconds since the epoch, for tests; without it the server's clock decides.

    Belongs to the event loop in which it was entered; other loops and processes open one of their own.
    """

    is_remote: Final = True
    """It works in another process, so that commits and handlers can go on side by side."""

    def __init__(
        self,
        dsn: str,
        *,
        schema: str = "stepwell",
        migrate: bool = True,
        notify: bool = True,
        pooler: bool = False,
        connections: int = 8,
        transactions: int = 10,
        wait: float = 30.0,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """Remember where the database is. Raises StorageError for a DSN or a schema that can't be one."""
        self._address = Address(dsn)
        self._schema = quoted_schema(schema)
        self._sql = Statements(self._schema)
        self._channel = f"stepwell_{schema}"[:63] if notify else ""
        self._migrate = migrate
        self._notify = notify
        self._pooler = pooler
        self._connections = connections
        self._transactions = transactions
        self._wait = wait
        self._clock = clock
        self._opened: _Opened | None = None
        self._is_entered = False
        self._applied: tuple[str, ...] = ()

    @staticmethod
    def script(schema: str = "stepwell") -> str:
        """Return the SQL that makes the tables from nothing, for those who want to run it by hand.

        A schema that was made so is recognised as up to date. Raises StorageError for a name that isn't plain.
        """
        return _schema.script(quoted_schema(schema))

    @property
    def applied(self) -> tuple[str, ...]:
        """The names of the migrations that were applied when the storage was entered; empty if it was up to date."""
        return self._applied

    @property
    def address(self) -> str:
        """The DSN without its password, to be shown."""
        return self._address.shown

    async def __aenter__(self) -> Self:
        """Connect, and bring the tables up to date. Raises StorageError, which says what to do."""
        if self._is_entered:
            raise StorageError(f"{self._address.name}: this storage is open already; open a second one")
        self._is_entered = True
        try:
            loop = await loop_for_host()
            try:
                opened = self._make(loop)
                prepare = partial(_schema.prepare, schema=self._schema, migrate=self._migrate)
                self._applied = await opened.open_patiently(prepare, self._wait)
            except BaseException:
                await loop.close()
                raise
        except BaseException:
            self._is_entered = False
            raise
        self._opened = opened
        return self

    def _make(self, loop: Loop) -> _Opened:
        database = Database(self._address, connections=self._connections, pooler=self._pooler)
        renewals = Database(self._address, connections=1, pooler=self._pooler)
        steps = Database(self._address, connections=self._transactions, pooler=self._pooler, is_for_users=True)
        listener = Listener(database, self._channel, uuid4().hex)
        return _Opened(loop, database, renewals, steps, listener)

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        """Close the connections. Can't be cancelled; takes a few seconds at most."""
        opened = self._open()
        self._opened = None
        with CancelScope(shield=True):
            try:
                await opened.loop.run(opened.close)
            finally:
                await opened.loop.close()
                self._is_entered = False

    async def define(self, definitions: Sequence[Definition], /) -> tuple[Definition, ...]:
        """Make workflows known; return those stored ones that contradict."""
        return await self._unit(_claim.define, self._sql, definitions)

    async def commit(self, units: Sequence[Unit], /) -> list[bool | None]:
        """Commit each unit whole or not at all; return for each whether it was, and None where a row is locked.

        Once it was sent it can't be cancelled; it is answered or given up within 15 seconds.
        """
        opened = self._open()
        return await opened.loop.run(self._commit, opened, units)

    async def _commit(self, opened: _Opened, units: Sequence[Unit]) -> list[bool | None]:
        """In the driver's loop: first all that is one Change, then the others."""
        results: list[bool | None] = [False] * len(units)
        places = [place for place, unit in enumerate(units) if is_one_change(unit)]
        if places:
            changes: list[Any] = [units[place][0] for place in places]
            done = await opened.database.unit(commit_changes, self._sql, changes, self._now())
            for place, result in zip(places, done, strict=True):
                results[place] = result
        if len(places) < len(units):
            others = sorted(set(range(len(units))).difference(places))
            done = await opened.database.unit(commit_parts, self._sql, [units[place] for place in others], self._now())
            for place, result in zip(others, done, strict=True):
                results[place] = result
        if any(_concerns_others(unit, result=result) for unit, result in zip(units, results, strict=True)):
            opened.listener.send()
        return results

    async def claim(
        self,
        worker: str,
        capabilities: Sequence[Capability],
        /,
        *,
        limit: int,
        lease: float,
        held: Sequence[Lease] = (),
    ) -> Claims:
        """Lease up to *limit* due executions of these workflows to *worker*, longest due first."""
        if limit < 0:
            msg = f"limit must be 0 or more, not {limit}"
            raise ValueError(msg)
        horizon = self._open().horizon
        ask = partial(_claim.claim, limit=limit, lease=lease, held=held, now=self._now(), horizon=horizon)
        return await self._unit(ask, self._sql, worker, capabilities)

    async def renew(self, worker: str, leases: Sequence[Lease], /, *, lease: float) -> Renewal:
        """Move the end of the worker's *leases* to *lease* seconds from now; on a connection of its own."""
        opened = self._open()
        return await opened.loop.run(self._renew, opened.renewals, worker, leases, lease)

    async def _renew(self, database: Database, worker: str, leases: Sequence[Lease], lease: float) -> Renewal:
        for attempt in range(1, _RENEWAL_TRIES + 1):
            try:
                return await database.unit(
                    partial(_claim.renew, lease=lease, now=self._now()), self._sql, worker, leases
                )
            except _claim.Locked as error:  # by a commit, most likely, which takes no time
                if attempt == _RENEWAL_TRIES:
                    return (
                        error.renewal
                    )  # the others go on: it may be a transaction of the user's, which takes its time
            await anyio.sleep(_RENEWAL_PAUSE)
        raise AssertionError("unreachable")

    async def load(self, id: str, /) -> Stored | None:
        """Return the execution with its whole journal and its signals, as of one moment; None if there is none."""
        record = await self._unit(_fetch_one, self._sql.load, self._now(), id)
        return None if record is None else readable(stored(record))

    async def journal(self, id: str, /, *, after: int = 0, limit: int = 1000) -> list[Entry]:
        """Return up to *limit* entries with a `seq` above *after*, in order; empty if there is no such execution."""
        first = min(max(after, 0), _LAST_SEQ)
        records = await self._unit(_fetch, self._sql.journal, id, first, min(first + limit, _LAST_SEQ))
        return [entry(record) for record in records]

    async def find(self, query: Query, /) -> Page:
        """Return one page of rows that match, newest first, ties by id descending.

        A page has at most 1,000 rows. Raises ValueError if `query.limit` is below 1 or above 1,000.
        """
        text, values = select(self._sql.find, query)
        records = await self._unit(_fetch, text, *values)
        return Page(tuple(row(record) for record in records[: query.limit]), more=len(records) > query.limit)

    async def purge(self, age: float, /, *, limit: int) -> int:
        """Delete up to *limit* executions that ended *age* seconds ago or earlier; return how many."""
        check_purge(age, limit)
        return await self._unit(purge, self._sql.schema, age, limit, self._now())

    async def wakeup(self) -> None:
        """Return when another engine has committed what may concern this one; without *notify*, one of this process."""
        opened = self._open()
        await opened.loop.run(opened.listener.heard)

    def lifeline(self) -> Lifeline:
        """Open a synchronous renewer; the first renewal starts its thread and its connection. Raises StorageError."""
        self._open()
        database = Database(self._address, connections=1, pooler=self._pooler)
        return PostgresLifeline(database, self._sql, self._now)

    # -- transactions that hold rows of the user's (`_transactions.TransactionalStorage`) ------------------------------

    def no_transactions_because(self) -> str | None:
        """Return why no connection of the user's can be used: only asyncio has them."""
        if self._open().loop.is_host:
            return None
        return "asyncpg connections live in an asyncio loop, and this program runs on another one"

    def within(self, connection: Any, /) -> PostgresCallersTransaction:
        """Return the transaction that is open on *connection*. Raises InvalidArgument where there is none."""
        return PostgresCallersTransaction(
            self._open().database, self._sql, connection, now=self._now, channel=self._channel
        )

    def transaction(self) -> AbstractAsyncContextManager[PostgresStepTransaction]:
        """Open a transaction for a step; left without a commit, it is rolled back. Raises StorageError."""
        return step_transaction(self._open().steps, self._sql, self._now, self._tell_others)

    def _tell_others(self, unit: Unit) -> None:
        if _concerns_others(unit, result=True):
            self._open().listener.send()

    async def _unit(self, work: Callable[..., Awaitable[T]], *args: Any) -> T:
        opened = self._open()
        return await opened.loop.run(opened.database.unit, work, *args)

    def _now(self) -> int | None:
        return None if self._clock is None else microseconds(self._clock())

    def _open(self) -> _Opened:
        if self._opened is None:
            raise StorageError(
                f"{self._address.name}: the storage is not open; use `async with PostgresStorage(...) as storage`"
            )
        if self._opened.process != os.getpid():
            raise StorageError(
                f"{self._address.name}: the storage was opened before this process was forked; open one in the child"
            )
        return self._opened


def _concerns_others(unit: Unit, *, result: bool | None) -> bool:
    """Tell whether another process may be waiting for it: not for a step that goes on under its lease."""
    if not result:
        return False
    return any(not isinstance(part, Change) or part.row.status is not Status.RUNNING for part in unit)


async def _fetch(connection: Connection, sql: str, *values: Any) -> list[Any]:
    return list(await connection.fetch(sql, *values))


async def _fetch_one(connection: Connection, sql: str, *values: Any) -> Any:
    return await connection.fetchrow(sql, *values)
