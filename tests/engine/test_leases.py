"""A lease is a cancel scope: whoever can't trust it any more has stopped before anyone else may begin."""

from __future__ import annotations

import anyio
import pytest

from stepwell import Engine, Event, ExecutionFailed, Status
from stepwell.storage import Storage
from tests.engine.faulty import Faulty, How
from tests.engine.flows import HOUR_POLL, Ctx, gated, kinds, line
from tests.support.virtual_time import VirtualTime
from tests.support.waiting import Gate, Recorder

pytestmark = pytest.mark.anyio

LEASE = 60.0
MARGIN = 6.0


class Steps:
    """A handler that runs for ever unless it is told how long, and what became of it when."""

    def __init__(self, seconds: float = 1e6) -> None:
        self.seconds = seconds
        self.began: Recorder[float] = Recorder()
        self.stopped: Recorder[float] = Recorder()

    async def work(self, ctx: Ctx) -> int:
        self.began.record(anyio.current_time())
        try:
            await anyio.sleep(self.seconds)
        except BaseException:
            self.stopped.record(anyio.current_time())
            raise
        return ctx.attempt


@pytest.mark.promise("P3", "I4")
@pytest.mark.parametrize("how", [How.HANGS_BEFORE, How.FAILS_BEFORE, How.FAILS_AFTER])
async def test_a_worker_that_is_cut_off_stops_its_handler_before_anyone_else_may_begin(
    faulty: Faulty, store: Storage, how: How
) -> None:
    steps = Steps()
    flow = line(steps.work, timeout=None)
    async with (
        Engine(faulty, workflows=[flow], lease=LEASE) as cut,
        Engine(store, workflows=[flow], lease=LEASE) as other,
        cut.worker(),
    ):
        handle = await cut.start(flow, 0)
        await steps.began.until_count(1)
        await anyio.sleep(20)  # one renewal, sent at 15
        fault = faulty.cut(how=How.FAILS_BEFORE if how is How.FAILS_AFTER else how)
        await steps.stopped.until_count(1, within=100)
        assert steps.stopped.entries == [pytest.approx(15 + LEASE - MARGIN, abs=0.001)]
        steps.seconds = 1
        async with other.worker(poll_interval=1):
            assert await other.handle(flow, handle.id).result(60) == 2
        assert 15 + LEASE <= steps.began.entries[1] <= 15 + LEASE + 4
        fault.mend()
    assert len(steps.began.entries) == 2


@pytest.mark.promise("P2", "I3")
async def test_a_late_result_of_a_worker_that_lost_its_lease_is_refused(faulty: Faulty, store: Storage) -> None:
    events: list[Event] = []

    async def stubborn(ctx: Ctx) -> str:
        if ctx.attempt == 1:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(200)
        return f"attempt {ctx.attempt}"

    flow = line(stubborn, timeout=None)
    async with Engine(faulty, workflows=[flow]) as cut, Engine(store, workflows=[flow]) as other:
        cut.on(("step.unstoppable", "execution.lease_lost"), events.append)
        async with cut.worker():
            handle = await cut.start(flow, 0)
            await anyio.sleep(10)
            fault = faulty.cut()
            async with other.worker():
                assert await other.handle(flow, handle.id).result(100) == "attempt 2"
            fault.mend()
            await anyio.sleep(200 - anyio.current_time() + 5)
        assert (await other.get(handle.id)).output == "attempt 2"
    assert any("'stubborn'" in event.message and "goes on although" in event.message for event in events)
    assert [event.kind for event in events if event.kind == "execution.lease_lost"] == ["execution.lease_lost"]


@pytest.mark.promise("P3", "I4")
async def test_trust_is_counted_from_when_a_claim_was_sent_not_from_its_answer(faulty: Faulty) -> None:
    steps = Steps()
    flow = line(steps.work, timeout=None)
    async with Engine(faulty, workflows=[flow], lease=LEASE) as engine:
        await engine.start(flow, 0)
        faulty.spoil("claim", how=How.HANGS_AFTER, seconds=4)
        async with engine.worker():
            await steps.began.until_count(1)
            assert anyio.current_time() == pytest.approx(4)
            fault = faulty.cut()
            await steps.stopped.until_count(1)
            assert anyio.current_time() == pytest.approx(LEASE - MARGIN, abs=0.001)
            fault.mend()


@pytest.mark.promise("P3", "I10")
async def test_a_handler_does_not_begin_under_a_lease_that_is_not_trusted_any_more(faulty: Faulty) -> None:
    steps = Steps(1)
    flow = line(steps.work)
    async with Engine(faulty, workflows=[flow], lease=5) as engine:
        handle = await engine.start(flow, 0)
        faulty.spoil("claim", how=How.HANGS_AFTER, seconds=4.9)
        async with engine.worker():
            assert await handle.result(60) == 2
    assert len(steps.began.entries) == 1
    assert steps.began.entries[0] >= 5


