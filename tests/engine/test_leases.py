"""A lease is a cancel scope: whoever can't trust it any more has stopped before anyone else may begin."""

from __future__ import annotations

import anyio
import pytest

from stepwell import Engine, Event
from stepwell.storage import Storage
from tests.engine.faulty import Faulty, How
from tests.engine.flows import HOUR_POLL, LEASE, Ctx, Steps, kinds, line
from tests.support.virtual_time import VirtualTime
from tests.support.waiting import Recorder

pytestmark = pytest.mark.anyio

MARGIN = 6.0


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
