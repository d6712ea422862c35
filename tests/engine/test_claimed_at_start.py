"""A worker with a free slot takes what its engine starts in the very commit that creates it."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from stepwell import Engine, Event, ExecutionConflict, Handle, Status
from stepwell.storage import Storage, StorageError
from tests.engine.faulty import Faulty, How
from tests.engine.flows import HOUR_POLL, Ctx, line
from tests.support.storages import Clock
from tests.support.virtual_time import VirtualTime
from tests.support.waiting import Gate, Recorder

pytestmark = pytest.mark.anyio


async def give(ctx: Ctx) -> int:
    return ctx.input


GIVING = line(give)


class Gated:
    """A workflow whose one activity stops at a gate."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.running = self.peak = 0

        async def stop(ctx: Ctx) -> int:
            self.running += 1
            self.peak = max(self.peak, self.running)
            try:
                await self.gate.enter(ctx.execution_id)
            finally:
                self.running -= 1
            return ctx.attempt

        self.flow = line(stop)


async def test_an_idle_worker_needs_no_claim(faulty: Faulty) -> None:
    async with Engine(faulty, workflows=[GIVING]) as engine, engine.worker(poll_interval=HOUR_POLL):
        await anyio.sleep(1)
        handle = await engine.start(GIVING, 7)
        assert await handle.result(1) == 7
        execution = await handle.get()
        assert (execution.status, execution.steps["give"].attempts) == (Status.SUCCEEDED, 1)
    assert sum(faulty.claimed) == 0
    assert faulty.calls["commit"] == 2


async def test_the_journal_and_the_events_tell_the_same_as_of_a_claim_that_follows(store: Storage) -> None:
    async with Engine(store, workflows=[GIVING]) as engine:
        told: list[tuple[str, str | None, int]] = []
        engine.on(["execution.queued", "execution.started", "step.started"], lambda event: told.append(_place(event)))
        claimed = await engine.start(GIVING, 1)
        async with engine.worker():
            await claimed.result(10)
            await anyio.sleep(1)
            at_once = await engine.start(GIVING, 1)
            await at_once.result(10)
        first, second = [await handle.journal() for handle in (claimed, at_once)]
    assert [(e.kind, e.step, e.attempt, e.reference, e.seq) for e in first] == [
        (e.kind, e.step, e.attempt, e.reference, e.seq) for e in second
    ]
    of_first, of_second = ([(kind, seq) for kind, id, seq in told if id == one.id] for one in (claimed, at_once))
    assert of_first == of_second != []


def _place(event: Event) -> tuple[str, str | None, int]:
    return event.kind, None if event.execution is None else event.execution.id, event.revision


async def test_a_worker_whose_slots_are_taken_leaves_the_start_in_the_queue(store: Storage) -> None:
    gated = Gated()
    async with Engine(store, workflows=[gated.flow]) as engine, engine.worker(concurrency=1):
        await anyio.sleep(1)
        first = await engine.start(gated.flow, 1)
        await gated.gate.reached()
        second = await engine.start(gated.flow, 2)
        assert (await second.get()).status is Status.QUEUED
        gated.gate.open()
        assert [await first.result(10), await second.result(10)] == [1, 1]


async def test_what_was_due_before_comes_first(store: Storage) -> None:
    order: list[str] = []

    async def note(ctx: Ctx) -> int:
        order.append(ctx.execution_id)
        return 0

    flow = line(note)
    async with Engine(store, workflows=[flow]) as engine:
        early: list[Handle[int]] = []
        for number in range(5):
            early.append(await engine.start(flow, number, id=f"early-{number}"))
            await anyio.sleep(0.001)  # what is due in one and the same moment comes in any order
        async with engine.worker(concurrency=1):
            late = await engine.start(flow, 0, id="late")
            for handle in (*early, late):
                await handle.result(10)
    assert order == [*(handle.id for handle in early), "late"]


async def test_a_start_that_is_due_later_is_not_taken(store: Storage, virtual_time: VirtualTime) -> None:
    async with Engine(store, workflows=[GIVING]) as engine, engine.worker(poll_interval=HOUR_POLL):
        await anyio.sleep(1)
        handle = await engine.start(GIVING, 1, delay=30)
        assert (await handle.get()).status is Status.QUEUED
        assert await handle.result(60) == 1
    assert virtual_time.now() == pytest.approx(31, abs=0.1)


