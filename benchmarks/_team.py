"""Workers in processes of their own, which all begin at once and stop when the last execution has reached its end.

They share a counter and an event, so nobody polls for the end. Between two phases they are open and idle, while whoever
leads them makes the next backlog.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from threading import BrokenBarrierError, Thread
from types import TracebackType
from typing import Any, Final, Self

from anyio import to_thread

from benchmarks._workload import Spent, Stopwatch, order_workflow, run
from stepwell import Engine, PostgresStorage

__all__ = ["Team", "WorkerFailed"]

_LIMIT: Final = 120.0
"""seconds that one phase may take"""
_LEAVES: Final = 20.0
"""seconds in which a process that was told to end has ended"""
_WITHOUT_END: Final = -1


class WorkerFailed(Exception):
    """Raised when a worker's process ended, or didn't answer; what it said stands on standard error."""


class _Shared:
    """What all processes see."""

    def __init__(self, processes: int) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would inherit loops and connections
        self.barrier = context.Barrier(processes + 1)
        self.left = context.Value("q", _WITHOUT_END)
        self.done = context.Event()
        self.is_over = context.Value("b", 0)
        self.reports: Any = context.Queue()
        self.processes = context.Process

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "processes"}

    def count(self, _: str) -> None:
        """Count one execution whose last step has run."""
        with self.left.get_lock():
            self.left.value -= 1
            is_last = self.left.value == 0
        if is_last:
            self.done.set()


@dataclass(frozen=True, slots=True)
class _Report:
    begun: float
    ended: float
    cpu: float


class Team:
    """So many processes, each with a worker of its own on one database. Use it in `with`; nothing here is async."""

    def __init__(self, dsn: str, *, processes: int, backend: str, concurrency: int, notify: bool = True) -> None:
        self._shared = _Shared(processes)
        work = partial(_work, dsn, backend, concurrency, notify, self._shared)
        self._processes = [self._shared.processes(target=work, daemon=True) for _ in range(processes)]

    def __enter__(self) -> Self:
        for process in self._processes:
            process.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._shared.is_over.value = 1
        if exc_type is None:
            self._all_meet()
        else:
            self._shared.barrier.abort()
            self._shared.done.set()
        for process in self._processes:
            process.join(_LEAVES)
            if process.is_alive():
                process.kill()
                process.join()

    def run(self, amount: int) -> Spent:
        """Run a backlog of *amount* executions; return the time until the last has ended, and the time of all CPUs."""
        with self._phase(amount) as spent:
            if not self._shared.done.wait(_LIMIT):
                raise WorkerFailed(f"{self._shared.left.value} of {amount} executions didn't end within {_LIMIT:g} s")
        return spent[0]

    @contextmanager
    def serving(self) -> Generator[None]:
        """Let the workers run whatever comes, for the length of the block."""
        with self._phase(_WITHOUT_END):
            yield
            self._shared.done.set()

    @contextmanager
    def _phase(self, amount: int) -> Generator[list[Spent]]:
        self._shared.left.value = amount
        self._shared.done.clear()
        self._all_meet()
        spent: list[Spent] = []
        yield spent
        reports: list[_Report] = [self._shared.reports.get(timeout=_LIMIT) for _ in self._processes]
        wall = max(one.ended for one in reports) - min(one.begun for one in reports)
        spent.append(Spent(wall, sum(one.cpu for one in reports)))

    def _all_meet(self) -> None:
        try:
            self._shared.barrier.wait(_LIMIT)
        except BrokenBarrierError:
            raise WorkerFailed("a worker's process failed") from None


def _work(dsn: str, backend: str, concurrency: int, notify: bool, shared: _Shared) -> None:  # noqa: FBT001 (of Process)
    """Be one of the processes."""
    Thread(target=_leave_with_parent, daemon=True).start()
    try:
        run(backend, _worker, dsn, concurrency, notify, shared)
    except BaseException:
        shared.barrier.abort()
        shared.done.set()
        raise


def _leave_with_parent() -> None:
    """Don't outlive whoever leads: killed, it can't tell anybody."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


async def _worker(dsn: str, concurrency: int, notify: bool, shared: _Shared) -> None:  # noqa: FBT001
    workflow = order_workflow(shared)
    async with PostgresStorage(dsn, notify=notify) as storage, Engine(storage, workflows=[workflow]) as engine:
        while True:
            await to_thread.run_sync(shared.barrier.wait, _LIMIT)
            if shared.is_over.value:
                return
            begun, watch = time.perf_counter(), Stopwatch()  # perf_counter is the machine's: processes can compare it
            async with engine.worker(concurrency=concurrency):
                await to_thread.run_sync(shared.done.wait, _LIMIT)
            shared.reports.put(_Report(begun, time.perf_counter(), watch.read().cpu))
