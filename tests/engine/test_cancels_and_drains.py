"""Cancels, pauses and drains: what runs is stopped or may end, what began is handed back, and nothing more begins."""

from __future__ import annotations

import anyio
import pytest

from stepwell import Engine, Status
from stepwell.storage import Storage
from tests.engine.faulty import Faulty, How
from tests.engine.flows import HOUR_POLL, Ctx, Steps, gated, kinds, line

pytestmark = pytest.mark.anyio


async def test_cancel_stops_the_handler_at_once_in_process(store: Storage) -> None:
    events: list[str] = []
    steps = Steps()
    flow = line(steps.work, timeout=None)
    async with Engine(store, workflows=[flow]) as engine, engine.worker(poll_interval=HOUR_POLL):
        engine.on("execution.lease_lost", lambda event: events.append(event.kind))
        handle = await engine.start(flow, 0)
        await steps.began.until_count(1)
        await anyio.sleep(3)
        assert await handle.cancel() is Status.CANCELLED
        await steps.stopped.until_count(1, within=0.01)
        assert await handle.cancel() is Status.CANCELLED
    assert events == []


@pytest.mark.promise("P7", "I7")
async def test_cancel_by_another_engine_stops_the_handler_within_one_poll(faulty: Faulty, store: Storage) -> None:
    events: list[str] = []
    steps = Steps()
    flow = line(steps.work, timeout=None)
    async with Engine(faulty, workflows=[flow]) as engine, Engine(store, workflows=[flow]) as other:
        engine.on("execution.lease_lost", lambda event: events.append(event.kind))
        async with engine.worker(poll_interval=2):
            handle = await engine.start(flow, 0)
            await steps.began.until_count(1)
            assert await other.cancel(handle.id) is Status.CANCELLED
            await steps.stopped.until_count(1, within=2.6)
    assert events == []  # a cancel is not a lost lease


@pytest.mark.promise("P12", "I22")
async def test_a_drain_hands_back_and_the_attempt_does_not_count(store: Storage) -> None:
    steps = Steps()
    flow = line(steps.work, timeout=None)
    async with Engine(store, workflows=[flow]) as engine:
        handle = await engine.start(flow, 0)
        async with engine.worker(grace=0):
            await steps.began.until_count(1)
        assert anyio.current_time() == pytest.approx(0, abs=0.01)
        assert (await handle.get()).status is Status.QUEUED
        assert await kinds(store, handle.id) == ["created 0", "claimed 1", "interrupted 1"]
        steps.seconds = 1
        async with engine.worker():
            assert await handle.result(5) == 2


async def test_a_drain_lets_steps_end_within_its_grace_and_begins_no_other(store: Storage) -> None:
    steps = Steps(10)

    async def after(ctx: Ctx) -> int:
        return 7

    flow = line(steps.work, after)
    async with Engine(store, workflows=[flow]) as engine:
        handle = await engine.start(flow, 0)
        async with engine.worker(grace=30):
            await steps.began.until_count(1)
        assert anyio.current_time() == pytest.approx(10, abs=0.01)
        execution = await handle.get()
        assert (execution.status, execution.current_step) == (Status.QUEUED, "after")
    assert steps.stopped.entries == []


@pytest.mark.promise("P12", "I22")
async def test_a_cancelled_worker_hands_back_at_once_what_it_runs(store: Storage) -> None:
    steps = Steps()
    flow = line(steps.work, timeout=None)
    async with Engine(store, workflows=[flow]) as engine:
        handle = await engine.start(flow, 0)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(engine.run_worker)
            await steps.began.until_count(1)
            tasks.cancel_scope.cancel()
        assert (await handle.get()).status is Status.QUEUED


@pytest.mark.promise("P12", "I22")
@pytest.mark.parametrize("by", ["run_worker", "run_due"])
async def test_a_worker_that_is_cancelled_while_it_claims_begins_nothing_of_it(faulty: Faulty, by: str) -> None:
    calls: list[str] = []

    async def work(ctx: Ctx) -> None:
        calls.append(ctx.execution_id)  # without a wait: nothing could stop it any more

    flow = line(work)
    async with Engine(faulty, workflows=[flow]) as engine:
        handle = await engine.start(flow, 0)
        fault = faulty.spoil("claim", how=How.HANGS_AFTER)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(engine.run_worker if by == "run_worker" else engine.run_due)
            with anyio.fail_after(10):
                await fault.reached()
            tasks.cancel_scope.cancel()
            fault.mend()
    assert calls == []
    assert await kinds(faulty, handle.id) == ["created 0", "claimed 1", "released 0"]


