"""One event loop of each kind, in virtual time and in an order that a seed decides. The only module that knows both.

Rule 1: time is whole nanoseconds, and moves only when nothing can run; then it jumps to the next timer.
Rule 2: tasks that are ready run in an order drawn from the seed. On asyncio all other callbacks keep theirs, for
transports and futures rely on it.
Rule 3: nothing of a process that stands still is run (`_processes`).
Rule 4: where something spins (AnyIO on asyncio cancels again and again what does not end), time moves on all the same
after some turns, as it does for real. Spinning without end is a failure, told with the tasks.

Both loops are made of private parts: `BaseEventLoop._run_once`, and Trio's run queue with its switch for a scheduling
that can be repeated, which Trio has for Hypothesis. `tests/simulation/test_loops.py` pins what is relied on.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

import anyio
from anyio import CancelScope

from stepwell.testing._simulation._processes import process_in

if TYPE_CHECKING:
    from asyncio import Handle, TimerHandle

__all__ = ["BACKENDS", "Backend", "Livelock", "run_simulated"]

T = TypeVar("T")

Backend = Literal["asyncio", "trio"]
BACKENDS: Final[tuple[Backend, ...]] = ("asyncio", "trio")

_SECOND: Final = 1_000_000_000
_MAX_TURNS: Final = 200
"""turns of the loop at one instant, after which time moves on although something can run"""
_MAX_SPINS: Final = 20_000
"""how often that may happen in a run"""
_MAX_STUCK: Final = 20_000
"""turns at one instant where there is no timer to move on to"""
_MANY_TIMERS: Final = 200


class Livelock(AssertionError):
    """Raised when a simulation spins without end, or waits for what can't come; the message lists its tasks."""


class _VirtualClock:
    """Where a loop stands in virtual time, and whether it gets on."""

    def __init__(self, stuck: Callable[[], None]) -> None:
        """Call *stuck* before what spins or waits in vain is cancelled."""
        self._stuck = stuck
        self._nanoseconds = 0
        self._turns = 0
        self._spins = 0
        self.scope: CancelScope | None = None
        """around all that runs"""
        self.livelock: Livelock | None = None

    @property
    def now(self) -> float:
        return self._nanoseconds / _SECOND

    def move_to(self, when: float) -> None:
        """Move to the first nanosecond at which *when* has come."""
        target = math.ceil(when * _SECOND)
        while target / _SECOND < when:
            target += 1
        if target > self._nanoseconds:
            self._nanoseconds = target
            self._turns = 0

    def turn(self, next_timer: float, tasks: Callable[[], list[str]]) -> None:
        """Count a turn in which something could run; too many at one instant move time on."""
        self._turns += 1
        if self._turns < _MAX_TURNS:
            return
        if next_timer < math.inf:
            self._spins += 1
            self.move_to(max(next_timer, self.now))
        if self._spins > _MAX_SPINS or self._turns > _MAX_STUCK:
            self.give_up("it spins without end", tasks)

    def give_up(self, what: str, tasks: Callable[[], list[str]]) -> None:
        """Cancel everything, and remember why; raise it here and now where that doesn't help."""
        if self.livelock is not None or self.scope is None:
            raise self.livelock or Livelock(what)
        listed = "\n  ".join(tasks())
        self.livelock = Livelock(f"at {self.now:.9f} s of virtual time {what}; its tasks:\n  {listed}")
        self._turns = self._spins = 0
        self._stuck()
        self.scope.cancel()

    async def run(self, main: Callable[[], Awaitable[T]]) -> T:
        """Run *main*. Raises Livelock."""
        with CancelScope() as self.scope:
            result = await main()
            if self.livelock is None:
                return result
        raise self.livelock or AssertionError("unreachable")


# -- asyncio -----------------------------------------------------------------------------------------------------------


class _Task(asyncio.Task[Any]):
    """A task that knows how many were made before it."""

    number: int = 0


