"""Handlers that block the event loop: a thread tells of them, and keeps their leases for as long as they may take.

On the wall clock, with short leases: virtual time stands still while a handler blocks.
"""

from __future__ import annotations

import ctypes
import logging
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Literal

import anyio
import anyio.lowlevel
import pytest
from anyio import to_thread

from stepwell import Engine, Event, ExecutionFailed, StorageError, Workflow
from stepwell._model import Kind
from stepwell.storage import Lease, Renewal, Storage
from stepwell.testing import check_invariants
from tests.engine.flows import Ctx, kinds, line
from tests.engine.small import Through, deciding
from tests.support.storages import StorageFactory, StorageKind
from tests.support.waiting import Recorder

pytestmark = [pytest.mark.anyio, pytest.mark.real_time]

LEASE = 1.0  # a busy machine stops a loop for longer than a tenth of half a second
BLOCK = 3 * LEASE
LIMIT = 30.0


@asynccontextmanager
async def rival(
    kind: StorageKind, factory: StorageFactory, *flows: Workflow[int, Any], after: threading.Event
) -> AsyncGenerator[None]:
    """Run a worker of another engine on the same database: in a loop and a thread of its own, but in memory.

    It works from when *after* is set, lest it be the first to claim.
    """
    ready, leave = threading.Event(), threading.Event()

    async def work(told: Callable[[], None], until: Callable[[], Awaitable[object]]) -> None:
        async with (
            factory() as storage,
            Engine(storage, workflows=flows, lease=LEASE, name="rival") as engine,
        ):
            told()
            await to_thread.run_sync(after.wait, LIMIT, abandon_on_cancel=True)
            async with engine.worker(poll_interval=0.1):
                await until()

    if kind == "memory":
        async with anyio.create_task_group() as tasks:
            begun = anyio.Event()
            tasks.start_soon(work, begun.set, anyio.sleep_forever)
            await begun.wait()
            yield
            tasks.cancel_scope.cancel()
        return
    until = partial(to_thread.run_sync, leave.wait, LIMIT)
    thread = threading.Thread(target=anyio.run, args=(work, ready.set, until), daemon=True)
    thread.start()
    try:
        assert await to_thread.run_sync(ready.wait, LIMIT)
        yield
    finally:
        leave.set()
        await to_thread.run_sync(thread.join, LIMIT)
    assert not thread.is_alive()


class Blocking:
    """A handler that blocks its loop at its first attempt."""

    def __init__(self, seconds: float = BLOCK, block: Callable[[float], object] = time.sleep) -> None:
        self.began: list[int] = []
        self.has_begun = threading.Event()
        self._seconds = seconds
        self._block = block

    async def work(self, ctx: Ctx) -> str:
        self.began.append(ctx.attempt)
        self.has_begun.set()
        if ctx.attempt == 1:
            self._block(self._seconds)
        return f"attempt {ctx.attempt}"


async def blocks_of(told: Recorder[Event], step: str | None) -> list[Event]:
    """Return what was told of that step's blocks, once something was: a busy machine may stop a loop, too."""

    def found(events: Sequence[Event]) -> list[Event]:
        return [event for event in events if (event.kind, event.step) == ("worker.blocked", step)]

    await told.until(lambda events: bool(found(events)), within=LIMIT)
    return found(told.entries)


async def test_a_step_that_blocks_its_loop_for_three_leases_runs_once_and_everyone_is_told(
    storage: Storage, storage_kind: StorageKind, storage_factory: StorageFactory, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "stepwell")
    told: Recorder[Event] = Recorder()
    waits: Recorder[int] = Recorder()
    blocking = Blocking()

    async def patient(ctx: Ctx) -> str:
        waits.record(ctx.attempt)
        await blocked.wait()
        return f"attempt {ctx.attempt}"

    blocked = anyio.Event()
    flow, other = line(blocking.work, timeout=60), line(patient, name="other")
    async with (
        rival(storage_kind, storage_factory, flow, after=blocking.has_begun),
        Engine(storage, workflows=[flow, other], lease=LEASE) as engine,
        engine.worker(),
    ):
        engine.on(("worker.blocked", "worker.error", "execution.lease_lost"), told.record)
        neighbour = await engine.start(other, 1)
        await waits.until_count(1)
        handle = await engine.start(flow, 1, id="e")
        result = await handle.result(LIMIT)
        (event,) = await blocks_of(told, "work")
        blocked.set()
        assert await neighbour.result(LIMIT) == "attempt 1"
    assert (result, waits.entries) == ("attempt 1", [1])
    assert blocking.began == [1]
    assert await kinds(storage, "e") == ["created 0", "claimed 1", "succeeded 1", "succeeded 1"]
    assert (event.attempt, event.execution and event.execution.id) == (1, "e")
    assert "renewed in its place" in event.message
    assert "let go" not in event.message
    assert ", in work\n" in event.message, "the stack has the handler's own frame"
    assert "self._block(self._seconds)" in event.message
    assert "_own_context" not in event.message, "and none of the engine's"
    first, last = [message for message in caplog.messages if "step 'work'" in message]
    assert "hasn't turned for 0." in first
    assert "step 'work' (attempt 1) of execution 'e' blocks it" in first
    assert "self._block(self._seconds)" in first
    assert "didn't turn for" in last
    assert {event.kind for event in told.entries} == {"worker.blocked"}
    assert await check_invariants(storage) == 2