@pytest.mark.promise("P12", "I22")
async def test_a_worker_that_begins_in_a_scope_that_is_cancelled_runs_nothing(store: Storage) -> None:
    calls: list[str] = []

    async def work(ctx: Ctx) -> None:
        calls.append(ctx.execution_id)

    flow = line(work)
    async with Engine(store, workflows=[flow]) as engine:
        handle = await engine.start(flow, 0)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await engine.run_worker()
        assert calls == []
        assert (await handle.get()).status is Status.QUEUED


@pytest.mark.promise("P12", "I22")
async def test_an_engine_that_closes_while_its_worker_claims_goes_on_with_nothing_of_it(faulty: Faulty) -> None:
    flow = gated(timeout=50)
    async with anyio.create_task_group() as tasks:
        async with Engine(faulty, workflows=[flow]) as engine:
            handle = await engine.start(flow, 0)
            await engine.run_until_idle()
            await anyio.sleep(60)  # the gate's time is over
            fault = faulty.spoil("claim", how=How.HANGS_AFTER, seconds=1)
            tasks.start_soon(engine.run_worker)
            with anyio.fail_after(10):
                await fault.reached()
        assert (await kinds(faulty, handle.id))[-2:] == ["claimed 1", "released 1"]


@pytest.mark.promise("P1", "I1")
@pytest.mark.parametrize("how", [How.HANGS_AFTER, How.FAILS_AFTER])
async def test_an_outcome_whose_commit_is_in_flight_at_a_drain_is_recorded_once(faulty: Faulty, how: How) -> None:
    async def early(ctx: Ctx) -> str:
        return "early"

    steps = Steps(5)
    flow = line(early, steps.work)
    async with Engine(faulty, workflows=[flow]) as engine:
        handle = await engine.start(flow, 0)
        async with anyio.create_task_group() as tasks:
            fault = faulty.spoil("commit", how=how, seconds=1)
            tasks.start_soon(engine.run_worker)
            with anyio.fail_after(10):
                await fault.reached()
            tasks.cancel_scope.cancel()
        execution = await handle.get()
        assert execution.steps["early"].output == "early"
        assert (execution.status, execution.current_step) == (Status.QUEUED, "work")
        async with engine.worker():
            assert await handle.result(10) in {1, 2}  # the answer that was lost may have come before the drain


async def test_a_pause_lets_the_running_step_finish_and_nothing_more_begins(store: Storage) -> None:
    steps = Steps(10)

    async def after(ctx: Ctx) -> int:
        return 7

    flow = line(steps.work, after)
    async with Engine(store, workflows=[flow]) as engine, engine.worker(poll_interval=HOUR_POLL):
        handle = await engine.start(flow, 0)
        await steps.began.until_count(1)
        await handle.pause("a look")
        await anyio.sleep(20)
        execution = await handle.get()
        assert (execution.status, execution.current_step) == (Status.PAUSED, "after")
        assert execution.steps["work"].output == 1
        await handle.resume()
        assert await handle.result(1) == 7
    assert steps.stopped.entries == []


async def test_cancel_by_another_engine_stops_the_handler_of_a_worker_that_drains(
    faulty: Faulty, store: Storage
) -> None:
    steps = Steps()
    flow = line(steps.work, timeout=None)
    async with (
        Engine(faulty, workflows=[flow]) as engine,
        Engine(store, workflows=[flow]) as other,
        engine.worker(poll_interval=2, grace=100) as worker,
    ):
        handle = await engine.start(flow, 0)
        await steps.began.until_count(1)
        worker.stop()
        await anyio.sleep(1)
        assert await other.cancel(handle.id) is Status.CANCELLED
        await steps.stopped.until_count(1, within=2.6)