async def test_an_id_that_is_taken_frees_the_slot(store: Storage) -> None:
    gated = Gated()
    gated.gate.open()
    async with Engine(store, workflows=[gated.flow]) as engine, engine.worker(concurrency=1):
        await anyio.sleep(1)
        assert await (await engine.start(gated.flow, 1, id="one")).result(10) == 1
        await engine.start(gated.flow, 1, id="one")
        with pytest.raises(ExecutionConflict):
            await engine.start(gated.flow, 2, id="one")
        assert await (await engine.start(gated.flow, 2, id="two")).result(10) == 1
    assert gated.gate.arrivals.entries == ["one", "two"]


@pytest.mark.parametrize("how", [How.FAILS_BEFORE, How.FAILS_AFTER])
async def test_a_commit_whose_answer_is_lost_strands_nothing_and_costs_no_attempt(faulty: Faulty, how: How) -> None:
    attempts: Recorder[int] = Recorder()

    async def note(ctx: Ctx) -> int:
        attempts.record(ctx.attempt)
        return 1

    flow = line(note)
    async with Engine(faulty, workflows=[flow]) as engine, engine.worker(poll_interval=1):
        await anyio.sleep(10)
        faulty.spoil("commit", how=how)
        handle = await engine.start(flow, 0)
        assert await handle.result(5) == 1
    assert attempts.entries == [1]


async def test_a_start_that_never_hears_from_its_storage_keeps_no_slot(faulty: Faulty) -> None:
    async with Engine(faulty, workflows=[GIVING]) as engine, engine.worker(concurrency=1, poll_interval=1):
        await anyio.sleep(10)
        fault = faulty.spoil("commit", times=None)
        with pytest.raises(StorageError):
            await engine.start(GIVING, 0)
        fault.mend()
        assert await (await engine.start(GIVING, 1)).result(30) == 1


@pytest.mark.parametrize("caller", ["stays", "is cancelled"])
async def test_what_is_committed_when_the_worker_has_gone_is_handed_back(faulty: Faulty, caller: str) -> None:
    async with Engine(faulty, workflows=[GIVING]) as engine:
        fault = faulty.spoil("commit", how=How.HANGS_AFTER, seconds=1)
        async with anyio.create_task_group() as callers:
            with anyio.CancelScope() as worker:
                async with engine.worker(poll_interval=HOUR_POLL):
                    await anyio.sleep(1)
                    callers.start_soon(engine.start, GIVING, 1)
                    await fault.reached()
                    worker.cancel()
            if caller == "is cancelled":
                callers.cancel_scope.cancel()
        (execution,) = (await engine.find()).executions
        assert execution.status is Status.QUEUED
        assert [entry.kind for entry in await engine.journal(execution.id)][1:] == [
            "execution.claimed",
            "execution.released",
        ]
        assert await engine.run_until_idle()
        assert await engine.handle(GIVING, execution.id).result(1) == 1


async def test_a_start_that_fails_takes_nothing_from_its_own_worker(faulty: Faulty, store: Storage) -> None:
    """Another process started the same id, and this one's worker claimed that, under the token of the start."""
    gated = Gated()
    async with (
        Engine(store, workflows=[gated.flow]) as other,
        Engine(faulty, workflows=[gated.flow]) as engine,
        engine.worker(poll_interval=0.1),
    ):
        await anyio.sleep(1)
        failing = faulty.spoil("commit", times=5)
        async with anyio.create_task_group() as tasks:

            async def start() -> None:
                with pytest.raises(StorageError):
                    await engine.start(gated.flow, 1, id="same")

            tasks.start_soon(start)
            await failing.reached()
            await other.start(gated.flow, 1, id="same")
            await gated.gate.reached()
        gated.gate.open()
        handle = other.handle(gated.flow, "same")
        assert await handle.result(60) == 1
        assert "execution.released" not in [entry.kind for entry in await handle.journal()]


