"""Group commit: while one commit is in flight, what all executions want committed gathers, and the next takes it.

Runs as one task of the engine's task group, shielded: it outlives the tasks that wait for it, so that a commit which
was sent is always waited for.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

import anyio

from stepwell._model import Change, Deposit
from stepwell.storage._protocol import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from stepwell._model import Unit
    from stepwell.storage._protocol import Storage

__all__ = ["Commits", "Holder", "NotTrusted", "has_landed"]

_MAX_UNITS: Final = 200
"""units a commit: the knee of throughput lies at 50 to 100"""
_MIN_SHARE: Final = 50
"""units that go together though they could be shared between two commits"""
_ANSWER_LIMIT: Final = 10.0
"""seconds after which a commit that isn't answered counts as one whose outcome is unknown"""
_LEAVE_LIMIT: Final = 2.5
"""seconds for which a caller that is cancelled waits for a unit of its that was sent"""
_RAN_OUT: Final = "the lease ran out before the unit could be sent again"
_HELD_UP_PAUSE: Final = 0.01
"""seconds before a unit is sent again of which somebody else holds a row"""


class Holder(Protocol):
    """Whoever may commit only as long as its lease can be trusted."""

    def is_trusted(self, now: float) -> bool:
        """Tell whether nobody else can have the lease yet, by this process's own clock."""
        ...

    def landed(self) -> None:
        """Hear, before anything else can happen, that the unit was committed: also where a cancellation comes next."""
        ...


class NotTrusted(Exception):  # not an error: the lease ran out before the unit was sent
    """Raised to a committer whose lease ran out before its unit was sent. Nothing of it was written."""


class _Pending:
    """A unit on its way."""

    __slots__ = ("error", "holder", "ids", "is_committed", "is_in_doubt", "is_sent", "is_settled", "told", "unit")

    def __init__(self, unit: Unit, holder: Holder | None, told: anyio.Event) -> None:
        self.unit = unit
        self.holder = holder
        self.ids = [item.row.id if isinstance(item, Change) else item.id for item in unit]
        self.told = told
        """set when there may be news of this unit; shared by all that gathered, and replaced where it has to wait on"""
        self.is_sent = False
        self.is_in_doubt = False
        """whether an earlier try may have gone through"""
        self.is_settled = False
        self.is_committed = False
        self.error: Exception | None = None

    async def settled(self) -> None:
        """Wait until it is known what became of it."""
        while not self.is_settled:
            await self.told.wait()

    def settle(self, error: Exception | None) -> None:
        self.error = error
        self.is_settled = True

    def tell_by(self, told: anyio.Event) -> None:
        """Let whoever waits for it wait for *told* from now on."""
        before, self.told = self.told, told
        before.set()