@pytest.mark.promise("P3", "I4")
async def test_trust_is_counted_from_when_a_renewal_was_sent_not_from_its_answer(faulty: Faulty) -> None:
    steps = Steps()
    flow = line(steps.work, timeout=None)
    async with Engine(faulty, workflows=[flow], lease=LEASE) as engine:
        await engine.start(flow, 0)
        faulty.spoil("renew", how=How.HANGS_AFTER, seconds=20)  # sent at 15, answered at 35
        async with engine.worker():
            await steps.began.until_count(1)
            await anyio.sleep(40)
            fault = faulty.cut()
            await steps.stopped.until_count(1)
            assert anyio.current_time() == pytest.approx(15 + LEASE - MARGIN, abs=0.001)
            fault.mend()


async def test_an_attempt_that_was_given_up_stays_lost_where_a_renewal_that_names_it_arrives_late(
    faulty: Faulty, store: Storage
) -> None:
    steps = Steps()
    flow = line(steps.work, timeout=None)
    async with Engine(faulty, workflows=[flow], lease=10) as engine, engine.worker():
        handle = await engine.start(flow, 0)
        await steps.began.until_count(1)
        await anyio.sleep(4)  # one renewal, sent at 2.5
        fault = faulty.cut()
        await steps.stopped.until_count(1)
        steps.seconds = 1
        await anyio.sleep(12 - anyio.current_time())
        fault.mend()  # now the renewal arrives that was sent at 10.6, when the lease was still held
        assert await handle.result(60) == 2
    kept = await kinds(store, handle.id)
    assert kept[:5] == ["created 0", "claimed 1", "claimed 2", "released 1", "claimed 2"], kept
    assert steps.began.entries[1] >= 22


async def test_renewals_keep_a_step_of_an_hour_while_others_look(store: Storage) -> None:
    steps = Steps(3600)
    flow = line(steps.work, timeout=None)
    async with (
        Engine(store, workflows=[flow]) as engine,
        Engine(store, workflows=[flow]) as other,
        engine.worker(poll_interval=100),
        other.worker(poll_interval=100),
    ):
        assert await (await engine.start(flow, 0)).result(4000) == 1
    assert len(steps.began.entries) == 1


@pytest.mark.parametrize("how", [how for how in How if how is not How.COMES_LATE])
async def test_one_failed_renewal_loses_nothing(faulty: Faulty, how: How) -> None:
    steps = Steps(200)
    flow = line(steps.work, timeout=None)
    async with Engine(faulty, workflows=[flow]) as engine, engine.worker(poll_interval=HOUR_POLL):
        faulty.spoil("renew", how=how, at=2, seconds=35)
        assert await (await engine.start(flow, 0)).result(400) == 1
    assert len(steps.began.entries) == 1


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


@pytest.mark.promise("P12")
async def test_a_lease_that_a_commit_in_flight_has_just_given_up_is_not_told_to_be_lost(faulty: Faulty) -> None:
    events: list[str] = []
    steps = Steps(3.3)
    flow = line(steps.work)
    async with Engine(faulty, workflows=[flow]) as engine:
        engine.on("execution.lease_lost", lambda event: events.append(event.kind))
        faulty.spoil("commit", how=How.HANGS_AFTER, at=2, seconds=2)  # the polls meanwhile find the lease gone
        async with engine.worker(poll_interval=0.5):
            assert await (await engine.start(flow, 0)).result(10) == 1
    assert events == []
    assert steps.stopped.entries == []


async def lose(store: Storage, faulty: Faulty, engine: Engine, gate: Gate, count: int) -> None:
    """Let a worker begin *count* handlers in all, and disappear; wait until its leases have lapsed."""
    async with engine.worker():
        await gate.reached(count)
        fault = faulty.cut(how=How.FAILS_BEFORE)
        await anyio.sleep(LEASE)
    fault.mend()


@pytest.mark.promise("P4", "I14")
async def test_a_step_that_takes_its_worker_down_too_often_ends_as_crashed(faulty: Faulty, store: Storage) -> None:
    gate = Gate()

    async def deadly(ctx: Ctx) -> int:
        await gate.enter(str(ctx.attempt))
        return 1

    flow = line(deadly, timeout=None)
    async with Engine(faulty, workflows=[flow], lease=LEASE, max_crashes=2) as engine:
        handle = await engine.start(flow, 0)
        for count in range(1, 5):  # the second makes it a suspect; two more are counted
            await lose(store, faulty, engine, gate, count)
        async with engine.worker():
            with pytest.raises(ExecutionFailed) as failed:
                await handle.result(100)
    assert failed.value.failure is not None
    assert failed.value.failure.code == "crashed"
    assert gate.arrivals.entries == ["1", "2", "3", "4"]


