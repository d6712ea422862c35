"""The storage in one SQLite file, for one machine: any number of processes and event loops may share it.

Writes go through one thread, which groups them into transactions; reads have connections of their own.
"""

from __future__ import annotations

import os
import re
import sqlite3
import time
from collections.abc import Callable, Sequence
from threading import Lock
from types import TracebackType
from typing import Final, Self, TypeVar

from anyio import CancelScope
from msgspec import Struct

from stepwell._failure import describe
from stepwell._limits import InvalidArgument
from stepwell._model import Definition, Entry, Page, Query, Stored, Unit
from stepwell._retry import seconds
from stepwell.storage import _migrate
from stepwell.storage._families import check_purge
from stepwell.storage._protocol import Capability, Claims, Lease, Lifeline, Renewal, StorageError
from stepwell.storage._sqlite import _claim, _rows
from stepwell.storage._sqlite._commit import commit
from stepwell.storage._sqlite._file import DatabaseFile, Synchronous, rollback
from stepwell.storage._sqlite._find import select
from stepwell.storage._sqlite._purge import purge
from stepwell.storage._sqlite._reader import Readers
from stepwell.storage._sqlite._times import microseconds
from stepwell.storage._sqlite._writer import Writer
from stepwell.storage._unreadable import Unreadable, readable, unreadable

__all__ = ["SQLiteStorage"]

T = TypeVar("T")

_LAST_SEQ: Final = 2**63 - 1


class _Opened(Struct, frozen=True):
    """What there is between enter and exit."""

    file: DatabaseFile
    writer: Writer
    readers: Readers
    process: int


_DSN: Final = re.compile(r"postg[a-z]*:/", re.IGNORECASE)
"""what is meant for the other storage, and so may hold a password"""


