"""A renewer for a loop that doesn't turn: a connection in an asyncio loop of a thread of its own.

Starts a daemon thread, when it is first used.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from stepwell.storage._postgres._claim import Locked, renew
from stepwell.storage._protocol import StorageError

if TYPE_CHECKING:
    from stepwell.storage._postgres._database import Database
    from stepwell.storage._postgres._sql import Statements
    from stepwell.storage._protocol import Lease, Renewal

__all__ = ["PostgresLifeline"]

_LIMIT: Final = 15.0
"""seconds"""


class PostgresLifeline:
    """Renews from whatever thread; one call at a time. The first one connects: making it holds up nobody."""

    def __init__(self, database: Database, sql: Statements, now: Callable[[], int | None]) -> None:
        self._database = database
        self._sql = sql
        self._now = now
        self._lock = threading.Lock()
        self._is_closed = False
        self._running: tuple[asyncio.AbstractEventLoop, threading.Thread] | None = None

    def renew(self, worker: str, leases: Sequence[Lease], *, lease: float) -> Renewal:
        """Renew *leases* for *lease* seconds. Raises StorageError."""
        with self._lock:
            loop = self._loop()
            work = partial(renew, lease=lease, now=self._now())
            try:
                renewal: Renewal = self._run(loop, partial(self._database.unit, work, self._sql, worker, leases))
            except Locked as error:  # the others were; whoever holds these rows may take his time
                return error.renewal
            return renewal

    def close(self) -> None:
        """Give its connection back, and end its thread."""
        with self._lock:
            self._is_closed = True
            self._end()

    def _loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop in which there is a connection, or will be one."""
        if self._is_closed:
            raise StorageError(f"{self._database.address.name}: the lifeline is closed")
        if self._running is None:
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=loop.run_forever, name="stepwell-lifeline", daemon=True)
            self._running = loop, thread
            thread.start()
            try:
                self._run(loop, partial(self._database.open, connects=False))
            except BaseException:
                self._end()
                raise
        return self._running[0]

    def _end(self) -> None:
        if self._running is None:
            return
        (loop, thread), self._running = self._running, None
        with suppress(StorageError):
            self._run(loop, self._database.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    def _run(self, loop: asyncio.AbstractEventLoop, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        # In a context of its own: that of whoever calls may say that the event loop is Trio's.
        future = Context().run(lambda: asyncio.run_coroutine_threadsafe(work(), loop))
        try:
            return future.result(_LIMIT)
        except TimeoutError:
            future.cancel()
            raise StorageError(f"{self._database.address.name}: no answer within {_LIMIT:g} s") from None
