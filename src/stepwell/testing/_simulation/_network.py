"""The wire between processes and the storage. It belongs to nobody who sends.

A request is on its way for a while, is carried out in one piece, and its answer is on its way for a while. It may be
lost before it arrives, or its answer after it was carried out: the sender learns of neither which. It is carried out
also where its sender gave up, was cancelled, or died meanwhile.

Runs as one task of the simulation's, in which everything that arrives is dealt with one by one.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio
import anyio.lowlevel

from stepwell.storage import StorageError

if TYPE_CHECKING:
    from stepwell.storage import Storage
    from stepwell.testing._simulation._processes import Process

__all__ = ["Network", "Watch"]

T = TypeVar("T")

_USUAL: Final = (0.001, 0.001, 0.005, 0.02)
_SELDOM: Final = 0.3
"""seconds on the wire, one way"""
_SLOWEST: Final = 4.0
_SLOW_ANSWERS: Final = 0.8
_SLOW_REQUESTS: Final = 0.25
"""how many of them are slow, where it is slow"""
_LOST: Final = 0.15
"""of the requests and of the answers, while it is flaky"""
_ANSWER_LIMIT: Final = 4.0
"""seconds after which a sender gives up, as a driver does"""
_TRY_AGAIN: Final = 0.5
_OUTLIVED: Final = 20.0
"""seconds after which what is held up by a partition is dropped"""

Work = Callable[["Storage"], Awaitable[Any]]
Watch = Callable[[Sequence[str]], Awaitable[None]]
"""told of the executions that a request may have changed, before anything else can happen"""


@dataclass(eq=False, slots=True)
class _Request:
    """Something asked of the storage."""

    sender: Process
    verb: str
    work: Work
    ids: Callable[[Any], Sequence[str]]
    sent_at: float
    answered: anyio.Event = field(default_factory=anyio.Event)
    is_abandoned: bool = False
    result: Any = None
    error: Exception | None = None


class Network:
    """Carries requests of processes to one storage, and answers and hints back."""

    def __init__(
        self, storage: Storage, schedule: Random, faults: Random, watch: Watch, happened: Counter[str]
    ) -> None:
        """Draw times on the wire from *schedule* and what goes wrong from *faults*; count in *happened* what does."""
        self._storage = storage
        self._schedule = schedule
        self._faults = faults
        self._watch = watch
        self._happened = happened
        self._wire: list[tuple[float, int, Callable[[], Awaitable[None] | None]]] = []
        self._posted = 0
        self._moved = anyio.Event()
        self._ears: dict[Process, anyio.Event] = {}
        self._hinted: set[str] = set()
        self.trace: list[tuple[Any, ...]] = []
        self.cut_off: dict[Process, int] = {}
        """how many partitions cut each process off"""
        self.slow: dict[Process, int] = {}
        """how many faults slow each process's messages down"""
        self.flaky = 0
        """how many faults of that kind are on"""
        self.deaf = 0
        """how many faults keep hints from coming"""

    async def run(self) -> None:
        """Deliver until cancelled."""
        wire = self._wire
        while True:
            now = anyio.current_time()
            if wire and wire[0][0] <= now:
                delivery = heapq.heappop(wire)[2]()
                if delivery is not None:
                    await delivery
                continue
            self._moved = anyio.Event()
            with anyio.move_on_after(wire[0][0] - now if wire else math.inf):
                await self._moved.wait()

    def heal(self) -> None:
        """Let everything through again."""
        self.cut_off.clear()
        self.slow.clear()
        self.flaky = self.deaf = 0

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something by the storage's clock, whatever process this is called in."""
        self._post(action, seconds)

    # -- what processes ask --------------------------------------------------------------------------------------------

    async def ask(
        self,
        sender: Process,
        verb: str,
        work: Callable[[Storage], Awaitable[T]],
        ids: Callable[[T], Sequence[str]],
    ) -> T:
        """Have *work* done on the storage; *ids* tells from its result what it changed. Raises StorageError."""
        if sender.is_over:
            await anyio.lowlevel.checkpoint()
            raise StorageError("the process is gone")
        request = _Request(sender, verb, work, ids, anyio.current_time())
        self._post(partial(self._arrive, request), self._latency(sender, is_answer=False))
        try:
            with anyio.move_on_after(_ANSWER_LIMIT):
                await request.answered.wait()
        finally:
            request.is_abandoned = not request.answered.is_set()
        if request.is_abandoned or sender.is_over:
            self._happened["no answer"] += not sender.is_over
            raise StorageError(f"no answer within {_ANSWER_LIMIT:g} s")
        if request.error is not None:
            raise request.error
        result: T = request.result
        return result

    async def hint(self, listener: Process) -> None:
        """Return when somebody has committed something, unless the hint is lost."""
        ear = self._ears[listener] = anyio.Event()
        await ear.wait()

    # -- what is on the wire -------------------------------------------------------------------------------------------

    def _post(self, delivery: Callable[[], Awaitable[None] | None], delay: float) -> None:
        at = anyio.current_time() + delay
        self._posted += 1
        heapq.heappush(self._wire, (at, self._posted, delivery))
        if self._wire[0][1] == self._posted:
            self._moved.set()

    def _latency(self, process: Process, *, is_answer: bool = True) -> float:
        """Return how long a message takes. Where it is slow, answers mostly are: so others go on in the meantime."""
        draw = self._schedule.random()
        if self.slow.get(process) and draw < (_SLOW_ANSWERS if is_answer else _SLOW_REQUESTS):
            return self._schedule.random() * _SLOWEST
        return _SELDOM if draw > 0.96 else _USUAL[int(draw * 100) % len(_USUAL)]

    def _is_lost(self) -> bool:
        return self.flaky > 0 and self._faults.random() < _LOST

    def _held_up(self, request: _Request, again: Callable[[], Awaitable[None] | None]) -> bool:
        """Hold back what a partition is in the way of; drop it after a while."""
        if not self.cut_off.get(request.sender):
            return False
        self._happened["held up by a partition"] += 1
        if anyio.current_time() - request.sent_at < _OUTLIVED:
            self._post(again, _TRY_AGAIN * (0.2 + self._schedule.random()))
        return True

    async def _arrive(self, request: _Request) -> None:
        if self._held_up(request, partial(self._arrive, request)):
            return
        if self._is_lost():
            self._happened[f"{request.verb} lost before"] += 1
            self._answer(request, error=StorageError("the connection was lost"))
            return
        self._note_lateness(request)
        error: Exception | None = None
        result: Any = None
        try:
            result = await request.work(self._storage)
        except (StorageError, ValueError) as refusal:
            error = refusal
        ids = () if error is not None else request.ids(result)
        self.trace.append((anyio.current_time(), request.sender.name, request.verb, *ids))
        if ids:
            await self._watch(ids)
            self._tell_others(request.verb)
        if self._is_lost():
            self._happened[f"{request.verb} lost after"] += 1
            error = StorageError("the connection was lost")
        self._answer(request, result, error)

    def _note_lateness(self, request: _Request) -> None:
        if request.sender.is_dead:
            self._happened["carried out for the dead"] += 1
        elif request.is_abandoned:
            self._happened["carried out late"] += 1
        elif request.sender.is_paused:
            self._happened["carried out during a pause"] += 1

    def _answer(self, request: _Request, result: Any = None, error: Exception | None = None) -> None:
        request.result, request.error = result, error
        self._post(partial(self._return, request), self._latency(request.sender))

    def _return(self, request: _Request) -> None:
        if not self._held_up(request, partial(self._return, request)):
            request.answered.set()

    def _tell_others(self, verb: str) -> None:
        if verb != "commit" or self.deaf:
            return
        for listener in self._ears:
            if listener.name not in self._hinted and not listener.is_dead:
                self._hinted.add(listener.name)
                self._post(partial(self._ring, listener), self._latency(listener))

    def _ring(self, listener: Process) -> None:
        self._hinted.discard(listener.name)
        ear = self._ears.get(listener)
        if ear is not None and not self.cut_off.get(listener) and not self._is_lost():
            ear.set()
