"""What an engine has while it is open: its tasks, its workers, and what all of them share.

Starts tasks: the group commit, the callbacks of listeners, the wait for results, the ear for other processes. All run
shielded in the task group of `async with engine`, and are told to stop when the block is left.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
from anyio import CancelScope

from stepwell._client import Client
from stepwell._commits import Commits
from stepwell._crashes import guarded_task_group
from stepwell._errors import EngineClosed
from stepwell._interrupts import mark_shelters, sheltered
from stepwell._leases import Ending
from stepwell._loop import Loop
from stepwell._model import NEVER, Change, Status
from stepwell._notices import notices
from stepwell._outbox import Outbox
from stepwell._own_task import call_in_own_task
from stepwell._results import Results
from stepwell._services import Services
from stepwell._wakeups import Wakeups
from stepwell._worker import Worker
from stepwell.storage._protocol import StorageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from stepwell._claims import Place
    from stepwell._entropy import Entropy
    from stepwell._listeners import Listeners
    from stepwell._model import Row, Unit
    from stepwell._program import Program
    from stepwell._registry import Registry
    from stepwell._settings import Settings
    from stepwell._unstoppable import OnUnstoppable
    from stepwell.storage._protocol import Storage

__all__ = ["Session"]

_ROUNDING = 2e-6
"""seconds: the storage counts whole microseconds, and who comes one too early would come again only at the next poll"""
_EAR_PAUSE = 1.0
"""seconds before hints are asked for again from a storage that failed to give them"""

_CLOSE_LIMIT = 5.0
"""seconds that closing may take: for workers of the caller's own tasks, and for commits in flight"""


class Session:
    """An open engine's working parts."""

    def __init__(
        self, storage: Storage, registry: Registry, settings: Settings, entropy: Entropy, listeners: Listeners
    ) -> None:
        self.storage = storage
        self.wakeups = Wakeups()
        self._registry = registry
        self._settings = settings
        self._entropy = entropy
        self._listeners = listeners
        self._workers: dict[Worker, None] = {}
        self._left = anyio.Event()
        self._commits = Commits(storage, self._committed_after_its_start)
        self._starts = Commits(storage, self._committed)
        self.results = Results(storage, self.wakeups)
        self.services = Services(
            storage,
            self._commits,
            self._starts,
            Loop.running(),
            entropy,
            settings.limits,
            settings.max_crashes,
            self._committed,
            partial(_next_id, entropy.token(), itertools.count(1)),
        )
        self.client = Client(self.services, self._place)

    def client_in(self, connection: Any) -> Client | Outbox:
        """Return who starts and signals: by itself, or within the transaction that is open on *connection*."""
        return self.client if connection is None else Outbox(self.services, connection)

    @asynccontextmanager
    async def live(self) -> AsyncGenerator[None]:
        """Run the tasks for as long as the block runs."""
        mark_shelters()
        async with guarded_task_group("a task of the engine died") as tasks:
            scopes: list[CancelScope] = []
            for work in (self._commits.run, self._starts.run, self._listeners.run, self.results.run, self._hear):
                scopes.append(CancelScope(shield=True))
                tasks.start_soon(sheltered, _under, scopes[-1], work)
            try:
                yield
            finally:
                try:
                    await self._close()
                finally:  # whatever interrupts the closing: the tasks are shielded, and would be waited for for ever
                    for scope in scopes:
                        scope.cancel()

    async def _close(self) -> None:
        """Stop what still runs in tasks of the caller's, and commit what was asked for, all within five seconds."""
        closed = EngineClosed(self._settings.name)
        try:
            with anyio.move_on_after(_CLOSE_LIMIT, shield=True):
                for worker in self._workers:
                    worker.close()
                while self._workers:
                    self._left = anyio.Event()
                    await self._left.wait()
                await self._starts.finish(closed)
                await self._commits.finish(closed)
        finally:
            self._starts.give_up(closed)
            self._commits.give_up(closed)
            self.results.close(closed)
        await self._listeners.flush()

    def new_worker(self, concurrency: int, *, single_step: bool = False) -> Worker:
        """Make a worker whose id nobody else has, whatever the engine's name."""
        return Worker(
            f"{self._settings.name}-{self._entropy.token()}",
            self.services,
            self._registry,
            self._settings.timing,
            concurrency=concurrency,
            listeners=self._listeners,
            single_step=single_step,
        )

    async def run_once(self, worker: Worker, limit: int) -> int:
        """Let the worker do one polling cycle."""
        self._workers[worker] = None
        try:
            claimed: int = await call_in_own_task(sheltered, (worker.run_once, limit), f"stepwell worker {worker.id}")
            return claimed
        finally:
            del self._workers[worker]
            self._left.set()

    async def run_worker(
        self, worker: Worker, *, poll: float, grace: float, on_unstoppable: OnUnstoppable, ready: Callable[[], None]
    ) -> None:
        """Let the worker run until it is stopped or cancelled."""
        self._workers[worker] = None
        try:
            with self.wakeups.bell() as bell:
                # In a task of its own, where asyncio's `Task.cancel()` can't cut through what is shielded.
                run = partial(
                    worker.run, bell, poll_interval=poll, grace=grace, on_unstoppable=on_unstoppable, ready=ready
                )
                await call_in_own_task(sheltered, (run,), f"stepwell worker {worker.id}")
        finally:
            del self._workers[worker]
            self._left.set()

    def _place(self, program: Program) -> Place | None:
        """Return a free slot of some worker here for an execution that is being started."""
        return next((place for worker in self._workers if (place := worker.place(program)) is not None), None)

    async def _hear(self) -> None:
        """Ring the bells when another process or engine has changed something."""
        while True:
            await anyio.lowlevel.checkpoint()  # whatever the storage does: its hints must not stop the loop
            try:
                await self.storage.wakeup()
            except StorageError:
                await anyio.sleep(_EAR_PAUSE)  # the polls go on meanwhile
            self.wakeups.ring(from_elsewhere=True)

    def _committed_after_its_start(self, unit: Unit) -> None:
        """Tell of a unit whose execution's start may be under way in the other lane, but not before that is told."""
        first = unit[0]
        self._starts.after(first.row.id if isinstance(first, Change) else first.id, partial(self._committed, unit))

    def _committed(self, unit: Unit) -> None:
        """Tell this process what was committed. Called in the order of the commits, before those who sent it hear."""
        for item in unit:
            if not isinstance(item, Change):
                self.wakeups.ring()
                continue
            if item.due is not None and item.row.status is not Status.RUNNING and item.due != NEVER:
                # A time by the storage's clock may have passed already: whoever claims finds out.
                self.wakeups.ring(item.due.after + _ROUNDING if item.due.after else 0.0)
            if not item.expects:
                self.results.started(item.row.id)
            if item.row.status.is_terminal:
                self._ended(item.row)
            if self._listeners.is_needed:
                for event in notices(item):
                    self._listeners.tell(event)

    def _ended(self, row: Row) -> None:
        if row.status is Status.CANCELLED:
            for worker in self._workers:
                worker.leases.end(row.id, Ending.CANCELLED)
        self.results.ended(row)


async def _under(scope: CancelScope, work: Callable[[], Awaitable[Any]]) -> None:
    with scope:
        await work()


def _next_id(prefix: str, numbers: itertools.count[int]) -> str:
    return f"{prefix}-{next(numbers)}"
