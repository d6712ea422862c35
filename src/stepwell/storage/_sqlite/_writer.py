"""The one thread that writes. Whatever is queued becomes one transaction, one COMMIT and one wake-up of the loop.

Rule 1: a job begins when the write lock is held. Until then its caller may withdraw it; afterwards it is milliseconds
from its COMMIT, and the caller waits for it.
Rule 2: a job looks before it writes, so nothing in it is undone. If one fails all the same, the transaction is rolled
back and every job runs again in one of its own: the broken one harms no other.
Rule 3: nothing here knows asyncio or Trio but for the one call that both loops take from other threads.

Starts a daemon thread: an interpreter that exits doesn't wait for it.
"""

from __future__ import annotations

import math
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any, Final, Generic, TypeVar, cast

import anyio
from anyio import CancelScope

from stepwell.storage._protocol import StorageError
from stepwell.storage._run_soon import run_soon
from stepwell.storage._sqlite._file import DatabaseFile, rollback
from stepwell.storage._sqlite._times import microseconds

__all__ = ["Writer"]

T = TypeVar("T")

_MAX_JOBS: Final = 100
"""jobs a transaction; a job may be a few hundred units"""


class _Job(Generic[T]):
    """What one caller wants done in a transaction."""

    __slots__ = ("_begun", "done", "error", "value", "work")

    def __init__(self, work: Callable[[sqlite3.Connection, int], T]) -> None:
        self.work = work
        self.done = anyio.Event()
        self.value: T | None = None
        self.error: Exception | None = None
        self._begun = threading.Lock()

    def begin(self) -> bool:
        """Take the job: the thread, to run it, or its caller, to withdraw it. True for whoever comes first."""
        return self._begun.acquire(blocking=False)

    def is_taken(self) -> bool:
        return self._begun.locked()

    def result(self) -> T:
        if self.error is not None:
            raise self.error
        return cast("T", self.value)


