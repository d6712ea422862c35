"""What renewals do for a lease, and what they don't: those that fail, and those of a worker that is on its way out."""

from __future__ import annotations

import anyio
import pytest

from stepwell import Engine
from stepwell.storage import Storage
from tests.engine.faulty import Faulty, How
from tests.engine.flows import Ctx, kinds, line
from tests.support.waiting import Recorder

pytestmark = pytest.mark.anyio

LEASE = 60.0
MARGIN = 6.0


@pytest.mark.promise("P3", "I4")
@pytest.mark.parametrize("how", [How.FAILS_BEFORE, How.HANGS_BEFORE], ids=["fails", "hangs"])
async def test_a_renewal_that_fails_is_no_reason_to_trust_a_lease(faulty: Faulty, store: Storage, how: How) -> None:
    stopped: Recorder[float] = Recorder()

    async def work(ctx: Ctx) -> int:
        try:
            await anyio.sleep(1e6 if ctx.attempt == 1 else 1)
        finally:
            stopped.record(anyio.current_time())
        return ctx.attempt

    flow = line(work, timeout=None)
    async with Engine(faulty, workflows=[flow], lease=LEASE) as engine, engine.worker():
        fault = faulty.spoil("renew", how=how, times=None)  # whatever else it asks is answered
        handle = await engine.start(flow, 0)
        await stopped.until_count(1, within=200)
        assert stopped.entries == [pytest.approx(LEASE - MARGIN, abs=0.001)]
        fault.mend()
        assert await handle.result(200) == 2
    assert (await kinds(store, handle.id))[1:3] == ["claimed 1", "claimed 2"]


@pytest.mark.promise("P12", "I22")
async def test_a_worker_that_drains_renews_what_still_runs(store: Storage) -> None:
    began: Recorder[int] = Recorder()

    async def work(ctx: Ctx) -> int:
        began.record(ctx.attempt)
        await anyio.sleep(50)
        return ctx.attempt

    flow = line(work, timeout=None)
    async with Engine(store, workflows=[flow], lease=10) as leaving, Engine(store, workflows=[flow]) as other:
        async with leaving.worker(grace=100):
            handle = await leaving.start(flow, 0)
            await began.until_count(1)
        async with other.worker():
            assert await other.handle(flow, handle.id).result(100) == 1
    assert began.entries == [1]
