"""Handlers that go on after their cancellation: fenced off, told of, and their slots handled by a policy."""

from __future__ import annotations

import threading
from typing import Any

import anyio
import pytest

from stepwell import Engine, Event, InvalidArgument, Status, UnstoppableHandler, WorkerCrashed
from stepwell.storage import Storage
from tests.engine.flows import HOUR_POLL, Ctx, line
from tests.support.waiting import Recorder

pytestmark = pytest.mark.anyio

DEAF = 300.0
"""seconds for which a handler shields itself"""


async def deaf(ctx: Ctx) -> str:
    if ctx.input >= 0 and ctx.attempt == 1:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(DEAF)
    return f"attempt {ctx.attempt}"


async def at_peace(ctx: Ctx) -> str:
    await anyio.sleep(1)
    return "done"


FLOW = line(deaf, timeout=10)
OTHER = line(at_peace, name="other")


async def test_the_slot_of_an_abandoned_handler_is_used_again(store: Storage) -> None:
    told: Recorder[Event] = Recorder()
    began: Recorder[Event] = Recorder()
    async with (
        Engine(store, workflows=[FLOW, OTHER]) as engine,
        engine.worker(concurrency=1, poll_interval=HOUR_POLL) as worker,
    ):
        engine.on("step.unstoppable", told.record)
        engine.on("step.started", began.record)
        await engine.start(FLOW, 1, id="deaf")
        await began.until_count(1)
        waiting = await engine.start(OTHER, 1)
        assert await waiting.result(30) == "done", "the handler is given up at 15"
        assert anyio.current_time() < 20
        assert worker.abandoned == 1
        (event,) = told.entries
        assert (event.kind, event.step, event.visit, event.attempt) == ("step.unstoppable", "deaf", 1, 1)
        assert event.execution is not None
        assert (event.execution.id, event.worker) == ("deaf", worker.id)
        assert "its slot is used again (1 of at most 1 are)" in event.message
        await anyio.sleep(DEAF)
        assert worker.abandoned == 0
        assert await (await engine.start(OTHER, 2)).result(30) == "done", "and the slots are counted right after that"


async def test_no_more_slots_are_used_again_than_there_are(store: Storage) -> None:
    told: Recorder[Event] = Recorder()
    async with (
        Engine(store, workflows=[FLOW, OTHER]) as engine,
        engine.worker(concurrency=2, poll_interval=5) as worker,
    ):
        engine.on("step.unstoppable", told.record)
        for number in range(6):
            await engine.start(FLOW, number, id=f"deaf {number}")
        await told.until_count(4)
        assert worker.abandoned == 2
        assert ["is used again" in event.message for event in told.entries] == [True, True, False, False]
        assert "is taken until it ends, for 2 others are used again already" in told.entries[2].message
        last = await engine.start(OTHER, 1)
        with pytest.raises(TimeoutError):
            await last.result(100)
        for number in range(6):
            await engine.cancel(f"deaf {number}")
        assert await last.result(2 * DEAF) == "done"
        await anyio.sleep(DEAF)
        assert worker.abandoned == 0


async def test_a_drain_does_not_spend_its_grace_on_an_abandoned_handler(store: Storage) -> None:
    told: Recorder[Event] = Recorder()
    async with Engine(store, workflows=[FLOW]) as engine:
        engine.on("step.unstoppable", told.record)
        async with engine.worker(grace=10_000):
            await engine.start(FLOW, 1, id="deaf")
            await told.until_count(1)
        assert anyio.current_time() == pytest.approx(DEAF, abs=0.1), "but for the task itself"
        assert (await engine.get("deaf")).status is Status.RUNNING, "its lease is left to lapse"
        await engine.cancel("deaf")


async def test_a_worker_that_is_to_exit_drains_and_dies_of_it(store: Storage) -> None:
    async def serve() -> None:
        async with engine.worker(on_unstoppable="exit", poll_interval=1):
            await engine.start(FLOW, 1, id="deaf")
            await anyio.sleep(14.5)  # it is given up at 15
            await engine.start(OTHER, 1, id="other")
            await anyio.sleep_forever()

    async with Engine(store, workflows=[FLOW, OTHER]) as engine:
        with pytest.raises(WorkerCrashed, match="UnstoppableHandler: step 'deaf' of execution 'deaf'") as crashed:
            await serve()
        cause = crashed.value.__cause__
        assert isinstance(cause, UnstoppableHandler)
        assert (cause.id, cause.step) == ("deaf", "deaf")
        assert (await engine.get("other")).steps["at_peace"].output == "done", "what runs beside it may end"
        await engine.cancel("deaf")
        await engine.cancel("other")


async def test_run_worker_raises_it_bare(store: Storage) -> None:
    async with Engine(store, workflows=[FLOW]) as engine:
        await engine.start(FLOW, 1, id="deaf")
        with pytest.raises(UnstoppableHandler, match="step 'deaf' of execution 'deaf' goes on although"):
            await engine.run_worker(on_unstoppable="exit")
        await engine.cancel("deaf")


@pytest.mark.real_time
@pytest.mark.parametrize("storage_kind", ["memory"])
async def test_a_worker_that_is_to_exit_dies_of_a_thread_too(storage: Storage) -> None:
    release = threading.Event()

    def work(ctx: Ctx) -> int:
        release.wait(20)
        return 1

    async def serve() -> None:
        async with engine.worker(on_unstoppable="exit", poll_interval=0.1):
            await engine.start(flow, 1, id="thread")
            await anyio.sleep_forever()

    try:
        async with Engine(storage, workflows=[flow := line(work, timeout=0.1)]) as engine:
            with pytest.raises(WorkerCrashed, match="UnstoppableHandler: step 'work' of execution 'thread'"):
                await serve()
    finally:
        release.set()


@pytest.mark.parametrize("storage_kind", ["memory"])
@pytest.mark.parametrize("policy", ["ignore", "", None, 1])
async def test_another_policy_is_refused(storage: Storage, policy: Any) -> None:
    async with Engine(storage) as engine:
        with pytest.raises(InvalidArgument, match="on_unstoppable must be 'abandon' or 'exit', not"):
            await engine.run_worker(on_unstoppable=policy)