@pytest.mark.promise("P4", "I14")
async def test_the_neighbours_of_a_step_that_takes_its_worker_down_do_not_pay_for_it(
    faulty: Faulty, store: Storage
) -> None:
    gate = Gate()

    async def work(ctx: Ctx) -> int:
        if ctx.input or gate.arrivals.entries.count("good") < 2:
            await gate.enter("bad" if ctx.input else "good")
        return 1

    flow = line(work, timeout=None)
    async with Engine(faulty, workflows=[flow], lease=LEASE, max_crashes=1) as engine:
        good, bad = await engine.start(flow, 0), await engine.start(flow, 1)
        await lose(store, faulty, engine, gate, 2)
        await lose(store, faulty, engine, gate, 4)  # together once more, and then one at a time
        await lose(store, faulty, engine, gate, 5)
        async with engine.worker():
            assert await good.result(200) == 1
            with pytest.raises(ExecutionFailed, match="worker disappeared 3 times"):
                await bad.result(200)


async def test_a_worker_runs_one_suspect_at_a_time(faulty: Faulty, store: Storage) -> None:
    gate = Gate()
    running: list[int] = []
    most: list[int] = []

    async def work(ctx: Ctx) -> int:
        if len(gate.arrivals.entries) < 6:
            await gate.enter()
        running.append(ctx.input)
        most.append(len(running))
        await anyio.sleep(5)
        running.remove(ctx.input)
        return 1

    flow = line(work, timeout=None)
    async with Engine(faulty, workflows=[flow], lease=LEASE) as engine:
        handles = [await engine.start(flow, number) for number in range(3)]
        await lose(store, faulty, engine, gate, 3)
        await lose(store, faulty, engine, gate, 6)
        async with engine.worker():
            for handle in handles:
                assert await handle.result(200) == 1
    assert max(most) == 1


@pytest.mark.promise("P5", "I18")
async def test_all_that_a_worker_ran_goes_on_together_within_a_lease_a_poll_and_a_second(
    faulty: Faulty, store: Storage, virtual_time: VirtualTime
) -> None:
    gate = Gate()
    began: list[float] = []

    async def work(ctx: Ctx) -> int:
        if ctx.attempt == 1:
            await gate.enter()
        began.append(virtual_time.now())
        await anyio.sleep(100)
        return 1

    flow = line(work, timeout=None)
    async with (
        Engine(faulty, workflows=[flow], lease=LEASE) as doomed,
        Engine(store, workflows=[flow], lease=LEASE) as other,
        doomed.worker(concurrency=20),
    ):
        handles = [await doomed.start(flow, number) for number in range(20)]
        await gate.reached(20)
        faulty.cut(how=How.FAILS_BEFORE)
        cut_off = virtual_time.now()
        async with other.worker(concurrency=20, poll_interval=0.5):
            for handle in handles:
                assert await other.result_of(handle.id) == 1
    assert len(began) == 20
    assert max(began) <= cut_off + LEASE + 0.5 + 1


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


@pytest.mark.promise("P5", "I13")
async def test_leases_from_a_claim_whose_answer_was_lost_are_handed_back_without_an_attempt(
    faulty: Faulty, virtual_time: VirtualTime
) -> None:
    steps = Steps(1)
    flow = line(steps.work)
    async with Engine(faulty, workflows=[flow], lease=LEASE) as engine:
        handle = await engine.start(flow, 0)
        faulty.spoil("claim", how=How.FAILS_AFTER)
        async with engine.worker(poll_interval=HOUR_POLL):
            assert await handle.result(100) == 1
    assert virtual_time.now() == pytest.approx(LEASE / 4 + 1, abs=0.1)
    assert (await kinds(faulty, handle.id))[:4] == ["created 0", "claimed 1", "released 0", "claimed 1"]


@pytest.mark.promise("P3")
@pytest.mark.parametrize("ending", ["cancel", "timeout"])
async def test_a_handler_that_swallows_its_cancellation_is_reported_and_its_result_refused(
    store: Storage, ending: str
) -> None:
    events: Recorder[Event] = Recorder()

    async def deaf(ctx: Ctx) -> int:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(300)
        return 1

    flow = line(deaf, timeout=20)
    async with Engine(store, workflows=[flow]) as engine, engine.worker() as worker:
        engine.on("step.unstoppable", events.record)
        handle = await engine.start(flow, 0)
        await anyio.sleep(1)
        if ending == "cancel":
            await handle.cancel()
        await events.until_count(1)
        assert anyio.current_time() == pytest.approx((1 if ending == "cancel" else 20) + 5, abs=2.1)
        assert (events.entries[0].step, events.entries[0].attempt) == ("deaf", 1)
        assert "step 'deaf'" in events.entries[0].message
        assert ("cancelled (timeout)" if ending == "timeout" else "cancelled (cancelled)") in events.entries[0].message
        worker.stop()
        await anyio.sleep(310)
        assert (await handle.get()).output is None