async def test_a_start_that_is_cancelled_before_it_is_sent_leaves_nothing(faulty: Faulty) -> None:
    async with Engine(faulty, workflows=[GIVING]) as engine, engine.worker(concurrency=2, poll_interval=HOUR_POLL):
        await anyio.sleep(1)
        fault = faulty.spoil("commit", how=How.HANGS_BEFORE, seconds=1)
        async with anyio.create_task_group() as first, anyio.create_task_group() as second:
            first.start_soon(engine.start, GIVING, 1)
            await fault.reached()
            second.start_soon(engine.start, GIVING, 2)
            await anyio.wait_all_tasks_blocked()
            second.cancel_scope.cancel()
        assert [execution.input for execution in (await engine.find()).executions] == [1]


async def test_a_worker_that_drains_takes_no_start(store: Storage) -> None:
    gated = Gated()
    async with Engine(store, workflows=[gated.flow]) as engine, anyio.create_task_group() as tasks:
        async with engine.worker(grace=60):
            await anyio.sleep(1)
            await engine.start(gated.flow, 1, id="running")
            await gated.gate.reached()

            async def start_and_open() -> None:
                await anyio.wait_all_tasks_blocked()
                await engine.start(gated.flow, 2, id="queued")
                gated.gate.open()

            tasks.start_soon(start_and_open)
        statuses: dict[str, Any] = {one.id: one.status for one in (await engine.find()).executions}
        assert statuses == {"running": Status.SUCCEEDED, "queued": Status.QUEUED}
        assert "execution.claimed" not in [entry.kind for entry in await engine.journal("queued")]


async def test_a_claim_on_its_way_has_the_free_slots(faulty: Faulty) -> None:
    gated = Gated()
    async with Engine(faulty, workflows=[gated.flow]) as engine, engine.worker(concurrency=1, poll_interval=10):
        await anyio.sleep(1)
        late = await engine.start(gated.flow, 0, delay=1)
        await anyio.sleep(0.5)
        claim = faulty.spoil("claim", how=How.HANGS_AFTER, seconds=1)
        await claim.reached()
        await anyio.sleep(0.5)  # it is made, and not answered
        now = await engine.start(gated.flow, 1)
        await anyio.sleep(20)
        assert gated.gate.arrivals.entries == [late.id]
        gated.gate.open()
        assert [await late.result(60), await now.result(60)] == [1, 1]


async def test_a_commit_that_lands_when_its_start_was_cancelled_takes_no_slot_twice(faulty: Faulty) -> None:
    gated = Gated()
    async with Engine(faulty, workflows=[gated.flow]) as engine, engine.worker(concurrency=1, poll_interval=1):
        await anyio.sleep(1)
        faulty.spoil("commit", how=How.HANGS_AFTER, seconds=6)
        with anyio.move_on_after(1):
            await engine.start(gated.flow, 0)
        await anyio.sleep(10)
        for number in range(3):
            await engine.start(gated.flow, number)
        await anyio.sleep(200)  # a renewal finds what landed, and gives it back
    assert len(set(gated.gate.arrivals.entries)) == 4
    assert gated.peak == 1


async def test_a_cancel_does_not_overtake_the_start(faulty: Faulty) -> None:
    gated = Gated()
    told: list[tuple[str, str | None]] = []
    async with Engine(faulty, workflows=[gated.flow]) as engine, engine.worker(poll_interval=HOUR_POLL):
        engine.on(["execution.queued", "execution.cancelled"], lambda event: told.append(_place(event)[:2]))
        await anyio.sleep(1)
        fault = faulty.spoil("commit", how=How.HANGS_AFTER, seconds=1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(engine.start, gated.flow, 0, id="one"))
            await fault.reached()
            while await faulty.load("one") is None:
                await anyio.lowlevel.checkpoint()
            assert await engine.cancel("one") is Status.CANCELLED
        await anyio.sleep(1)
        assert gated.running == 0
    assert told == [("execution.queued", "one"), ("execution.cancelled", "one")]


async def test_what_is_due_at_a_time_that_has_passed_waits_for_no_poll(store: Storage, clock: Clock) -> None:
    async with Engine(store, workflows=[GIVING]) as engine, engine.worker(poll_interval=HOUR_POLL):
        await anyio.sleep(1)
        at = datetime.fromtimestamp(clock() - 1, UTC)
        assert await (await engine.start(GIVING, 1, at=at)).result(1) == 1