class _Loop(asyncio.SelectorEventLoop):
    """An event loop in virtual time that does no I/O."""

    _ready: deque[Handle]
    _scheduled: list[TimerHandle]
    _timer_cancelled_count: int
    _stopping: bool

    def __init__(self, seed: int, virtual: _VirtualClock) -> None:
        super().__init__()
        self._virtual = virtual
        self._random = random.Random(seed)  # noqa: S311 -- it decides an order
        self._made = 0
        self.set_task_factory(self._make)

    def _make(self, loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> _Task:
        task = _Task(coro, loop=loop, **options)
        self._made += 1
        task.number = self._made
        return task

    def time(self) -> float:
        return self._virtual.now

    def _run_once(self) -> None:
        self._drop_cancelled_timers()
        scheduled, ready, virtual = self._scheduled, self._ready, self._virtual
        next_timer: float = scheduled[0].when() if scheduled else math.inf
        if ready or self._stopping:
            virtual.turn(next_timer, self._tasks)
        elif scheduled:
            virtual.move_to(next_timer)
        else:
            virtual.give_up("nothing can happen any more", self._tasks)
        now = virtual.now
        while scheduled and scheduled[0].when() <= now:
            handle = heapq.heappop(scheduled)
            handle._scheduled = False  # type: ignore[attr-defined]
            ready.append(handle)
        for each in self._batch():
            if not each.cancelled() and not self._parks(each):
                each._run()

    def _batch(self) -> list[Handle]:
        """Take all that is ready: steps of tasks in the seed's order, everything else where it is."""
        batch = list(self._ready)
        self._ready.clear()
        if len(batch) == 1:
            return batch
        steps = [(task.number, place) for place, each in enumerate(batch) if (task := _task_of(each)) is not None]
        if len(steps) > 1:
            handles = [
                batch[place] for _, place in sorted(steps)
            ]  # AnyIO cancels tasks in the order of their addresses
            self._random.shuffle(handles)
            for (_, place), handle in zip(steps, handles, strict=True):
                batch[place] = handle
        return batch

    def _parks(self, handle: Handle) -> bool:
        process = process_in(handle._context)  # type: ignore[attr-defined]
        if process is None or not process.stands_still:
            return False
        process.park(partial(self._ready.append, handle))
        return True

    def _drop_cancelled_timers(self) -> None:
        scheduled = self._scheduled
        if len(scheduled) > _MANY_TIMERS and self._timer_cancelled_count * 2 > len(scheduled):
            kept = [timer for timer in scheduled if not timer.cancelled()]
            for timer in scheduled:
                timer._scheduled = not timer.cancelled()  # type: ignore[attr-defined]
            heapq.heapify(kept)
            scheduled[:] = kept
            self._timer_cancelled_count = 0
        while scheduled and scheduled[0].cancelled():
            self._timer_cancelled_count -= 1
            heapq.heappop(scheduled)._scheduled = False  # type: ignore[attr-defined]

    def _tasks(self) -> list[str]:
        return sorted(f"{task.get_name()}: {task.get_coro()!r}" for task in asyncio.all_tasks(self))


def _task_of(handle: Handle) -> _Task | None:
    """Return the task of which running the handle is the next step."""
    owner = getattr(handle._callback, "__self__", None)  # type: ignore[attr-defined]
    return owner if isinstance(owner, _Task) else None


def _run_on_asyncio(seed: int, virtual: _VirtualClock, main: Callable[[], Awaitable[T]]) -> T:
    options = {"loop_factory": partial(_Loop, seed, virtual)}
    return anyio.run(virtual.run, main, backend="asyncio", backend_options=options)


# -- Trio --------------------------------------------------------------------------------------------------------------


class _RunQueue(deque[Any]):
    """Trio's queue of tasks that can run, without those of processes that stand still."""

    def __init__(self, runner: Any, virtual: _VirtualClock) -> None:
        super().__init__(runner.runq)
        self._runner = runner
        self._virtual = virtual

    def append(self, task: Any, /) -> None:
        if not self._parks(task):
            super().append(task)

    def __iter__(self) -> Iterator[Any]:
        """Give what may run: Trio asks for it once in each turn, and then clears the queue."""
        if len(self):
            self._virtual.turn(self._runner.deadlines.next_deadline(), self.tasks)
        return iter([task for task in super().__iter__() if not self._parks(task)])

    def _parks(self, task: Any) -> bool:
        process = process_in(task.context)
        if process is None or not process.stands_still:
            return False
        process.park(partial(self.append, task))
        return True

    def tasks(self) -> list[str]:
        return sorted(f"{task.name}: {task.coro!r}" for task in self._runner.tasks)


def _run_on_trio(seed: int, virtual: _VirtualClock, main: Callable[[], Awaitable[T]]) -> T:
    import trio  # noqa: PLC0415 -- an extra
    from trio.testing import MockClock  # noqa: PLC0415

    core: Any = import_module("trio._core._run")
    clock: Any = MockClock(autojump_threshold=0)  # which Trio insists on; only its jump to the next timer is used

    def jump() -> None:
        runner: Any = core.GLOBAL_RUN_CONTEXT.runner
        deadline = runner.deadlines.next_deadline()
        if deadline == math.inf:
            virtual.give_up("nothing can happen any more", runner.runq.tasks)
        else:
            virtual.move_to(deadline)

    clock.current_time = lambda: virtual.now
    clock._autojump = jump

    async def start() -> T:
        runner: Any = core.GLOBAL_RUN_CONTEXT.runner
        runner.runq = _RunQueue(runner, virtual)
        return await virtual.run(main)

    before, state = core._ALLOW_DETERMINISTIC_SCHEDULING, core._r.getstate()
    core._ALLOW_DETERMINISTIC_SCHEDULING = True
    core._r.seed(seed)
    try:
        return anyio.run(start, backend="trio", backend_options={"clock": clock})
    except trio.TrioInternalError as error:
        if isinstance(error.__cause__, Livelock):
            raise error.__cause__ from None
        raise
    finally:
        core._ALLOW_DETERMINISTIC_SCHEDULING = before
        core._r.setstate(state)


def run_simulated(
    backend: Backend, seed: int, main: Callable[[], Awaitable[T]], *, stuck: Callable[[], None] = lambda: None
) -> T:
    """Run *main* on a loop of its own, in virtual time from 0 on, in the order that the seed decides.

    Raises Livelock, after everything was cancelled, where nothing can happen any more or something spins without end;
    *stuck* is called before. What ignores that, too, is dropped as it is.
    """
    virtual = _VirtualClock(stuck)
    return (_run_on_trio if backend == "trio" else _run_on_asyncio)(seed, virtual, main)