class SQLiteStorage:
    """Keeps everything in the file at *path*, which is created, readable by its owner alone, if there is none.

    The file must lie on a disk of this machine: SQLite's locks don't hold over a network. *clock* tells seconds since
    the epoch; it is read in the transaction, in a thread, and all who share the file must agree on it. With
    *synchronous* NORMAL the last commits may be lost when the machine (not the process) dies. A write waits up to
    *busy_timeout* seconds for those of other processes, and `wakeup` looks for their commits every *poll* seconds.

    Belongs to the event loop in which it was entered; other loops and processes open one of their own.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        clock: Callable[[], float] = time.time,
        synchronous: Synchronous = "FULL",
        busy_timeout: float = 5.0,
        poll: float = 0.05,
    ) -> None:
        self._path = os.fspath(path)
        if type(self._path) is str and _DSN.match(self._path):
            raise StorageError("SQLiteStorage takes the path of a file, not a DSN; PostgresStorage takes that")
        if not callable(clock):
            raise InvalidArgument(f"clock must be a function that returns seconds, not {describe(clock)}")
        if synchronous not in ("FULL", "NORMAL"):
            raise InvalidArgument(f'synchronous must be "FULL" or "NORMAL", not {describe(synchronous)}')
        self._clock = clock
        self._synchronous: Synchronous = synchronous
        self._busy_timeout = seconds(busy_timeout, "busy_timeout")
        self._poll = seconds(poll, "poll", positive=True)
        self._opened: _Opened | None = None
        self._is_entered = False
        self._applied: tuple[str, ...] = ()

    @staticmethod
    def script() -> str:
        """Return the SQL that makes the tables from nothing, for those who want to run it by hand.

        A file that was made so is recognised as up to date.
        """
        return _migrate.script("sqlite")

    @property
    def applied(self) -> tuple[str, ...]:
        """The names of the migrations that were applied when the storage was entered; empty if it was up to date."""
        return self._applied

    async def __aenter__(self) -> Self:
        """Open the file and bring its tables up to date. Raises StorageError, which says what to do."""
        if self._is_entered:
            msg = f"{self._path}: this storage is open already; open a second one with SQLiteStorage({self._path!r})"
            raise StorageError(msg)
        self._is_entered = True
        try:
            file = DatabaseFile(self._path, synchronous=self._synchronous, busy_timeout=self._busy_timeout)
            writer = Writer(file, clock=self._clock, poll=self._poll)
            await writer.open()
        except BaseException:
            self._is_entered = False
            raise
        self._applied = file.applied
        self._opened = _Opened(file, writer, Readers(file), os.getpid())
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        """Finish what was sent, and close the file. Can't be cancelled; takes the busy timeout at most."""
        opened = self._open()
        self._opened = None
        with CancelScope(shield=True):
            await opened.readers.close()
            await opened.writer.close()
        self._is_entered = False

    async def define(self, definitions: Sequence[Definition], /) -> tuple[Definition, ...]:
        """Make workflows known; return those stored ones that contradict."""
        return await self._write(lambda connection, _: _claim.define(connection, definitions))

    async def commit(self, units: Sequence[Unit], /) -> list[bool]:
        """Commit each unit whole or not at all; return for each whether it was committed.

        A caller that is cancelled has committed nothing, or is waited for.
        """
        results = await self._write(lambda connection, now: commit(connection, units, now))
        self._open().writer.hint()
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
        return await self._write(
            lambda connection, now: _claim.claim(
                connection, worker, capabilities, limit=limit, lease=lease, held=held, now=now
            )
        )

    async def renew(self, worker: str, leases: Sequence[Lease], /, *, lease: float) -> Renewal:
        """Move the end of the worker's *leases* to *lease* seconds from now."""
        return await self._write(lambda connection, now: _claim.renew(connection, worker, leases, lease=lease, now=now))

    async def load(self, id: str, /) -> Stored | None:
        """Return the execution with its whole journal and its signals, as of one moment; None if there is none."""
        try:
            records = await self._open().readers.select(_rows.STORED, (_rows.json([id]),) * 3)
        except Unreadable as error:
            raise unreadable(id, _rows.NOT_UTF8) from error
        found = _rows.stored_by_id(records, microseconds(self._clock())).get(id)
        return None if found is None else readable(found)

    async def journal(self, id: str, /, *, after: int = 0, limit: int = 1000) -> list[Entry]:
        """Return up to *limit* entries with a `seq` above *after*, in order; empty if there is no such execution."""
        first = min(max(after, 0), _LAST_SEQ)
        last = min(first + limit, _LAST_SEQ)
        return [_rows.entry(columns) for columns in await self._open().readers.select(_rows.JOURNAL, (id, first, last))]

    async def find(self, query: Query, /) -> Page:
        """Return one page of rows that match, newest first, ties by id descending.

        A page has at most 1,000 rows. Raises ValueError if `query.limit` is below 1 or above 1,000.
        """
        limit = query.limit
        records = await self._open().readers.select(*select(query))
        return Page(tuple(_rows.row(columns) for columns in records[:limit]), more=len(records) > limit)

    async def purge(self, age: float, /, *, limit: int) -> int:
        """Delete up to *limit* executions that ended *age* seconds ago or earlier; return how many.

        The file doesn't shrink: what comes next is written where they were.
        """
        check_purge(age, limit)
        return await self._write(lambda connection, now: purge(connection, age, limit, now))

    async def wakeup(self) -> None:
        """Return when another connection, of this process or another, has committed something."""
        await self._open().writer.changed()

    def lifeline(self) -> Lifeline:
        """Open a synchronous renewer with a connection of its own. Raises StorageError."""
        return _SQLiteLifeline(self._open().file, self._clock)

    async def _write(self, work: Callable[[sqlite3.Connection, int], T]) -> T:
        return await self._open().writer.run(work)

    def _open(self) -> _Opened:
        if self._opened is None:
            msg = f"{self._path}: the storage is not open; use it inside `async with SQLiteStorage(...) as storage`"
            raise StorageError(msg)
        if self._opened.process != os.getpid():
            msg = f"{self._path}: the storage was opened before this process was forked; open one in the child"
            raise StorageError(msg)
        return self._opened


class _SQLiteLifeline:
    """Renews in transactions of its own, from whatever thread; one at a time."""

    def __init__(self, file: DatabaseFile, clock: Callable[[], float]) -> None:
        self._file = file
        self._clock = clock
        self._lock = Lock()
        try:
            self._connection = file.connect()
        except sqlite3.Error as error:
            raise file.error(error) from error

    def renew(self, worker: str, leases: Sequence[Lease], *, lease: float) -> Renewal:
        """Renew *leases* for *lease* seconds. Raises StorageError."""
        with self._lock:
            try:
                self._file.check()
                self._file.begin(self._connection)
                now = microseconds(self._clock())
                renewal = _claim.renew(self._connection, worker, leases, lease=lease, now=now)
                self._connection.execute("COMMIT")
            except Exception as error:
                rollback(self._connection)
                raise self._file.error(error) from error
            return renewal

    def close(self) -> None:
        """Give its connection back."""
        with self._lock:
            self._connection.close()
