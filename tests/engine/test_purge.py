"""Retention: what ended long ago goes, in bounded batches, beside workers and beside other purges."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import anyio
import pytest

from stepwell import Engine, ExecutionNotFound, InvalidArgument, Query, Status
from stepwell.storage import NEVER, Storage
from stepwell.storage import Status as RowStatus
from stepwell.testing._scene import Scene, at_once, change
from tests.engine.faulty import Faulty, How
from tests.engine.flows import HOUR_POLL, Ctx, gated, line, nest
from tests.engine.small import Through, healthy
from tests.support.storages import StorageFactory
from tests.support.virtual_time import DAY, VirtualTime

pytestmark = pytest.mark.anyio


async def same(ctx: Ctx) -> int:
    return ctx.input


async def breaks(ctx: Ctx) -> int:
    raise ValueError("no")


quick = line(same, name="quick")
broken = line(breaks, name="broken")
waiting = gated(name="waiting")
over = nest(quick, name="over")


async def ids(engine: Engine) -> list[str]:
    return sorted(found.id for found in (await engine.find(Query(limit=1000))).executions)


async def filled(storage: Storage, number: int) -> None:
    """Put so many executions into the storage that have ended."""
    scene = Scene(storage)
    for start in range(0, number, 500):
        rows = [scene.row(str(one), status=RowStatus.SUCCEEDED) for one in range(start, min(start + 500, number))]
        await storage.commit([(change(row, due=NEVER),) for row in rows])


@pytest.mark.promise("I38")
async def test_what_ended_longer_ago_is_deleted_and_the_rest_stays(storage: Storage, virtual_time: VirtualTime) -> None:
    async with Engine(storage, workflows=[quick, broken, waiting]) as engine:
        for flow, id in ((quick, "succeeded"), (broken, "failed"), (waiting, "cancelled"), (waiting, "lives")):
            await engine.start(flow, 1, id=id)
        await engine.run_until_idle()
        await engine.cancel("cancelled")
        await anyio.sleep(DAY)
        await engine.start(quick, 1, id="young")
        await engine.run_until_idle()
        await anyio.sleep(DAY)
        assert await engine.purge(older_than=timedelta(days=3)) == 0
        assert await engine.purge(older_than=timedelta(days=1, hours=12)) == 3
        assert await ids(engine) == ["lives", "young"]
        assert await engine.purge(older_than=0) == 1
        assert (await engine.get("lives")).status == Status.SUSPENDED


async def test_the_id_is_free_again(storage: Storage) -> None:
    async with Engine(storage, workflows=[quick]) as engine:
        await engine.start(quick, 1, id="one")
        await engine.run_until_idle()
        await engine.purge(older_than=0)
        with pytest.raises(ExecutionNotFound):
            await engine.get("one")
        handle = await engine.start(quick, 2, id="one")
        await engine.run_until_idle()
        assert await handle.result() == 2


async def test_a_failed_execution_that_was_resumed_is_live_and_stays(storage: Storage) -> None:
    async with Engine(storage, workflows=[broken]) as engine:
        await engine.start(broken, 1, id="one")
        await engine.run_until_idle()
        await anyio.sleep(DAY)
        await engine.resume("one")
        assert await engine.purge(older_than=0) == 0
        await engine.run_until_idle()
        assert await engine.purge(older_than=timedelta(hours=1)) == 0
        assert await engine.purge(older_than=0) == 1


@pytest.mark.promise("P9", "I38")
async def test_a_child_is_kept_for_its_parent_and_goes_with_it(storage: Storage) -> None:
    async with Engine(storage, workflows=[over]) as engine:
        handle = await engine.start(over, 1, id="parent")
        while len(found := (await engine.find(Query(status="succeeded"))).executions) < 1:
            await engine.run_due()
        assert [one.workflow for one in found] == ["quick"]
        assert await engine.purge(older_than=0) == 0
        await engine.run_until_idle()
        assert (await handle.result()).startswith("succeeded 1")
        assert await engine.purge(older_than=0) == 2
        again = await engine.start(over, 2, id="parent")
        await engine.run_until_idle()
        assert (await again.result()).startswith("succeeded 2")


async def test_it_goes_in_batches(storage: Storage) -> None:
    faulty = Faulty(storage)
    await filled(storage, 25)
    async with Engine(faulty) as engine:
        assert await engine.purge(older_than=0, batch=10) == 25
    assert faulty.calls["purge"] == 4


async def test_what_ends_meanwhile_is_left_for_the_next(storage: Storage) -> None:
    faulty = Faulty(storage)
    await filled(storage, 3)

    async def another() -> None:
        await anyio.sleep(60)
        await filled(storage, 1)

    faulty.spoil("purge", how=How.HANGS_AFTER, times=None, action=another)
    async with Engine(faulty) as engine:
        assert await engine.purge(older_than=0, batch=1) == 3
    assert await storage.purge(0, limit=100) == faulty.calls["purge"] == 4


async def test_between_batches_it_pauses_as_long_as_one_took(storage: Storage, virtual_time: VirtualTime) -> None:
    faulty = Faulty(storage)
    await filled(storage, 3)
    faulty.spoil("purge", how=How.HANGS_AFTER, times=None, seconds=0.5)
    async with Engine(faulty) as engine:
        began = virtual_time.now()
        assert await engine.purge(older_than=0, batch=1) == 3
        assert virtual_time.now() - began == pytest.approx(4 * 0.5 + 3 * 0.5)


async def test_it_may_be_cancelled_between_batches(storage: Storage) -> None:
    faulty = Faulty(storage)
    await filled(storage, 30)
    async with Engine(faulty) as engine:
        with anyio.CancelScope() as scope:

            async def stop() -> None:
                scope.cancel()

            faulty.spoil("purge", how=How.HANGS_BEFORE, at=3, action=stop)
            await engine.purge(older_than=0, batch=10)
        assert scope.cancelled_caught
        left = len(await ids(engine))
        assert left in {0, 10}  # the third was withdrawn, or had been begun
        assert await engine.purge(older_than=0) == left


async def test_two_at_once_count_each_execution_once(storage_factory: StorageFactory) -> None:
    async with storage_factory() as one, storage_factory() as two:
        await filled(one, 1_000)
        async with Engine(one) as first, Engine(two) as second:
            counts = await at_once(
                lambda: first.purge(older_than=0, batch=30), lambda: second.purge(older_than=0, batch=30)
            )
            rest = await first.purge(older_than=0)
            assert sum(counts) + rest == 1_000
            assert await ids(first) == []


@pytest.mark.promise("I38")
async def test_thousands_are_purged_beside_workers_that_claim_all_the_while(storage: Storage) -> None:
    await filled(storage, 3_000)
    ended: list[int] = []

    async def note(ctx: Ctx) -> int:
        ended.append(ctx.input)
        return ctx.input

    flow = line(note, name="noting")
    async with Engine(storage, workflows=[flow]) as engine, engine.worker(concurrency=5, poll_interval=HOUR_POLL):
        result: list[int] = []

        async def work() -> None:
            number = 0
            while not result:
                assert await (await engine.start(flow, number)).result(60) == number
                number += 1

        async def purge() -> None:
            result.append(await engine.purge(older_than=timedelta(hours=0), batch=100))

        await at_once(work, purge)
        assert result[0] >= 3_000
    assert ended


async def test_who_waits_for_what_is_purged_elsewhere_learns_that_it_is_gone(storage_factory: StorageFactory) -> None:
    async with storage_factory() as one, storage_factory() as two:
        blind = Faulty(one)
        async with Engine(blind, workflows=[waiting]) as engine, Engine(two, workflows=[waiting]) as other:
            handle = await engine.start(waiting, 1)
            fault = blind.spoil("find", how=How.FAILS_BEFORE, times=None)

            async def wait() -> Any:
                with pytest.raises(ExecutionNotFound):
                    await handle.result(120)

            async def purge() -> None:
                await anyio.sleep(5)
                await other.cancel(handle.id)
                assert await other.purge(older_than=0) == 1
                fault.mend()

            await at_once(wait, purge)


@pytest.mark.synthetic
@pytest.mark.parametrize("storage_kind", ["memory"])
async def test_a_time_or_a_batch_without_sense_is_refused(storage: Storage) -> None:
    await filled(storage, 1)
    async with Engine(storage) as engine:
        with pytest.raises(ValueError, match="older_than must be zero or more seconds, not -1"):
            await engine.purge(older_than=-1)
        with pytest.raises(ValueError, match="older_than must be zero or more seconds"):
            await engine.purge(older_than=timedelta(days=-1))
        with pytest.raises(TypeError, match="older_than must be seconds"):
            await engine.purge(older_than="30d")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
        for batch in (0, -5, 10_001, 1.5):
            with pytest.raises(InvalidArgument, match="batch must be"):
                await engine.purge(older_than=0, batch=batch)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
        assert len(await ids(engine)) == 1


async def test_a_start_whose_id_a_purge_frees_in_the_very_moment_is_a_new_execution(storage: Storage) -> None:
    async def commit(units: Any) -> Any:
        results = await storage.commit(units)
        if results == [False]:
            assert await storage.purge(0, limit=10) == 1
        return results

    purging: Any = Through(storage, commit=commit)
    async with Engine(purging, workflows=[healthy]) as engine:
        await engine.start(healthy, 1, id="nightly")
        await engine.run_until_idle()
        assert (await (await engine.start(healthy, 2, id="nightly")).get()).input == 2