class Commits:
    """Commits units for all who ask, as many at a time as have gathered.

    *committed* is called with each committed unit, before its owner hears of it and in the order of the commits.
    """

    def __init__(self, storage: Storage, committed: Callable[[Unit], None]) -> None:
        self._storage = storage
        self._committed = committed
        self._queue: deque[_Pending] = deque()
        self._gathered = anyio.Event()
        self._told = anyio.Event()
        self._sending: list[_Pending] = []
        self._held_up: list[_Pending] = []
        """of which somebody else holds a row: they are sent again with others, after a while"""
        self._idle = anyio.Event()
        self._in_flight: set[str] | None = None
        """the ids that are being sent; None until somebody asks"""
        self._then: list[Callable[[], None]] = []
        self._closed: Exception | None = None
        self._takes_turns = getattr(storage, "is_remote", False)
        self._last_size = 0

    async def commit(self, unit: Unit, holder: Holder | None = None) -> bool:
        """Commit *unit* whole or not at all; return whether it was.

        A caller that is cancelled withdraws a unit that was not sent yet, and waits a moment for one that was. Raises
        StorageError, after which the unit may be committed or not, and NotTrusted if the lease of its *holder* ran out
        before it was sent.
        """
        if self._closed is not None:
            raise self._closed
        pending = _Pending(unit, holder, self._told)
        self._queue.append(pending)
        self._gathered.set()
        try:
            while not pending.is_settled:
                await pending.told.wait()
        except BaseException:
            if pending.is_sent:
                with anyio.move_on_after(_LEAVE_LIMIT, shield=True):
                    await pending.settled()
            elif not pending.is_settled:
                (self._held_up if pending in self._held_up else self._queue).remove(pending)
            raise
        if pending.error is not None:
            raise pending.error
        return pending.is_committed

    async def run(self) -> None:
        """Commit until cancelled."""
        while True:
            await self._gather()
            told, self._told = self._told, anyio.Event()
            self._sending, self._in_flight = self._take(), None
            for left in self._queue:
                left.told = self._told
            await self._send(self._sending)
            self._last_size = len(self._sending)
            told.set()
            self._sending, self._in_flight = [], None
            then, self._then = self._then, []
            for tell in then:
                tell()

    async def _gather(self) -> None:
        """Wait until there is something to send."""
        if not self._queue:
            self._gathered = anyio.Event()
            if self._held_up:
                with anyio.move_on_after(_HELD_UP_PAUSE):
                    await self._gathered.wait()
            else:
                self._idle.set()
                await self._gathered.wait()
        for pending in self._held_up:
            pending.tell_by(self._told)
        self._queue.extendleft(reversed(self._held_up))
        self._held_up = []

    def after(self, id: str, tell: Callable[[], None]) -> None:
        """Call *tell* once what is being sent for that execution has been told: a claim may be answered before it."""
        if self.is_sending(id):
            self._then.append(tell)
        else:
            tell()

    def is_sending(self, id: str) -> bool:
        """Tell whether something of that execution is being sent."""
        if self._in_flight is None:
            self._in_flight = {one for pending in self._sending for one in pending.ids}
        return id in self._in_flight

    async def finish(self, error: Exception) -> None:
        """Take no more units, whose committers get *error*, and return when those that were taken are committed."""
        self._closed = error
        while self._queue or self._sending or self._held_up:
            self._idle = anyio.Event()
            await self._idle.wait()

    def give_up(self, error: Exception) -> None:
        """Tell those who still wait that nobody will commit any more; what was sent may be committed or not."""
        self._closed = error
        for pending in (*self._queue, *self._sending, *self._held_up):
            pending.settle(error)
            pending.told.set()
        self._queue.clear()
        self._held_up.clear()

    def _take(self) -> list[_Pending]:
        """Take what can be committed together: no two units may touch the same execution, and their order stays."""
        batch: list[_Pending] = []
        if len(self._queue) == 1:
            batch.append(self._queue.popleft())
        else:
            touched: set[str] = set()
            left: deque[_Pending] = deque()
            most = self._share()
            while self._queue and len(batch) < most:
                pending = self._queue.popleft()
                (batch if touched.isdisjoint(pending.ids) else left).append(pending)
                touched.update(pending.ids)
            left.extend(self._queue)
            self._queue = left
        now = anyio.current_time()
        return [pending for pending in batch if self._may_send(pending, now)]

    def _share(self) -> int:
        """Return how many units to send.

        A storage in another process works while this one runs handlers, if there are two groups that take turns: what
        waits and what was told last is shared between them. In one process they would only wait for the interpreter.
        """
        if not self._takes_turns:
            return _MAX_UNITS
        share = (len(self._queue) + self._last_size + 1) // 2
        return min(max(share, _MIN_SHARE), _MAX_UNITS)

    @staticmethod
    def _may_send(pending: _Pending, now: float) -> bool:
        if pending.holder is None or pending.holder.is_trusted(now):
            pending.is_sent = True
            return True
        pending.settle(StorageError(_RAN_OUT) if pending.is_in_doubt else NotTrusted())
        return False

    async def _send(self, batch: list[_Pending]) -> None:
        if not batch:
            return
        try:
            with anyio.fail_after(_ANSWER_LIMIT):
                results = await self._storage.commit([pending.unit for pending in batch])
        except TimeoutError:
            error = StorageError(f"the storage didn't answer a commit within {_ANSWER_LIMIT:g} s")
            for pending in batch:
                self._fail(pending, error)
        except Exception as error:  # whatever the storage raises goes to those who asked
            if len(batch) == 1:
                self._fail(batch[0], error)
                return
            for pending in batch:  # each is told as soon as it is through
                pending.is_in_doubt = True
                pending.tell_by(anyio.Event())
            for pending in batch:  # one that can't be written must not take its neighbours along
                await self._send_again(pending)
                if pending.is_settled:
                    pending.told.set()
        else:
            doubtful: list[_Pending] = []
            for pending, is_committed in zip(batch, results, strict=True):
                if is_committed is False and pending.is_in_doubt:
                    doubtful.append(pending)
                else:
                    self._settle(pending, is_committed=is_committed)
            for pending in doubtful:  # the others need not wait for them
                pending.tell_by(anyio.Event())
            for pending in doubtful:
                await self._look(pending)
                pending.told.set()

    async def _look(self, pending: _Pending) -> None:
        """Settle a unit that was refused, perhaps because an earlier try went through after all."""
        try:
            with anyio.fail_after(_ANSWER_LIMIT):
                self._settle(pending, is_committed=await has_landed(self._storage, pending.unit))
        except Exception as error:  # as above
            self._fail(pending, error)

    async def _send_again(self, pending: _Pending) -> None:
        """Commit one unit of a batch that failed; refused, it may have been committed with that batch."""
        if pending.holder is not None and not pending.holder.is_trusted(anyio.current_time()):
            self._fail(pending, StorageError(_RAN_OUT))
            return
        try:
            with anyio.fail_after(_ANSWER_LIMIT):
                (is_committed,) = await self._storage.commit([pending.unit])
        except Exception as error:  # as above
            self._fail(pending, error)
        else:
            if is_committed is False:
                await self._look(pending)
            else:
                self._settle(pending, is_committed=is_committed)

    def _settle(self, pending: _Pending, *, is_committed: bool | None) -> None:
        if is_committed is None:
            pending.is_sent = False
            pending.tell_by(anyio.Event())
            self._held_up.append(pending)
            return
        pending.is_committed = is_committed
        if is_committed:
            if pending.holder is not None:
                pending.holder.landed()
            self._committed(pending.unit)
        pending.settle(None)

    @staticmethod
    def _fail(pending: _Pending, error: Exception) -> None:
        if not isinstance(error, StorageError):
            cause, error = error, StorageError(f"the storage raised {type(error).__name__}: {error}")
            error.__cause__ = cause
        pending.settle(error)


async def has_landed(storage: Storage, unit: Unit) -> bool:
    """Tell whether an earlier try went through: a Change by its id in the journal, a signal by its own."""
    first = unit[0]
    stored = await storage.load(first.row.id if isinstance(first, Change) else first.id)
    if stored is None:
        return False
    if isinstance(first, Change):
        return len(stored.journal) > first.expects and stored.journal[first.expects].change == first.id
    return isinstance(first, Deposit) and any(signal.id == first.signal.id for signal in stored.signals)
