"""What is run: a chain of three activities and a terminal, which does nothing but pass small values on."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import anyio

from stepwell import Context, Engine, MemoryStorage, Query, SQLiteStorage, Storage, Workflow, activity, succeed, verify

__all__ = [
    "HANDLERS",
    "STEPS",
    "STORAGES",
    "Counts",
    "Order",
    "Spent",
    "Stopwatch",
    "StorageKind",
    "Tally",
    "check_sound",
    "in_parallel",
    "opened",
    "order_workflow",
    "run",
    "run_backlog",
    "start_backlog",
    "succeeded",
    "warm_up",
]

StorageKind = Literal["memory", "sqlite"]
STORAGES: Final[tuple[StorageKind, ...]] = ("memory", "sqlite")

STEPS: Final = 4
"""steps that end in one execution"""
_CALLERS: Final = 200
"""tasks that start executions at the same time where a backlog is made"""
_CHECKED: Final = 5_000
"""executions that are checked against the promises after a measurement"""


@dataclass
class Order:
    """The input."""

    number: int
    customer: str


@dataclass
class Receipt:
    """What each step gives."""

    number: int
    text: str


async def reserve(ctx: Context[Order]) -> Receipt:
    return Receipt(ctx.input.number, "reserved")


async def charge(ctx: Context[Order]) -> Receipt:
    return Receipt(ctx.input.number, "charged")


async def ship(ctx: Context[Order]) -> Receipt:
    return Receipt(ctx.input.number, "shipped")


HANDLERS: Final = (reserve, charge, ship)
"""The functions themselves, for programs that run them without an engine."""


def warm_up(amount: int) -> int:
    """Return how many executions run before *amount* of them are measured."""
    return amount // 10 + 20


class Counts(Protocol):
    """Hears of each execution whose last step has run."""

    def count(self, id: str, /) -> None:
        """Count one."""
        ...


class Tally:
    """Counts the executions that reach their end, so that waiting for thousands costs one event."""

    def __init__(self) -> None:
        self._left = 0
        self._last = ""
        self._all = anyio.Event()

    def expect(self, amount: int) -> None:
        """Begin to count *amount* of them."""
        self._left = amount
        self._all = anyio.Event()

    def count(self, id: str, /) -> None:
        """Count one whose last step has run."""
        self._left -= 1
        if self._left == 0:
            self._last = id
            self._all.set()

    async def last(self) -> str:
        """Wait for all, and return the id of the last."""
        await self._all.wait()
        return self._last


def order_workflow(tally: Counts) -> Workflow[Order, Receipt]:
    """Return the workflow; *tally* counts the executions that reach its end."""
    first, second, third = (activity(handler) for handler in HANDLERS)

    @succeed
    def shipped(ctx: Context[Order]) -> Receipt:
        tally.count(ctx.execution_id)
        return ctx.output(third)

    return Workflow[Order, Receipt](
        "orders", version="1", start=first, edges=[first.then(second), second.then(third), third.then(shipped)]
    )


@asynccontextmanager
async def opened(kind: StorageKind, folder: Path, *, synthetic: bool = False) -> AsyncGenerator[Storage]:
    """Open an empty storage; SQLite's in *folder*, with its own settings (synchronous FULL).

    What engines leave in it must be sound in the end; rows that are made by hand are *synthetic*, and not looked at.
    """
    async with MemoryStorage() if kind == "memory" else SQLiteStorage(folder / "benchmark.db") as storage:
        yield storage
        if not synthetic:
            await check_sound(storage)


async def check_sound(storage: Storage) -> None:
    """See that what was measured has kept every promise: the newest executions, for there may be a million."""
    verified = await verify(storage, limit=_CHECKED)
    if verified.breaches:
        msg = "\n".join(map(str, verified.breaches[:20]))
        raise AssertionError(msg)


async def in_parallel(amount: int, callers: int, call: Callable[[int], Awaitable[Any]]) -> None:
    """Call it with each number below *amount*, from *callers* tasks that take turns."""
    numbers = iter(range(amount))

    async def caller() -> None:
        for number in numbers:
            await call(number)

    async with anyio.create_task_group() as tasks:
        for _ in range(min(callers, amount)):
            tasks.start_soon(caller)


async def start_backlog(engine: Engine, workflow: Workflow[Order, Any], amount: int) -> None:
    """Create so many executions, each due at once."""

    async def start(number: int) -> None:
        await engine.start(workflow, Order(number, "ada"))

    await in_parallel(amount, _CALLERS, start)


@dataclass(frozen=True, slots=True)
class Spent:
    """Time that went by, and processor time of all threads of this process; seconds."""

    wall: float
    cpu: float


class Stopwatch:
    """Runs from when it is made."""

    def __init__(self) -> None:
        self._wall = time.perf_counter()
        self._cpu = time.process_time()

    def read(self) -> Spent:
        """Return what was spent until now."""
        return Spent(time.perf_counter() - self._wall, time.process_time() - self._cpu)


async def run_backlog(
    engine: Engine,
    workflow: Workflow[Order, Receipt],
    tally: Tally,
    amount: int,
    *,
    concurrency: int,
    watching: AbstractContextManager[None] | None = None,
) -> Spent:
    """Create a backlog, then run a worker until all of it has ended, and return what the latter took.

    The last execution to run its last step is the last to be committed, for commits keep their order; waiting for its
    result is waiting for all. *watching* is entered for just as long as is measured.
    """
    await start_backlog(engine, workflow, amount)
    tally.expect(amount)
    with nullcontext() if watching is None else watching:
        watch = Stopwatch()
        async with engine.worker(concurrency=concurrency):
            await engine.handle(workflow, await tally.last()).result()
            return watch.read()


async def succeeded(engine: Engine) -> int:
    """Count the executions that ended well."""
    amount, after = 0, None
    while True:
        page = await engine.find(Query(status="succeeded", limit=1000, after=after))
        amount += len(page.executions)
        if page.next is None:
            return amount
        after = page.next


def run(backend: str, program: Callable[..., Awaitable[Any]], /, *arguments: Any) -> Any:
    """Run an async program on this backend and return its result."""
    return anyio.run(partial(program, *arguments), backend=backend)
