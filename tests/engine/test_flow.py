"""Every kind of step, and every way through a workflow, in virtual time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Literal

import anyio
import pytest

from stepwell import (
    Context,
    Engine,
    ExecutionCancelled,
    ExecutionFailed,
    Handle,
    Retry,
    Status,
    Workflow,
    activity,
    decision,
    fail,
    succeed,
)
from stepwell.storage import Storage
from tests.engine.flows import HOUR_POLL, Ctx, gated, kinds, line, nest
from tests.support.virtual_time import DAY, EPOCH, VirtualTime
from tests.support.waiting import Recorder

pytestmark = pytest.mark.anyio


async def one(ctx: Ctx) -> dict[str, int]:
    return {"one": ctx.input}


async def two(ctx: Ctx) -> dict[str, int]:
    return {"two": ctx.data["one"] + 1}


async def three(ctx: Ctx) -> dict[str, int]:
    return {"three": ctx.data["two"] + 1, "one": 100}


async def broken(ctx: Ctx) -> int:
    raise ValueError("broken")


async def test_a_chain_runs_to_its_end_and_each_step_sees_what_went_before(store: Storage) -> None:
    flow = line(one, two, three)
    async with Engine(store, workflows=[flow]) as engine, engine.worker():
        handle = await engine.start(flow, 1)
        assert await handle.result(60) == {"three": 3, "one": 100}
        execution = await handle.get()
    assert execution.status is Status.SUCCEEDED
    assert execution.data == {"one": 100, "two": 2, "three": 3}
    assert [step.status for step in execution.steps.values()] == [Status.SUCCEEDED] * 4


@pytest.mark.promise("P4")
async def test_a_decision_rides_along_in_the_commit_of_the_activity_before_it(store: Storage) -> None:
    @activity
    async def weigh(ctx: Ctx) -> int:
        return ctx.input

    @decision
    def size(ctx: Ctx) -> Literal["large", "small"]:
        return "large" if ctx.output(weigh) > 10 else "small"

    @succeed
    def large(ctx: Ctx) -> str:
        return "large"

    @succeed
    def small(ctx: Ctx) -> str:
        return "small"

    edges: list[Any] = [weigh.then(size), size.to({"large": large, "small": small})]
    flow = Workflow[int, str]("sizes", version="1", start=weigh, edges=edges)
    async with Engine(store, workflows=[flow]) as engine, engine.worker():
        handles = [await engine.start(flow, weight) for weight in (1, 100)]
        assert [await handle.result(60) for handle in handles] == ["small", "large"]
        journal = await store.journal(handles[0].id)
    assert len({entry.change for entry in journal if entry.seq > 2}) == 1
    assert await kinds(store, handles[0].id) == ["created 0", "claimed 1", "succeeded 1", "routed 1", "succeeded 1"]


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_decision_and_terminals_may_be_first_or_async(store: Storage, *, is_async: bool) -> None:
    def plainly(ctx: Ctx) -> Literal["even", "odd"]:
        return "odd" if ctx.input % 2 else "even"

    async def slowly(ctx: Ctx) -> Literal["even", "odd"]:
        await anyio.sleep(1)
        return plainly(ctx)

    async def even(ctx: Ctx) -> int:
        await anyio.sleep(1)
        return ctx.input

    def odd(ctx: Ctx) -> int:
        return ctx.input

    parity: Any = decision(name="parity")(slowly if is_async else plainly)
    edges: list[Any] = [parity.to({"even": succeed(even), "odd": fail(odd)})]
    flow = Workflow[int, int]("parity", version="1", start=parity, edges=edges)
    async with Engine(store, workflows=[flow]) as engine, engine.worker():
        assert await (await engine.start(flow, 2)).result(60) == 2
        with pytest.raises(ExecutionFailed) as failed:
            await (await engine.start(flow, 3)).result(60)
    assert (failed.value.value, failed.value.failure) == (3, None)


async def test_a_wait_takes_its_signal(store: Storage) -> None:
    flow = gated()
    async with Engine(store, workflows=[flow]) as engine, engine.worker(poll_interval=HOUR_POLL):
        handle = await engine.start(flow, 0)
        await engine.signal(handle.id, "gate", "hello")
        assert await handle.result(60) == "hello"


async def test_a_wait_times_out_exactly_then(store: Storage, virtual_time: VirtualTime) -> None:
    flow = gated(timeout=90.0)
    async with Engine(store, workflows=[flow]) as engine, engine.worker(poll_interval=HOUR_POLL):
        handle = await engine.start(flow, 0)
        assert await handle.result(7200) == "late"
    assert virtual_time.now() == pytest.approx(90, abs=0.01)


async def test_an_early_signal_is_kept_for_its_wait(store: Storage) -> None:
    async def long(ctx: Ctx) -> int:
        await anyio.sleep(20)
        return 1

    flow = gated(before=long, timeout=1000.0)
    async with Engine(store, workflows=[flow]) as engine, engine.worker(poll_interval=HOUR_POLL):
        handle = await engine.start(flow, 0)
        await anyio.sleep(5)
        await handle.signal("gate", "early")
        assert await handle.result(30) == "early"


@pytest.mark.promise("I33")
async def test_a_wait_of_forty_days_ends_then_and_not_at_once(store: Storage, virtual_time: VirtualTime) -> None:
    flow = gated(timeout=40 * DAY)
    async with Engine(store, workflows=[flow]) as engine:
        handle = await engine.start(flow, 0)
        await engine.run_until_idle()
        await anyio.sleep(40 * DAY - 1 - virtual_time.now())
        assert await engine.run_due() == 0
        assert (await handle.get()).status is Status.SUSPENDED
        await anyio.sleep(1.001)
        await engine.run_until_idle()
        assert await handle.result(1) == "late"


async def test_a_handler_may_take_twenty_nine_days_of_the_thirty_that_its_timeout_gives(store: Storage) -> None:
    async def long(ctx: Ctx) -> str:
        await anyio.sleep((29 if ctx.input else 31) * DAY)
        return "done"

    flow = line(long, timeout=timedelta(days=30))
    async with Engine(store, workflows=[flow], lease=timedelta(days=8)) as engine:
        first, second = await engine.start(flow, 1), await engine.start(flow, 0)
        began = anyio.current_time()
        await engine.run_due()
        assert anyio.current_time() - began == pytest.approx(30 * DAY)
        assert await first.result(1) == "done"
        with pytest.raises(ExecutionFailed, match="StepTimedOut"):
            await second.result(1)


@pytest.mark.parametrize(
    ("ending", "told"), [("ok", "succeeded 7 None"), ("error", "failed None ValueError"), ("cancel", "cancelled")]
)
async def test_a_subworkflow_leads_where_its_child_ended(store: Storage, ending: str, told: str) -> None:
    async def work(ctx: Ctx) -> int:
        if ending == "error":
            raise ValueError("no")
        if ending == "cancel":
            await anyio.sleep(50)
        return ctx.input

    flow = nest(line(work, name="child"))
    async with Engine(store, workflows=[flow]) as engine, engine.worker(poll_interval=HOUR_POLL):
        handle = await engine.start(flow, 7, id="p")
        if ending == "cancel":
            await anyio.sleep(1)
            assert (await handle.get()).status is Status.SUSPENDED
            assert await engine.cancel("p/inner") is Status.CANCELLED
        try:
            result = await handle.result(10)
        except ExecutionFailed as error:
            result = error.value
        assert str(result).startswith(told)
        assert str(result).endswith(" p/inner")
        assert (await handle.get()).steps["inner"].child == "p/inner"


@pytest.mark.promise("P9", "I32")
async def test_cancelling_a_parent_cancels_its_open_child_and_stops_the_childs_handler(store: Storage) -> None:
    seen: Recorder[str] = Recorder()

    async def work(ctx: Ctx) -> int:
        seen.record("begun")
        try:
            await anyio.sleep(50)
        except BaseException:
            seen.record("stopped")
            raise
        return 1

    flow = nest(line(work, name="child"))
    async with Engine(store, workflows=[flow]) as engine, engine.worker(poll_interval=HOUR_POLL):
        handle = await engine.start(flow, 7)
        await seen.until_recorded("begun")
        assert await handle.cancel("enough") is Status.CANCELLED
        await seen.until_recorded("stopped", within=0.1)
        with pytest.raises(ExecutionCancelled, match="enough"):
            await handle.result(1)
        assert (await engine.get(f"{handle.id}/inner")).status is Status.CANCELLED


async def test_a_caught_error_leads_to_the_step_that_catches_it(store: Storage) -> None:
    flow = line(broken, catch=ValueError, retry=2)
    async with Engine(store, workflows=[flow]) as engine, engine.worker():
        handle = await engine.start(flow, 0)
        with pytest.raises(ExecutionFailed) as failed:
            await handle.result(60)
        assert (await handle.get()).steps["broken"].attempts == 2
    assert failed.value.value == "ValueError"


@pytest.mark.promise("I33")
async def test_retries_come_after_their_backoff_and_no_poll_is_needed(store: Storage) -> None:
    times: list[float] = []

    async def flaky(ctx: Ctx) -> int:
        times.append(anyio.current_time())
        assert ctx.attempt == len(times)
        if len(times) < 4:
            raise ValueError("again")
        return ctx.attempt

    flow = line(flaky, retry=Retry(max_attempts=5, backoff=2.0, multiplier=3.0, jitter=0.0))
    async with Engine(store, workflows=[flow]) as engine, engine.worker(poll_interval=HOUR_POLL):
        assert await (await engine.start(flow, 0)).result(3000) == 4
    assert [after - before for before, after in pairwise(times)] == pytest.approx([2, 6, 18], abs=0.001)


async def test_retries_at_odd_fractions_of_a_second_need_no_poll_either(store: Storage) -> None:
    async def flaky(ctx: Ctx) -> int:
        if ctx.attempt < 5:
            raise ValueError("again")
        return ctx.attempt

    flow = line(flaky, retry=Retry(max_attempts=5, backoff=0.1234567, jitter=1.0))
    async with Engine(store, workflows=[flow]) as engine, engine.worker(poll_interval=HOUR_POLL):
        handles: list[Handle[Any]] = []
        for number in range(40):
            await anyio.sleep(0.0123457)
            handles.append(await engine.start(flow, number))
        for handle in handles:
            assert await handle.result(20) == 5


async def test_an_error_that_the_policy_gives_up_on_is_not_tried_again(store: Storage) -> None:
    flow = line(broken, retry=Retry(max_attempts=5, give_up_on=(ValueError,)))
    async with Engine(store, workflows=[flow]) as engine, engine.worker():
        handle = await engine.start(flow, 0)
        with pytest.raises(ExecutionFailed, match="ValueError: broken"):
            await handle.result(60)
        assert (await handle.get()).steps["broken"].attempts == 1


async def test_a_loop_runs_up_to_max_visits_and_fails_beyond(store: Storage) -> None:
    keys: list[tuple[int, str]] = []

    @activity(max_visits=3)
    async def turn(ctx: Ctx) -> int:
        keys.append((ctx.visit, ctx.idempotency_key))
        return ctx.visit

    @decision(max_visits=5)
    def enough(ctx: Ctx) -> Literal["yes", "no"]:
        return "yes" if ctx.output(turn) == ctx.input else "no"

    @succeed
    def end(ctx: Ctx) -> int:
        return ctx.output(turn)

    edges: list[Any] = [turn.then(enough), enough.to({"yes": end, "no": turn})]
    flow = Workflow[int, int]("loop", version="1", start=turn, edges=edges)
    async with Engine(store, workflows=[flow]) as engine, engine.worker():
        assert await (await engine.start(flow, 3, id="x")).result(60) == 3
        assert keys == [(1, "x:turn"), (2, "x:turn:2"), (3, "x:turn:3")]
        with pytest.raises(ExecutionFailed) as failed:
            await (await engine.start(flow, 9)).result(60)
    assert failed.value.failure is not None
    assert failed.value.failure.code == "visits_exceeded"
    assert len(keys) == 6


async def test_an_execution_starts_after_its_delay_or_at_its_time(store: Storage, virtual_time: VirtualTime) -> None:
    times: list[float] = []

    async def note(ctx: Ctx) -> int:
        times.append(virtual_time.now())
        return 1

    flow = line(note)
    async with Engine(store, workflows=[flow]) as engine, engine.worker(poll_interval=1):
        first = await engine.start(flow, 0, delay=30)
        second = await engine.start(flow, 0, at=datetime.fromtimestamp(EPOCH + 60, UTC))
        await first.result(100)
        await second.result(100)
    assert times[0] == pytest.approx(30, abs=0.01)
    assert 60 <= times[1] <= 62


async def test_run_due_runs_one_step_of_each_and_no_more(store: Storage) -> None:
    flow = line(one, two, three)
    async with Engine(store, workflows=[flow]) as engine:
        assert await engine.run_due() == 0
        handles = [await engine.start(flow, number) for number in range(3)]
        assert await engine.run_due(limit=2) == 2
        assert sorted([(await handle.get()).current_step or "" for handle in handles]) == ["one", "two", "two"]
        assert await engine.run_until_idle() == 7
        assert [(await handle.get()).status for handle in handles] == [Status.SUCCEEDED] * 3


async def test_run_until_idle_tells_when_something_makes_work_without_end(store: Storage) -> None:
    flow = line(one, two, three)
    async with Engine(store, workflows=[flow]) as engine:
        await engine.start(flow, 1)
        with pytest.raises(RuntimeError, match="still not idle after 2 passes"):
            await engine.run_until_idle(max_passes=2)
        await engine.run_until_idle()


@pytest.mark.promise("I20")
async def test_versions_run_side_by_side_and_an_execution_stays_on_its_own(store: Storage) -> None:
    async def old(ctx: Ctx) -> str:
        return f"old {ctx.version}"

    async def new(ctx: Ctx) -> str:
        return f"new {ctx.version}"

    first, second = line(old, version="1"), line(new, version="2")
    async with Engine(store, workflows=[first]) as engine:
        before = await engine.start(first, 1)
    async with Engine(store, workflows=[first, second]) as engine, engine.worker():
        after = await engine.start("line", 1, version="2")
        assert await after.result(60) == "new 2"
        assert await engine.handle(first, before.id).result(60) == "old 1"


async def test_a_handler_knows_who_is_asking(store: Storage) -> None:
    seen: dict[str, Any] = {}

    def look(ctx: Context[int]) -> None:
        seen.update(
            id=ctx.execution_id, step=ctx.step, flow=(ctx.workflow, ctx.version), tags=ctx.tags, meta=dict(ctx.metadata)
        )
        seen.update(key=ctx.idempotency_key, at=(ctx.attempt, ctx.visit), input=ctx.input)

    async def work(ctx: Ctx) -> int:
        look(ctx)
        return 5

    flow = line(work)
    async with Engine(store, workflows=[flow]) as engine, engine.worker():
        await (await engine.start(flow, 4, id="x", tags=["a", "b"], metadata={"k": 1})).result(60)
    assert seen == {
        "id": "x", "step": "work", "flow": ("line", "1"), "tags": ("a", "b"), "meta": {"k": 1},
        "key": "x:work", "at": (1, 1), "input": 4,
    }  # fmt: skip