@pytest.mark.parametrize("storage_kind", ["sqlite"])
async def test_a_block_beyond_the_handlers_timeout_is_let_go_and_its_result_refused(
    storage: Storage, storage_kind: StorageKind, storage_factory: StorageFactory, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "stepwell")
    told: Recorder[Event] = Recorder()
    blocking = Blocking(4 * LEASE)
    flow = line(blocking.work, timeout=LEASE)
    async with Engine(storage, workflows=[flow], lease=LEASE) as engine:
        engine.on(("worker.blocked", "execution.lease_lost"), told.record)
        async with engine.worker(poll_interval=0.1):
            handle = await engine.start(flow, 1, id="e")
            async with rival(storage_kind, storage_factory, flow, after=blocking.has_begun):
                assert await handle.result(LIMIT) == "attempt 2"
            (event,) = await blocks_of(told, "work")
            await told.until(lambda events: any(event.kind == "execution.lease_lost" for event in events))
    assert blocking.began == [1, 2]
    assert "let go after" in event.message
    assert any("longer than step 'work' (attempt 1) of execution 'e' may take" in one for one in caplog.messages)
    journal = await storage.journal("e")
    claims = [entry.worker for entry in journal if entry.kind is Kind.CLAIMED]
    assert [worker is not None and worker.startswith("rival") for worker in claims[:2]] == [False, True]
    assert [entry.attempt for entry in journal if entry.kind is Kind.STEP_SUCCEEDED] == [2]
    assert await check_invariants(storage) == 1


class Away:
    """A lifeline to a storage that is away."""

    def __init__(self) -> None:
        self.calls: list[float] = []

    def renew(self, worker: str, leases: Sequence[Lease], *, lease: float) -> Renewal:
        self.calls.append(time.monotonic())
        raise StorageError("it is away")

    def close(self) -> None:
        """There is nothing to give back."""


@pytest.mark.parametrize("storage_kind", ["memory"])
async def test_where_nothing_renews_the_result_of_a_blocked_loop_is_refused(storage: Storage) -> None:
    told: Recorder[Event] = Recorder()
    blocking = Blocking()
    flow = line(blocking.work)
    away = Away()
    spoilt: Any = Through(storage, lifeline=lambda: away)
    async with Engine(spoilt, workflows=[flow], lease=LEASE) as engine, engine.worker(poll_interval=0.1):
        engine.on(("worker.blocked", "execution.lease_lost"), told.record)
        assert await (await engine.start(flow, 1)).result(LIMIT) == "attempt 2"
        (event,) = await blocks_of(told, "work")
    assert blocking.began == [1, 2]
    assert "its leases ran out; its leases could not be renewed at times: it is away" in event.message
    assert away.calls[-1] - away.calls[0] < LEASE, "what isn't trusted any more is left to lapse"
    assert any(event.kind == "execution.lease_lost" for event in told.entries)


@pytest.mark.parametrize("storage_kind", ["memory"])
async def test_a_block_that_holds_the_interpreter_too_is_told_and_its_result_refused(storage: Storage) -> None:
    told: Recorder[Event] = Recorder()
    library = ctypes.PyDLL(None)  # whose calls, unlike those of a CDLL, keep the interpreter
    blocking = Blocking(2 * LEASE, lambda seconds: library.usleep(int(seconds * 1e6)))
    flow = line(blocking.work)
    async with Engine(storage, workflows=[flow], lease=LEASE) as engine, engine.worker(poll_interval=0.1):
        engine.on("worker.blocked", told.record)
        result = await (await engine.start(flow, 1)).result(LIMIT)
        await told.until(
            lambda events: any(f" for {2 * LEASE:.0f}." in event.message for event in events), within=LIMIT
        )
    assert blocking.began == [1, int(result.removeprefix("attempt "))]


@pytest.mark.parametrize("storage_kind", ["memory"])
async def test_plain_decisions_that_block_are_named_too(storage: Storage) -> None:
    told: Recorder[Event] = Recorder()

    def slow(ctx: Ctx) -> Literal["go", "stop"]:
        time.sleep(LEASE / 2)
        return "go"

    async with Engine(storage, workflows=[flow := deciding(slow)], lease=LEASE) as engine, engine.worker():
        engine.on("worker.blocked", told.record)
        assert await (await engine.start(flow, 1)).result(LIMIT) == 1
        (event,) = await blocks_of(told, "which")
    assert ", in slow\n" in event.message


