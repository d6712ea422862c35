"""What a cold review once broke: each of these hung, starved, repeated or misreported something."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import anyio
import pytest

from stepwell import Engine, Event, MemoryStorage, Status, StorageError
from stepwell._claims import hand_back
from stepwell._leases import Ending, Leases, Timing
from stepwell.storage import Claims, Lease, Unit
from stepwell.storage._protocol import Storage
from tests.engine.small import Ctx, healthy, single
from tests.support.waiting import Gate, Recorder

pytestmark = pytest.mark.anyio


async def work(ctx: Ctx) -> int:
    return 1


class AnswersLate(MemoryStorage):
    """Fails one commit, which then goes through right before the next."""

    held: Sequence[Unit] = ()
    loses_next = False

    async def commit(self, units: Sequence[Unit], /) -> list[bool]:
        if self.loses_next:
            self.loses_next, self.held = False, units
            raise StorageError("the connection was lost")
        late, self.held = self.held, ()
        if late:
            await super().commit(late)
        return await super().commit(units)


@pytest.mark.promise("I26")
async def test_a_resume_whose_first_try_lands_late_is_no_error() -> None:
    async with AnswersLate() as storage, Engine(storage, workflows=[flow := single(work)]) as engine:
        handle = await engine.start(flow, 1)
        await handle.pause()
        storage.loses_next = True
        await handle.resume()
        assert (await handle.get()).status is Status.QUEUED
        assert [entry.kind for entry in await handle.journal()].count("execution.resumed") == 1


@pytest.mark.real_time
async def test_two_engines_on_one_storage_object_hear_each_other(storage: Storage) -> None:
    flow = single(work)
    async with (
        Engine(storage, workflows=[flow]) as client,
        Engine(storage, workflows=[flow]) as other,
        other.worker(poll_interval=3600),
    ):
        assert await (await client.start(flow, 1)).result(20) == 1  # the worker is idle by now
        assert await (await client.start(flow, 2)).result(20) == 2


@pytest.mark.real_time
@pytest.mark.parametrize("storage_kind", ["memory"])
async def test_hung_threads_are_told_of_and_leave_the_claim_to_others(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stepwell._calls._PLACE_LIMIT", 0.05)
    release = threading.Event()

    def hang(ctx: Ctx) -> None:
        release.wait(30)

    told: Recorder[str] = Recorder()
    flow = single(hang, timeout=0.05, retry=2)
    async with Engine(storage, workflows=[flow]) as engine:
        engine.on("worker.error", lambda event: told.record(event.message))
        try:
            async with engine.worker(concurrency=1, poll_interval=0.05):
                handle = await engine.start(flow, 1)
                await told.until(lambda messages: any("no free thread" in message for message in messages), within=20)
                kinds = [entry.kind for entry in await handle.journal()]
                assert "execution.released" in kinds or (await handle.get()).status is Status.WAITING
        finally:
            release.set()


async def test_a_claim_that_nobody_runs_is_handed_back_under_the_engines_own_crash_budget(storage: Storage) -> None:
    """It was decided under the default, so that an execution which had lost attempts failed for a lost answer."""
    flow = single(work)
    async with Engine(storage, workflows=[flow], max_crashes=10) as engine:
        handle = await engine.start(flow, 1)
        token = 0
        for _ in range(6):
            (stored,) = (await storage.claim("gone", [flow.key], limit=1, lease=0.5)).claimed
            token = stored.row.token
            await anyio.sleep(1)
        await hand_back(engine._opened().services, "gone", Lease(handle.id, token), lambda _: flow)
        assert (await handle.get()).status is Status.WAITING
        async with engine.worker():
            assert await handle.result(300) == 1


async def test_a_lease_that_is_heard_of_late_does_not_displace_a_later_one() -> None:
    """It did, and took the later one along when it ended: a lease that ran was handed back as one that nobody knew."""

    def never(*_: object) -> None:
        raise AssertionError("nothing is to be told")

    async with MemoryStorage() as storage:
        timing = Timing(lease=10, renew_every=2, margin=1)
        leases = Leases(storage, "w", timing, unknown=never, unstoppable=never, stalled=never, failed=never)
        later = leases.take("e", 4, sent_at=anyio.current_time())
        late = leases.take("e", 1, sent_at=anyio.current_time() - 20)
        assert (late.ending, late.scope.cancel_called) == (Ending.LOST, True)
        leases.drop(late)
        assert leases.all() == [Lease("e", 4)]
        assert later.ending is None


async def test_suspects_that_wait_for_their_turn_come_back_ever_more_seldom(storage: Storage) -> None:
    gate = Gate()

    async def long(ctx: Ctx) -> None:
        await gate.enter(ctx.execution_id)

    flow = single(long, timeout=None)
    async with Engine(storage, workflows=[flow], lease=10) as engine:
        capabilities = [flow.key]
        for id in "abc":
            await engine.start(flow, 1, id=id)
        for _ in range(2):  # lost twice
            assert len((await storage.claim("dead", capabilities, limit=3, lease=0)).claimed) == 3
        async with engine.worker():
            await gate.reached(1)
            await anyio.sleep(600)
            lengths = sorted([len(await engine.journal(id)) for id in "abc"])
            assert lengths[0] <= 6  # the one that runs
            assert lengths[2] <= 50  # instead of two entries a second
            gate.open()
            for id in "abc":
                assert await engine.handle(flow, id).result(600) == 1


async def test_hints_do_not_shorten_the_back_off_from_a_storage_that_fails() -> None:
    class Broken(MemoryStorage):
        async def claim(
            self,
            worker: str,
            capabilities: Sequence[tuple[str, str]],
            /,
            *,
            limit: int,
            lease: float,
            held: Sequence[Lease] = (),
        ) -> Claims:
            raise StorageError("no")

    troubles: list[Event] = []
    async with Broken() as storage, Engine(storage, workflows=[flow := single(work)]) as engine:
        engine.on("worker.error", troubles.append)
        async with engine.worker(poll_interval=1):
            for _ in range(100):
                await engine.start(flow, 1)
                await anyio.sleep(0.1)
    assert 3 <= len(troubles) <= 15


@pytest.mark.real_time
@pytest.mark.parametrize("backend", ["asyncio"])
async def test_a_native_cancellation_while_the_engine_closes_does_not_hang() -> None:
    dawdling = Gate()

    async def dawdle(event: Event) -> None:
        await dawdling.enter()

    async def use() -> None:
        async with Engine(workflows=[flow := single(work)]) as engine:
            engine.on("execution.queued", dawdle)
            await engine.start(flow, 1)

    task = asyncio.create_task(use())
    await dawdling.reached()
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=20)
    assert done == {task}


@pytest.mark.promise("I29")
async def test_results_of_executions_that_ended_elsewhere_come_at_once(storage: Storage) -> None:
    """Those that were started here too, though this process has not heard that they ended."""
    async with Engine(storage, workflows=[healthy]) as starter:
        executions = [await starter.start(healthy, number) for number in range(3)]
        async with Engine(storage, workflows=[healthy]) as other, other.worker():
            for execution in executions:
                await other.handle(healthy, execution.id).result(60)
        await anyio.sleep(1)
        began = anyio.current_time()
        assert [await execution.result(0.5) for execution in executions] == [0, 1, 2]
        assert anyio.current_time() - began < 0.5


async def test_what_a_handler_logs_names_the_execution_the_step_and_the_attempt(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(ctx: Ctx) -> int:
        ctx.log.warning("attempt %d of mine", ctx.attempt)
        if ctx.attempt == 1:
            raise ValueError("once more")
        return 1

    async with Engine(storage, workflows=[flow := single(work, retry=2)]) as engine, engine.worker():
        execution = await engine.start(flow, 5)
        await execution.result(60)
    told = [vars(record) for record in caplog.records if "of mine" in record.getMessage()]
    assert [(one["execution"], one["step"], one["attempt"]) for one in told] == [
        (execution.id, "work", 1),
        (execution.id, "work", 2),
    ]
