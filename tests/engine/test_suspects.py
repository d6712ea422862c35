"""Workers that disappear: all that they ran goes on together, but for steps that are suspected of it, one at a time."""

from __future__ import annotations

import anyio
import pytest

from stepwell import Engine, ExecutionFailed
from stepwell.storage import Storage
from tests.engine.faulty import Faulty, How
from tests.engine.flows import LEASE, Ctx, line
from tests.support.virtual_time import VirtualTime
from tests.support.waiting import Gate

pytestmark = pytest.mark.anyio


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
