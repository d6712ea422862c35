"""Group commit: while one commit is in flight, what all executions want committed gathers, and the next takes it.

Runs as one task of the engine's task group, shielded: it outlives the tasks that wait for it, so that a commit which
was sent is always waited for.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

import anyio
from anyio import CancelScope

from stepwell._model import Change
from stepwell.storage._protocol import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from stepwell._model import Unit
    from stepwell.storage._protocol import Storage

__all__ = ["Commits", "NotTrusted", "Trusted"]

_MAX_UNITS: Final = 200
"""units a commit: the knee of throughput lies at 50 to 100"""


class Trusted(Protocol):
    """Whoever may commit only as long as its lease can be trusted."""

    def is_trusted(self) -> bool:
        """Tell whether nobody else can have the lease yet, by this process's own clock."""
        ...


class NotTrusted(Exception):  # noqa: N818 -- not an error: the lease ran out before the unit was sent
    """Raised to a committer whose lease ran out before its unit was sent. Nothing of it was written."""


class _Pending:
    """A unit on its way."""

    __slots__ = ("done", "error", "ids", "is_committed", "is_sent", "lease", "unit")

    def __init__(self, unit: Unit, lease: Trusted | None) -> None:
        self.unit = unit
        self.lease = lease
        self.ids = [item.row.id if isinstance(item, Change) else item.id for item in unit]
        self.done = anyio.Event()
        self.is_sent = False
        self.is_committed = False
        self.error: Exception | None = None


class Commits:
    """Commits units for all who ask, as many at a time as have gathered.

    *committed* is called with each committed unit, before its owner hears of it and in the order of the commits.
    """

    def __init__(self, storage: Storage, committed: Callable[[Unit], None]) -> None:
        self._storage = storage
        self._committed = committed
        self._queue: deque[_Pending] = deque()
        self._gathered = anyio.Event()

    async def commit(self, unit: Unit, lease: Trusted | None = None) -> bool:
        """Commit *unit* whole or not at all; return whether it was.

        A caller that is cancelled withdraws a unit that was not sent yet, and waits for one that was. Raises
        StorageError, after which the unit may be committed or not, and NotTrusted if *lease* ran out before it was sent.
        """
        pending = _Pending(unit, lease)
        self._queue.append(pending)
        self._gathered.set()
        try:
            await pending.done.wait()
        except BaseException:
            if pending.is_sent:
                with CancelScope(shield=True):
                    await pending.done.wait()
            elif not pending.done.is_set():
                self._queue.remove(pending)
            raise
        if pending.error is not None:
            raise pending.error
        return pending.is_committed

    async def run(self) -> None:
        """Commit until cancelled."""
        while True:
            if not self._queue:
                self._gathered = anyio.Event()
                await self._gathered.wait()
            await self._send(self._take())

    def _take(self) -> list[_Pending]:
        """Take what can be committed together: no two units may touch the same execution, and their order stays."""
        if len(self._queue) == 1:
            batch = [self._queue.popleft()]
        else:
            batch = []
            touched: set[str] = set()
            left: deque[_Pending] = deque()
            while self._queue and len(batch) < _MAX_UNITS:
                pending = self._queue.popleft()
                (batch if touched.isdisjoint(pending.ids) else left).append(pending)
                touched.update(pending.ids)
            left.extend(self._queue)
            self._queue = left
        return [pending for pending in batch if self._may_send(pending)]

    @staticmethod
    def _may_send(pending: _Pending) -> bool:
        if pending.lease is None or pending.lease.is_trusted():
            pending.is_sent = True
            return True
        pending.error = NotTrusted()
        pending.done.set()
        return False

    async def _send(self, batch: list[_Pending]) -> None:
        if not batch:
            return
        try:
            results = await self._storage.commit([pending.unit for pending in batch])
        except Exception as error:  # noqa: BLE001 -- whatever the storage raises goes to those who asked
            if len(batch) == 1:
                self._tell(batch[0], error)
                return
            for pending in batch:  # one that can't be written must not take its neighbours along
                await self._send([pending])
            return
        for pending, is_committed in zip(batch, results, strict=True):
            pending.is_committed = is_committed
            if is_committed:
                self._committed(pending.unit)
            pending.done.set()

    @staticmethod
    def _tell(pending: _Pending, error: Exception) -> None:
        if isinstance(error, StorageError):
            pending.error = error
        else:
            pending.error = StorageError(f"the storage raised {type(error).__name__}: {error}")
            pending.error.__cause__ = error
        pending.done.set()
