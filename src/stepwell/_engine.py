"""The engine: the one object that applications hold. It checks what it is asked, and passes it on."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Self, overload

from anyio import TASK_STATUS_IGNORED, AsyncContextManagerMixin
from anyio.lowlevel import current_token

from stepwell._checks import InvalidArgument, check_execution_id, check_metadata, check_reason, check_tags
from stepwell._client import known_id
from stepwell._crashes import guarded_task_group
from stepwell._entropy import Entropy
from stepwell._errors import EngineClosed
from stepwell._execution import Execution, JournalEntry, Page, Query
from stepwell._failure import describe
from stepwell._handle import Handle
from stepwell._limits import Limits
from stepwell._listeners import Listener, Listeners
from stepwell._purging import purge
from stepwell._registry import Registry
from stepwell._retry import Seconds, seconds
from stepwell._session import Session
from stepwell._settings import Settings, checked_storage, due_moment, positive, step_name, unstoppable_policy
from stepwell.storage.memory import MemoryStorage

if TYPE_CHECKING:
    from datetime import datetime

    from anyio.abc import ObjectReceiveStream, TaskStatus

    from stepwell._definition import Wait, Workflow
    from stepwell._graph import Graph
    from stepwell._model import Status, Stored
    from stepwell._notices import Event, Lagged
    from stepwell._program import Program
    from stepwell._typevars import InputT, OutT, SignalT
    from stepwell._unstoppable import OnUnstoppable
    from stepwell._worker import Worker
    from stepwell.storage._protocol import Storage

__all__ = ["Engine"]


def _here() -> tuple[object, int]:
    """Return the event loop and the process in which this is called."""
    return current_token(), os.getpid()


class Engine(AsyncContextManagerMixin):
    """Starts executions, tells how they stand, and runs workers. An async context manager; nothing runs outside it.

    *storage* must be open, and stay open; without one the engine keeps everything in memory. *lease* (seconds) is how
    long a worker that disappears keeps its executions; it is renewed every *renew_every* (a quarter of it, if None).
    *default_timeout* (seconds; None for no limit) bounds each attempt of a step that names no timeout. *max_crashes* is
    how often an execution may take its worker down before it fails. *name* begins the ids of its workers. With a *seed*
    its ids and its jitter are the same in every run: for simulations only, as two engines with one seed make the same
    ids.
    """

    def __init__(
        self,
        storage: Storage | None = None,
        *,
        workflows: Sequence[Workflow[Any, Any]] = (),
        lease: Seconds = 60.0,
        renew_every: Seconds | None = None,
        default_timeout: Seconds | None = 30.0,
        max_crashes: int = 3,
        limits: Limits | None = None,
        name: str | None = None,
        seed: int | None = None,
    ) -> None:
        self._settings = Settings.of(
            lease, renew_every, default_timeout, max_crashes, Limits() if limits is None else limits, name
        )
        self._storage = checked_storage(storage)
        self._registry = Registry(self._settings.limits, self._settings.default_timeout)
        self._entropy = Entropy(seed)
        self._listeners = Listeners()
        self._session: Session | None = None
        self._home: tuple[object, int] | None = None
        self._registry.add_all(workflows)

    # -- living --------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        async with AsyncExitStack() as stack:
            storage = self._storage
            if storage is None:
                storage = await stack.enter_async_context(MemoryStorage())
            self._registry.begin()
            for refused in await self._registry.publish(storage):
                raise refused
            session = Session(storage, self._registry, self._settings, self._entropy, self._listeners)
            self._session, self._home = session, _here()
            try:
                async with session.live():
                    yield self
            finally:
                self._session = None

    def _opened(self) -> Session:
        if self._session is None:
            raise EngineClosed(self._settings.name)
        if self._home != _here():  # who waits for something of another loop waits for ever
            raise EngineClosed(self._settings.name, is_elsewhere=True)
        return self._session

    async def _ready(self) -> Session:
        """Return the session once the storage knows every workflow."""
        session = self._opened()
        await self._registry.publish(session.storage)
        return session

    # -- workflows -----------------------------------------------------------------------------------------------------

    def register(self, workflow: Workflow[Any, Any], /) -> None:
        """Make a workflow known, with the workflows of its subworkflows; the same one twice is harmless.

        Raises DefinitionError where a type of it can't be resolved, and DefinitionChanged where the name and version
        has another graph: here if this engine knows it, at `start` if live executions in the storage use it.
        """
        self._registry.add(workflow)

    def describe(self, name: str, version: str | None = None) -> Graph:
        """Return a registered workflow's graph. Raises UnknownWorkflow, also where several versions are registered."""
        return self._registry.find(name, version).workflow.graph

    # -- executions ----------------------------------------------------------------------------------------------------

    @overload
    async def start(
        self,
        workflow: Workflow[InputT, OutT],
        input: InputT,
        /,
        *,
        id: str | None = None,
        tags: Sequence[str] = (),
        metadata: Mapping[str, str | int | bool] | None = None,
        delay: Seconds | None = None,
        at: datetime | None = None,
        version: str | None = None,
        connection: Any = None,
    ) -> Handle[OutT]: ...
    @overload
    async def start(
        self,
        workflow: str,
        input: Any,
        /,
        *,
        id: str | None = None,
        tags: Sequence[str] = (),
        metadata: Mapping[str, str | int | bool] | None = None,
        delay: Seconds | None = None,
        at: datetime | None = None,
        version: str | None = None,
        connection: Any = None,
    ) -> Handle[Any]: ...
    async def start(
        self,
        workflow: Workflow[Any, Any] | str,
        input: Any,
        /,
        *,
        id: str | None = None,
        tags: Sequence[str] = (),
        metadata: Mapping[str, str | int | bool] | None = None,
        delay: Seconds | None = None,
        at: datetime | None = None,
        version: str | None = None,
        connection: Any = None,
    ) -> Handle[Any]:
        """Create an execution, durable when this returns, and return its handle.

        The same *id* with the same workflow and input is the same execution; with other content it is an
        ExecutionConflict. Without an id it gets one of its own. It is due at once, after *delay* seconds, or *at* a
        time. Raises UnknownWorkflow, DefinitionChanged, PayloadError (with the path of what doesn't fit),
        InvalidArgument and StorageError; after the last it may exist or not, and starting it again with the same id is
        safe.

        With *connection*, an asyncpg connection with an open transaction, it is part of that transaction: it exists
        exactly if the caller commits. This takes a `PostgresStorage` and asyncio.
        """
        opened = self._opened()
        program = await self._registry.ready(opened.storage, workflow, version)
        what = f"the input of workflow {program.workflow.name!r}"
        handle: Handle[Any] = Handle(
            self,
            await opened.client_in(connection).start(
                program,
                program.input.canonical(input, limits=self._settings.limits, what=what),
                id=None if id is None else check_execution_id(id),
                tags=check_tags(tags, self._settings.limits) if tags else (),
                metadata={} if metadata is None else check_metadata(metadata),
                due=due_moment(delay, at),
                pinned=version is not None,
            ),
        )
        return handle

    def handle(self, workflow: Workflow[Any, OutT], id: str, /) -> Handle[OutT]:
        """Return the handle of an execution that was started before, here or elsewhere; nothing is looked up."""
        self._registry.find(workflow)
        return Handle(self, id)

    async def get(self, id: str, /) -> Execution:
        """Return how an execution stands. Raises ExecutionNotFound."""
        return Execution.of(await self._opened().client.load(id))

    async def find(self, query: Query | None = None, /) -> Page:
        """Return one page of executions, newest first, without their steps and data."""
        storage = self._opened().storage
        asked = Query() if query is None else query
        if not isinstance(asked, Query):  # pyright: ignore[reportUnnecessaryIsInstance] -- callers without a type checker
            raise InvalidArgument(f"find takes a Query, not {describe(query)}")
        return Page.of(await storage.find(asked.to_rows()))

    async def journal(self, id: str, /, after: int = 0, limit: int = 1000) -> list[JournalEntry]:
        """Return up to *limit* (at most 10,000) lines of an execution's journal above *after*, in order."""
        return await self._opened().client.journal(id, after, limit)

    @overload
    async def signal(
        self,
        id: str,
        step: Wait[Any, SignalT, Any, Any],
        payload: SignalT,
        /,
        *,
        signal_id: str | None = None,
        connection: Any = None,
    ) -> None: ...
    @overload
    async def signal(
        self, id: str, step: str, payload: Any = None, /, *, signal_id: str | None = None, connection: Any = None
    ) -> None: ...
    async def signal(
        self, id: str, step: Any, payload: Any = None, /, *, signal_id: str | None = None, connection: Any = None
    ) -> None:
        """Send a signal to a wait, durable when this returns: used at once if the wait is open, else kept for it.

        The same *signal_id* with the same content is harmless. Raises ExecutionNotFound, ExecutionEnded, PayloadError,
        and a SignalError that says why it is not taken; then nothing of it is stored. With *connection* it is part of
        the caller's transaction (as for `start`), and its wait looks once that is committed.
        """
        opened = await self._ready()
        name = step_name(step)
        key = self._entropy.id() if signal_id is None else check_execution_id(signal_id, what="the signal id")
        await opened.client_in(connection).signal(self._program_of, id, name, payload, key)

    async def cancel(self, id: str, /, reason: str = "") -> Status:
        """Cancel an execution and its open children; return how it stands then: cancelled, or already ended and how.

        What runs is stopped: at once if it runs in this process, elsewhere as soon as its worker looks.
        """
        return await self._opened().client.cancel(id, check_reason(reason))

    async def pause(self, id: str, /, reason: str = "") -> None:
        """Let a running step finish and keep its result, and start nothing further. Raises ExecutionEnded."""
        await self._opened().client.pause(id, check_reason(reason))

    async def resume(self, id: str, /, attempts: int = 1) -> None:
        """Go on after a pause, or give the step that failed *attempts* more attempts. Raises NotResumable."""
        opened = await self._ready()
        await opened.client.resume(self._program_of, id, positive(attempts, "attempts"))

    def _program_of(self, stored: Stored) -> Program:
        return self._registry.find(stored.row.workflow, stored.row.version)

    async def result_of(self, id: str, /) -> Any:
        """Wait until an execution has ended and return its output, as `Handle.result` does."""
        opened = self._opened()
        return await opened.client.outcome(await opened.results.wait(known_id(id)), self._registry.programs)

    async def purge(self, *, older_than: Seconds, batch: int = 500) -> int:
        """Delete what ended longer than *older_than* ago, with its journal, signals and input; return how many it were.

        The storage's clock decides. An execution goes with its children, once all of them ended so long ago; a child
        stays while its parent is there. Afterwards the id is free: starting the same id makes a new execution, and
        whoever still waits for the old one's result gets ExecutionNotFound. 0 deletes all that has ended by now.

        Goes in batches of about *batch* executions, which hold up no claim and no commit. May be cancelled at any time,
        and called by several processes at once: what is deleted stays deleted, and is counted by one of them. Raises
        ValueError for a negative time, and StorageError.
        """
        return await purge(self._opened().storage, older_than, batch)

    # -- running -------------------------------------------------------------------------------------------------------

    async def run_due(self, limit: int | None = None) -> int:
        """Do one polling cycle: claim up to *limit* due executions (100), run one step of each, return how many."""
        session = await self._ready()
        amount = 100 if limit is None else positive(limit, "limit")
        return await session.run_once(session.new_worker(amount, single_step=True), amount)

    async def run_until_idle(self, max_passes: int = 1_000) -> int:
        """Repeat `run_due` until nothing that this engine can run is due; return how many claims that took.

        Raises RuntimeError after *max_passes* cycles: something makes work without end.
        """
        claimed = 0
        for _ in range(positive(max_passes, "max_passes")):
            count = await self.run_due()
            if not count:
                return claimed
            claimed += count
        raise RuntimeError(f"still not idle after {max_passes} passes")

    @asynccontextmanager
    async def worker(
        self,
        *,
        concurrency: int = 100,
        poll_interval: Seconds = 1.0,
        grace: Seconds = 30.0,
        on_unstoppable: OnUnstoppable = "abandon",
    ) -> AsyncGenerator[Worker]:
        """Run a worker for as long as the block runs, with up to *concurrency* executions at a time.

        Left normally or by an exception of the block's own (which leaves as it is), the worker claims nothing more,
        lets running steps end for up to *grace* seconds, then cancels them and hands their leases back. Left by
        cancellation, it does so at once. A thread that runs on is not waited for. A worker that dies cancels the block
        and is raised as WorkerCrashed.

        A handler that goes on for five seconds after its cancellation is *unstoppable*; so is, at once, a `def`
        activity that is left behind in its thread. Neither can commit any more, and a `step.unstoppable` event tells of
        it. With `on_unstoppable="abandon"` the worker goes on without it: its slot is used again, for as many of them
        as there are slots (threads keep their places among the threads). With `"exit"` the worker drains and dies of an
        UnstoppableHandler; if the handler keeps it even from that, for ten seconds beyond the grace, the process ends
        with exit code 70.
        """
        async with guarded_task_group("a worker died") as tasks:
            run = partial(
                self.run_worker,
                concurrency=concurrency,
                poll_interval=poll_interval,
                grace=grace,
                on_unstoppable=on_unstoppable,
            )
            worker: Worker = await tasks.start(run)
            try:
                yield worker
            finally:
                worker.stop()

    async def run_worker(
        self,
        *,
        concurrency: int = 100,
        poll_interval: Seconds = 1.0,
        grace: Seconds = 30.0,
        on_unstoppable: OnUnstoppable = "abandon",
        task_status: TaskStatus[Worker] = TASK_STATUS_IGNORED,
    ) -> None:
        """Run a worker until it is cancelled or stopped; with `task_group.start`, returns once it is about to claim.

        Takes the settings of `worker`. Raises UnstoppableHandler where the worker exits for one.
        """
        poll = seconds(poll_interval, "poll_interval")
        if poll <= 0:
            raise InvalidArgument("poll_interval must be above 0 seconds")
        patience = seconds(grace, "grace")
        session = await self._ready()
        worker = session.new_worker(positive(concurrency, "concurrency"))
        ready = partial(task_status.started, worker)
        policy = unstoppable_policy(on_unstoppable)
        await session.run_worker(worker, poll=poll, grace=patience, on_unstoppable=policy, ready=ready)

    # -- telling -------------------------------------------------------------------------------------------------------

    def events(
        self, *kinds: str, buffer: int = 256
    ) -> AbstractAsyncContextManager[ObjectReceiveStream[Event | Lagged]]:
        """Open a stream of this process's events of these kinds (all, if none is named), from now on.

        A stream whose *buffer* (events) is full loses events and tells so with a Lagged; it holds nobody up.
        """
        return self._listeners.stream(kinds, buffer)

    def on(self, kind: str | Sequence[str], listener: Listener) -> Callable[[], None]:
        """Call *listener* with each event of that kind, one at a time, outside the engine's way; return what ends that.

        A listener that raises is logged. One that is slow makes the listeners wait for each other, and nobody else.
        """
        return self._listeners.add([kind] if isinstance(kind, str) else kind, listener)