class Writer:
    """Runs jobs for the event loop in which it was opened. Opened once, closed once."""

    def __init__(self, file: DatabaseFile, *, clock: Callable[[], float], poll: float) -> None:
        self._file = file
        self._clock = clock
        self._poll = poll
        self._soon = run_soon()
        self._queue: SimpleQueue[_Job[Any] | None] = SimpleQueue()
        self._is_closing = False
        self._opened = anyio.Event()
        self._stopped = anyio.Event()
        self._failure: StorageError | None = None
        self._waiting: set[anyio.Event] = set()
        self._data_version: int | None = None
        """None while it can't be told"""
        self._look_at = 0.0
        self._thread = threading.Thread(target=self._main, name=f"stepwell-sqlite-{file.name}", daemon=True)

    async def open(self) -> None:
        """Open the database. Raises StorageError with what is wrong with it."""
        self._thread.start()
        try:
            await self._opened.wait()
        except BaseException:
            await self.close()
            raise
        if self._failure is not None:
            await self.close()
            raise self._failure

    async def close(self) -> None:
        """Finish what is queued and end the thread. Can't be cancelled; ends within the busy timeout."""
        self._is_closing = True
        self._queue.put(None)
        with CancelScope(shield=True):
            await self._stopped.wait()
        self._thread.join()
        self._wake()

    async def run(self, work: Callable[[sqlite3.Connection, int], T]) -> T:
        """Run *work* with the connection and the time, in a transaction; return its result once that is durable.

        A caller that is cancelled withdraws work that wasn't begun, and waits for work that was. Raises StorageError.
        """
        job = _Job(work)
        self._queue.put(job)
        try:
            await job.done.wait()
        except BaseException:
            if job.begin():
                raise
            with CancelScope(shield=True):
                await job.done.wait()
            # The cancellation of a scope comes again at the caller's next checkpoint, so the result isn't lost to it.
            # That of asyncio's own `Task.cancel()` comes only once.
            if anyio.current_effective_deadline() != -math.inf:
                raise
        return job.result()

    async def changed(self) -> None:
        """Return when another connection has committed since this was last asked, or when the writer is closed."""
        event = anyio.Event()
        self._waiting.add(event)
        self._queue.put(None)
        try:
            await event.wait()
        finally:
            self._waiting.discard(event)

    def hint(self) -> None:
        """Wake those who wait for a change that this very connection made: another engine may share the storage.

        One who waits alone made the change, and knows.
        """
        if len(self._waiting) > 1:
            self._wake()

    # From here on: in the thread.

    def _main(self) -> None:
        try:
            connection = self._file.open_writer(lambda: not self._is_closing)
        except Exception as error:  # whatever it is goes to the caller
            self._failure = self._file.error(error)
            self._call(self._opened.set)
        else:
            self._call(self._opened.set)
            try:
                self._serve(connection)
            finally:
                connection.close()
        finally:
            self._refuse_rest()
            self._call(self._stopped.set)

    def _serve(self, connection: sqlite3.Connection) -> None:
        (self._data_version,) = connection.execute("PRAGMA data_version").fetchone()
        while True:
            jobs, is_last = self._take()
            if jobs:
                self._transact(connection, jobs)
                self._call(_finish, jobs)
            if self._waiting and time.monotonic() >= self._look_at:
                self._look(connection)
            if is_last and self._queue.empty():
                return

    def _take(self) -> tuple[list[_Job[Any]], bool]:
        """Wait for something to do; return all that is queued, and whether the writer is being closed."""
        jobs: list[_Job[Any]] = []
        try:
            job = self._queue.get(timeout=self._poll if self._waiting else None)
            while True:
                if job is not None:
                    jobs.append(job)
                if len(jobs) == _MAX_JOBS:
                    break
                job = self._queue.get_nowait()
        except Empty:
            pass
        return jobs, self._is_closing

    def _look(self, connection: sqlite3.Connection) -> None:
        """Wake who waits if another connection has committed; if that can't be told, so that they find out why."""
        self._look_at = time.monotonic() + self._poll
        try:
            self._file.check()
            (version,) = connection.execute("PRAGMA data_version").fetchone()
        except (sqlite3.Error, StorageError):
            version = None
        if version != self._data_version:
            self._data_version = version
            self._call(self._wake)

    def _transact(self, connection: sqlite3.Connection, jobs: Sequence[_Job[Any]]) -> None:
        """Run *jobs* in one transaction; if it fails, each in its own."""
        begun: list[_Job[Any]] = []
        try:
            self._file.check()
            self._file.begin(connection, lambda: not all(job.is_taken() for job in jobs))
            begun.extend(job for job in jobs if job.begin())
            self._run(connection, begun)
        except BaseException as error:  # whatever it is goes to the callers
            self._recover(connection, jobs, begun, error)

    def _run(self, connection: sqlite3.Connection, jobs: Sequence[_Job[Any]]) -> None:
        now = microseconds(self._clock())
        for job in jobs:
            job.value = job.work(connection, now)
        connection.execute("COMMIT")

    def _recover(
        self,
        connection: sqlite3.Connection,
        jobs: Sequence[_Job[Any]],
        begun: Sequence[_Job[Any]],
        cause: BaseException,
    ) -> None:
        """Run each of the jobs that *cause* stopped by itself, or tell it where there is but one or none began."""
        rollback(connection)
        if len(begun) > 1:
            for job in begun:
                self._alone(connection, job)
        else:
            for job in begun or [job for job in jobs if job.begin()]:
                job.error = self._file.error(cause)

    def _alone(self, connection: sqlite3.Connection, job: _Job[Any]) -> None:
        try:
            self._file.begin(connection)
            self._run(connection, [job])
        except BaseException as error:  # whatever it is goes to the caller
            job.error = self._file.error(error)
            rollback(connection)

    def _refuse_rest(self) -> None:
        """Tell those who came too late, or to a database that could not be opened."""
        while not self._queue.empty():
            job = self._queue.get_nowait()
            if job is not None and job.begin():
                job.error = StorageError(f"{self._file.name}: the storage was closed")
                self._call(job.done.set)

    def _call(self, function: Callable[..., object], *args: object) -> None:
        try:
            self._soon(function, *args)
        except RuntimeError:  # the loop has ended, and with it everybody who waits
            return

    # Back in the loop.

    def _wake(self) -> None:
        for event in self._waiting:
            event.set()


def _finish(jobs: Sequence[_Job[Any]]) -> None:
    for job in jobs:
        job.done.set()
