"""Waiting for executions to end: told at once what ends in this process, and one look a while for all that is left."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import anyio

from stepwell._errors import ExecutionNotFound
from stepwell._model import TERMINAL
from stepwell._model import Query as RowQuery
from stepwell.storage._protocol import StorageError
from stepwell.storage._unreadable import Unreadable

if TYPE_CHECKING:
    from stepwell._model import Row
    from stepwell._wakeups import Wakeups
    from stepwell.storage._protocol import Storage

__all__ = ["Results"]

_POLL: Final = 1.0
"""seconds between two looks at executions that end in another process"""
_MIN_PAUSE: Final = 0.01
"""seconds between two looks, however many hints there are"""
_MAX_IDS: Final = 500
"""executions asked after in one query"""
_FRESH: Final = 0.05
"""seconds after its start in which an execution is taken to be open, unless this process hears otherwise"""
_FULL_LOOK: Final = 10
"""of so many looks, one is after executions that are gone: a purge deleted them before anyone here saw their end"""
_MAX_STARTED: Final = 10_000


class _Waiting:
    """Those who wait for one execution."""

    __slots__ = ("count", "ended", "error", "row")

    def __init__(self) -> None:
        self.ended = anyio.Event()
        self.row: Row | None = None
        self.error: Exception | None = None
        self.count = 0


class Results:
    """Tells those who wait for an execution how it ended. Runs as one task of the engine's task group."""

    def __init__(self, storage: Storage, wakeups: Wakeups) -> None:
        self._storage = storage
        self._wakeups = wakeups
        self._waiting: dict[str, _Waiting] = {}
        self._started: dict[str, float] = {}
        """when executions were started here, by the loop's clock, oldest first; without those that ended here"""
        self._asked = anyio.Event()
        self._looks = 0
        self._closed: Exception | None = None

    def started(self, id: str) -> None:
        """Note that it was created just now: for a moment, nobody needs to look whether it has ended already."""
        self._started[id] = anyio.current_time()
        if len(self._started) > _MAX_STARTED:
            del self._started[next(iter(self._started))]

    def ended(self, row: Row) -> None:
        """Tell those who wait that it ended."""
        self._started.pop(row.id, None)
        waiting = self._waiting.get(row.id)
        if waiting is not None:
            waiting.row = row
            waiting.ended.set()

    async def wait(self, id: str) -> Row:
        """Return the row once it is terminal. Raises ExecutionNotFound, Unreadable, and what this is closed by."""
        if self._closed is not None:
            raise self._closed
        waiting = self._waiting.setdefault(id, _Waiting())
        waiting.count += 1
        try:
            if anyio.current_time() - self._started.get(id, -math.inf) > _FRESH:
                await self._look(id, waiting)
            self._asked.set()
            await waiting.ended.wait()
        finally:
            waiting.count -= 1
            if not waiting.count and self._waiting.get(id) is waiting:
                del self._waiting[id]
        if waiting.row is None:
            raise waiting.error or ExecutionNotFound(id)
        return waiting.row

    def close(self, error: Exception) -> None:
        """Tell those who still wait, and who come later, that nobody looks any more."""
        self._closed = error
        for waiting in self._waiting.values():
            if not waiting.ended.is_set():
                waiting.error = error
                waiting.ended.set()

    async def run(self) -> None:
        """Look, for as long as anyone waits, after what ends in other processes: one query a look."""
        with self._wakeups.bell() as bell:
            while True:
                if not self._waiting:
                    self._asked = anyio.Event()
                    await self._asked.wait()
                end = anyio.current_time() + _POLL
                while (left := end - anyio.current_time()) > 0:
                    await bell.wait(left)
                    if bell.heard_from_elsewhere():
                        end = min(end, anyio.current_time() + _MIN_PAUSE)
                await self._look_at_all()

    async def _look_at_all(self) -> None:
        ids = [id for id, waiting in self._waiting.items() if not waiting.ended.is_set()]
        self._looks += 1
        status = () if self._looks % _FULL_LOOK == 0 else tuple(TERMINAL)
        for start in range(0, len(ids), _MAX_IDS):
            asked = ids[start : start + _MAX_IDS]
            query = RowQuery(ids=tuple(asked), status=status, limit=_MAX_IDS)
            try:
                page = await self._storage.find(query)
            except Unreadable:  # one of them
                for id in asked:
                    if (waiting := self._waiting.get(id)) is not None:
                        await self._look(id, waiting)
                continue
            except StorageError:
                return  # the next look finds out
            for row in page.rows:
                if row.status.is_terminal:
                    self.ended(row)
            if not status:
                for id in set(asked).difference(row.id for row in page.rows):
                    self._gone(id)

    async def _look(self, id: str, waiting: _Waiting) -> None:
        try:
            stored = await self._storage.load(id)
        except Unreadable as error:
            waiting.error = error
            waiting.ended.set()
            return
        except StorageError:
            return  # the next look finds out
        if waiting.ended.is_set():
            return
        if stored is None:
            self._gone(id)
        elif stored.row.status.is_terminal:
            self.ended(stored.row)

    def _gone(self, id: str) -> None:
        """Tell those who wait that there is no such execution, or none any more."""
        waiting = self._waiting.get(id)
        if waiting is not None and not waiting.ended.is_set():
            waiting.error = ExecutionNotFound(id)
            waiting.ended.set()