@pytest.mark.parametrize("storage_kind", ["memory"])
async def test_what_blocks_in_a_task_of_a_handlers_own_is_shown_by_its_stack(storage: Storage) -> None:
    told: Recorder[Event] = Recorder()

    async def crunch() -> None:
        time.sleep(LEASE / 2)  # noqa: ASYNC251 (that is what is tested)

    async def work(ctx: Ctx) -> int:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(crunch)
        return ctx.attempt

    async with Engine(storage, workflows=[flow := line(work)], lease=LEASE) as engine, engine.worker():
        engine.on("worker.blocked", told.record)
        assert await (await engine.start(flow, 1)).result(LIMIT) == 1
        (event,) = await blocks_of(told, None)
    assert "something that is no handler's own code" in event.message
    assert ", in crunch\n" in event.message


@pytest.mark.parametrize("storage_kind", ["memory"])
async def test_a_handler_that_blocks_beyond_its_timeout_has_timed_out(storage: Storage) -> None:
    flow = line(Blocking(0.15).work, timeout=0.05)
    async with Engine(storage, workflows=[flow]) as engine, engine.worker():
        with pytest.raises(ExecutionFailed) as failed:
            await (await engine.start(flow, 1)).result(LIMIT)
    assert failed.value.failure is not None
    assert failed.value.failure.code == "timeout"


@pytest.mark.parametrize("storage_kind", ["memory"])
async def test_nothing_is_told_where_nothing_blocks(storage: Storage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "stepwell")
    told: list[Event] = []

    async def one(ctx: Ctx) -> int:
        return ctx.input

    async def two(ctx: Ctx) -> int:
        await anyio.lowlevel.checkpoint()
        return ctx.input

    async def three(ctx: Ctx) -> int:
        return ctx.input

    async def four(ctx: Ctx) -> int:
        return ctx.input

    flow = line(one, two, three, four)
    async with Engine(storage, workflows=[flow], lease=10) as engine, engine.worker(concurrency=20):
        engine.on(("worker.blocked", "worker.error"), told.append)
        for _ in range(5):  # idle in between
            handles = [await engine.start(flow, number) for number in range(20)]
            for number, handle in enumerate(handles):
                assert await handle.result(LIMIT) == number
    assert told == []
    assert not [message for message in caplog.messages if "turn" in message]


def watchdogs() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if "watchdog" in thread.name or "lifeline" in thread.name]


async def no_watchdogs() -> bool:
    """Tell whether there are none, once those that were talking to the storage have had their answers."""
    for thread in watchdogs():
        await to_thread.run_sync(thread.join, LIMIT)
    return not watchdogs()


async def test_the_threads_end_with_their_worker(storage: Storage) -> None:
    flow = line(Blocking(0.1).work)
    async with Engine(storage, workflows=[flow], lease=0.3) as engine:
        async with engine.worker() as worker:
            assert [thread.name for thread in watchdogs()] == [f"stepwell watchdog of {worker.id}"]
            await (await engine.start(flow, 1)).result(LIMIT)
        assert await no_watchdogs()
        await engine.start(flow, 1)
        assert await engine.run_until_idle() > 0
        assert await no_watchdogs()
        with pytest.raises(ZeroDivisionError):
            async with engine.worker():
                raise ZeroDivisionError
        assert await no_watchdogs()


# -- who logs ----------------------------------------------------------------------------------------------------------


class Sink(logging.Handler):
    """A log handler that does as it is told with what it gets; meanwhile it holds its lock."""

    def __init__(self, act: Callable[[str], object]) -> None:
        super().__init__()
        self._act = act

    def emit(self, record: logging.LogRecord) -> None:
        self._act(record.getMessage())


@pytest.fixture
def sink(request: pytest.FixtureRequest) -> Iterator[logging.Logger]:
    """Attach a sink to the library's logger; return that one."""
    logger, handler = logging.getLogger("stepwell"), Sink(request.param)
    logger.addHandler(handler)
    yield logger
    logger.removeHandler(handler)


def dawdle(message: str) -> None:
    if message == "of a handler":
        time.sleep(BLOCK)


def refuse(message: str) -> None:
    if "hasn't turned" in message:
        raise RuntimeError("no log today")


@pytest.mark.parametrize("storage_kind", ["memory"])
@pytest.mark.parametrize("sink", [dawdle, refuse], indirect=True)
async def test_a_log_that_blocks_or_raises_costs_no_lease(
    storage: Storage, sink: logging.Logger, request: pytest.FixtureRequest
) -> None:
    told: Recorder[Event] = Recorder()
    is_slow = request.node.callspec.params["sink"] is dawdle
    blocking = Blocking(block=(lambda _: sink.warning("of a handler")) if is_slow else time.sleep)
    flow = line(blocking.work, timeout=60)
    async with Engine(storage, workflows=[flow], lease=LEASE) as engine, engine.worker(poll_interval=0.1):
        engine.on("worker.blocked", told.record)
        assert await (await engine.start(flow, 1)).result(LIMIT) == "attempt 1"
        (event,) = await blocks_of(told, "work")
    assert blocking.began == [1]
    assert "renewed in its place" in event.message
