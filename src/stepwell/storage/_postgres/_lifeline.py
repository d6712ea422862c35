"""A renewer for a loop that doesn't turn: a connection in an asyncio loop of a thread of its own.

Starts a daemon thread.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from stepwell.storage._postgres._claim import renew
from stepwell.storage._protocol import StorageError

if TYPE_CHECKING:
    from stepwell.storage._postgres._database import Database
    from stepwell.storage._postgres._sql import Statements
    from stepwell.storage._protocol import Lease

__all__ = ["PostgresLifeline"]

_LIMIT: Final = 15.0
"""seconds"""


class PostgresLifeline:
    """Renews from whatever thread; one call at a time."""

    def __init__(self, database: Database, sql: Statements, now: Callable[[], int | None]) -> None:
        """Open the connection. Raises StorageError."""
        self._database = database
        self._sql = sql
        self._now = now
        self._lock = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stepwell-lifeline", daemon=True)
        self._thread.start()
        try:
            self._run(database.open)
        except BaseException:
            self.close()
            raise

    def renew(self, worker: str, leases: Sequence[Lease], *, lease: float) -> None:
        """Renew *leases* for *lease* seconds. Raises StorageError."""
        with self._lock:
            self._run(
                partial(self._database.unit, partial(renew, lease=lease, now=self._now()), self._sql, worker, leases)
            )

    def close(self) -> None:
        """Give its connection back, and end its thread."""
        with self._lock:
            if self._loop.is_closed():
                return
            with suppress(StorageError):
                self._run(self._database.close)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def _run(self, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        # In a context of its own: that of whoever calls may say that the event loop is Trio's.
        future = Context().run(lambda: asyncio.run_coroutine_threadsafe(work(), self._loop))
        try:
            return future.result(_LIMIT)
        except TimeoutError:
            future.cancel()
            raise StorageError(f"{self._database.address.name}: no answer within {_LIMIT:g} s") from None
