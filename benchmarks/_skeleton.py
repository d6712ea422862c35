"""What an engine of this shape can't do without, and nothing else: the ceiling of all that doesn't touch a disk.

One task per execution calls the same three handlers, each under a timeout; what a step gives is encoded and committed
together with what others gave meanwhile, into dictionaries. There are no leases, guards, retries, routes or events.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

import anyio
import anyio.lowlevel
import msgspec

from benchmarks._workload import HANDLERS, Order, Spent, Stopwatch, in_parallel, warm_up

__all__ = ["Skeleton", "run_all", "run_one_by_one", "start_all"]

T = TypeVar("T")

_TOGETHER: Final = 200
"""steps in one commit"""
_TIMEOUT: Final = 30.0
"""seconds that a handler may take"""


class _Row(msgspec.Struct, frozen=True):
    id: str
    input: str
    step: int = 0
    output: str | None = None


class _Entry(msgspec.Struct, frozen=True):
    seq: int
    kind: str
    step: int
    payload: str


class _Context:
    """What a handler is given."""

    __slots__ = ("input",)

    def __init__(self, input: Order) -> None:
        self.input = input


class _Pending:
    __slots__ = ("done", "entries", "row")

    def __init__(self, row: _Row, entries: tuple[_Entry, ...]) -> None:
        self.row = row
        self.entries = entries
        self.done = anyio.Event()


class Skeleton:
    """Executions in dictionaries, and the one task that writes them."""

    def __init__(self) -> None:
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder(Order).decode
        self._rows: dict[str, _Row] = {}
        self._journals: dict[str, list[_Entry]] = {}
        self._queue: deque[_Pending] = deque()
        self._gathered = anyio.Event()

    async def write(self) -> None:
        """Commit what gathers, until cancelled."""
        while True:
            if not self._queue:
                self._gathered = anyio.Event()
                await self._gathered.wait()
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), _TOGETHER))]
            await anyio.lowlevel.checkpoint()  # where a storage would be asked
            for pending in batch:
                self._rows[pending.row.id] = pending.row
                self._journals.setdefault(pending.row.id, []).extend(pending.entries)
            for pending in batch:
                pending.done.set()

    async def start(self, order: Order) -> str:
        """Create an execution and return its id."""
        id = f"execution-{order.number:08d}"
        row = _Row(id, self._text(order))
        await self._commit(row, (_Entry(1, "created", 0, row.input),))
        return id

    async def run(self, id: str) -> None:
        """Run an execution to its end."""
        row = self._rows[id]
        context: Any = _Context(self._decode(row.input))
        seq = 1
        for step, handler in enumerate(HANDLERS, 1):
            with anyio.fail_after(_TIMEOUT):
                text = self._text(await handler(context))
            is_last = step == len(HANDLERS)
            row = msgspec.structs.replace(row, step=step, output=text if is_last else None)
            entries = (
                _Entry(seq + 1, "succeeded", step, text),
                _Entry(seq + 2, "ended" if is_last else "started", step + 1, text if is_last else ""),
            )
            seq += 2
            await self._commit(row, entries)

    def output(self, id: str) -> str | None:
        """Return what an execution ended with, as JSON; None if it hasn't."""
        return self._rows[id].output

    async def _commit(self, row: _Row, entries: tuple[_Entry, ...]) -> None:
        pending = _Pending(row, entries)
        self._queue.append(pending)
        self._gathered.set()
        await pending.done.wait()

    def _text(self, value: object) -> str:
        return self._encode(value).decode()


async def _while_written(skeleton: Skeleton, work: Callable[[], Awaitable[T]]) -> T:
    results: list[T] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(skeleton.write)
        results.append(await work())
        tasks.cancel_scope.cancel()
    return results[0]


async def _run_many(skeleton: Skeleton, ids: Sequence[str], concurrency: int) -> Spent:
    slots = anyio.Semaphore(concurrency)

    async def run(id: str) -> None:
        await skeleton.run(id)
        slots.release()

    watch = Stopwatch()
    async with anyio.create_task_group() as tasks:
        for id in ids:
            await slots.acquire()
            tasks.start_soon(run, id)
    return watch.read()


async def run_all(amount: int, concurrency: int) -> Spent:
    """Run so many executions, so many at a time, after a warm-up; return what they took."""
    skeleton = Skeleton()
    warm = warm_up(amount)

    async def work() -> Spent:
        ids = [await skeleton.start(Order(number, "ada")) for number in range(warm + amount)]
        await _run_many(skeleton, ids[:warm], concurrency)
        return await _run_many(skeleton, ids[warm:], concurrency)

    return await _while_written(skeleton, work)


async def start_all(amount: int, callers: int) -> Spent:
    """Create so many executions from so many tasks, after a warm-up; return what that took."""
    skeleton = Skeleton()
    warm = warm_up(amount)

    async def work() -> Spent:
        await in_parallel(warm, callers, lambda number: skeleton.start(Order(number, "ada")))
        watch = Stopwatch()
        await in_parallel(amount, callers, lambda number: skeleton.start(Order(warm + number, "ada")))
        return watch.read()

    return await _while_written(skeleton, work)


async def run_one_by_one(amount: int) -> list[float]:
    """Return the seconds from starting an execution to its end, for so many one after the other, after a warm-up."""
    skeleton = Skeleton()
    warm = warm_up(amount)

    async def run(id: str, ended: anyio.Event) -> None:
        await skeleton.run(id)
        ended.set()

    async def work() -> list[float]:
        times: list[float] = []
        async with anyio.create_task_group() as tasks:
            for number in range(warm + amount):
                begun = time.perf_counter()
                ended = anyio.Event()
                tasks.start_soon(run, await skeleton.start(Order(number, "ada")), ended)
                await ended.wait()
                times.append(time.perf_counter() - begun)
        return times[warm:]

    return await _while_written(skeleton, work)
