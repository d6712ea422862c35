"""Every way in which a known engine of this kind loses, doubles or strands work, and that ours doesn't.

Single faults of every storage call are in `tests/faults`.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import anyio
import pytest

from stepwell import (
    Engine,
    ExecutionCancelled,
    ExecutionFailed,
    NotResumable,
    Status,
    StepwellError,
    Workflow,
    decision,
    succeed,
)
from stepwell._retry import parse_duration
from stepwell.storage import Storage
from tests.engine.faulty import Faulty, How
from tests.engine.flows import HOUR_POLL, Ctx, Runs, gated, kinds, line
from tests.support.waiting import Gate, Recorder

pytestmark = pytest.mark.anyio

UNSURE = [How.FAILS_BEFORE, How.FAILS_AFTER, How.HANGS_AFTER]


# -- storage errors ----------------------------------------------------------------------------------------------------


@pytest.mark.promise("P1", "I1", "I9")
@pytest.mark.parametrize("how", UNSURE)
async def test_commits_that_fail_in_a_group_lose_and_double_nothing(faulty: Faulty, how: How) -> None:
    runs = Runs()
    flow = runs.flow()
    async with Engine(faulty, workflows=[flow]) as engine, engine.worker(poll_interval=HOUR_POLL):
        faulty.spoil("commit", how=how, at=2, times=4, seconds=1)
        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(partial(engine.start, flow, number, id=f"e{number}"))
        for number in range(20):
            assert await engine.result_of(f"e{number}") == "first second third"
    assert len(runs.of) == 60
    assert set(runs.of.values()) == {1}


@pytest.mark.promise("P5", "I17")
async def test_a_storage_that_is_away_for_long_is_waited_for(faulty: Faulty) -> None:
    troubles: list[str] = []
    runs = Runs()
    flow = runs.flow()
    async with Engine(faulty, workflows=[flow]) as engine:
        engine.on("worker.error", lambda event: troubles.append(event.message))
        handle = await engine.start(flow, 0)
        fault = faulty.cut(how=How.FAILS_BEFORE)
        async with engine.worker(poll_interval=HOUR_POLL):
            await anyio.sleep(1000)
            assert 50 < len(troubles) < 2000
            fault.mend()
            assert await handle.result(30) == "first second third"


# -- cancel, resume and save -------------------------------------------------------------------------------------------


@pytest.mark.promise("P7", "I7")
async def test_a_cancel_that_comes_before_the_save_wins_and_the_save_is_refused(faulty: Faulty, store: Storage) -> None:
    runs = Runs()
    flow = runs.flow()
    async with Engine(store, workflows=[flow]) as other, Engine(faulty, workflows=[flow]) as engine:
        fault = faulty.spoil("commit", how=How.HANGS_BEFORE, at=4, action=lambda: other.cancel("x", "racing"))
        async with engine.worker(poll_interval=HOUR_POLL):
            handle = await engine.start(flow, 0, id="x")
            with pytest.raises(ExecutionCancelled, match="racing"):
                await handle.result(60)
        assert fault.met == 1
        assert (await handle.get()).output is None


@pytest.mark.promise("P7", "I7")
async def test_a_cancel_that_comes_after_the_save_finds_it_ended_and_overwrites_nothing(
    faulty: Faulty, store: Storage
) -> None:
    runs = Runs()
    flow = runs.flow()
    found: list[Status] = []
    async with Engine(store, workflows=[flow]) as other, Engine(faulty, workflows=[flow]) as engine:

        async def cancel() -> None:
            found.append(await other.cancel("x"))

        faulty.spoil("commit", how=How.HANGS_AFTER, at=4, action=cancel)
        async with engine.worker(poll_interval=HOUR_POLL):
            handle = await engine.start(flow, 0, id="x")
            assert await handle.result(60) == "first second third"
    assert found == [Status.SUCCEEDED]


@pytest.mark.parametrize("at", [2, 3])
async def test_a_save_that_races_with_a_pause_is_decided_again_without_running_the_handler_again(
    faulty: Faulty, store: Storage, at: int
) -> None:
    runs = Runs()
    flow = runs.flow()
    async with Engine(store, workflows=[flow]) as other, Engine(faulty, workflows=[flow]) as engine:
        faulty.spoil("commit", how=How.HANGS_BEFORE, at=at, action=lambda: other.pause("x"))
        async with engine.worker(poll_interval=2):
            handle = await engine.start(flow, 0, id="x")
            await anyio.sleep(10)
            assert (await handle.get()).status is Status.PAUSED
            await other.resume("x")
            assert await handle.result(60) == "first second third"
    assert runs.of == {"x:first": 1, "x:second": 1, "x:third": 1}


@pytest.mark.promise("P7")
@pytest.mark.parametrize("state", ["paused", "failed"])
async def test_two_resumes_run_a_step_once(store: Storage, state: str) -> None:
    ran: list[int] = []

    async def work(ctx: Ctx) -> int:
        ran.append(ctx.attempt)
        await anyio.sleep(5)
        if state == "failed" and len(ran) == 1:
            raise ValueError("once")
        return 1

    flow = line(work)
    errors: list[StepwellError] = []

    async def resume(engine: Engine) -> None:
        try:
            await engine.resume("x")
        except NotResumable as error:
            errors.append(error)

    async with Engine(store, workflows=[flow]) as engine, Engine(store, workflows=[flow]) as other:
        handle = await engine.start(flow, 0, id="x")
        if state == "paused":
            await handle.pause()
        else:
            await engine.run_until_idle()
        async with engine.worker(), other.worker():
            async with anyio.create_task_group() as tasks:
                for each in (engine, other, engine):
                    tasks.start_soon(resume, each)
            assert await handle.result(60) == 1
    assert ran == ([1] if state == "paused" else [1, 2])
    assert len(errors) == 2


@pytest.mark.parametrize("how", [How.FAILS_AFTER, How.FAILS_BEFORE])
async def test_a_resume_whose_commit_failed_in_a_group_is_not_told_that_there_is_nothing_to_resume(
    faulty: Faulty, how: How
) -> None:
    flow = gated()
    async with Engine(faulty, workflows=[flow]) as engine:
        for id in "abc":
            await engine.start(flow, 0, id=id)
            await engine.pause(id)
        faulty.spoil("commit", how=how, at=2)
        async with anyio.create_task_group() as tasks:
            for id in "abc":
                tasks.start_soon(engine.resume, id)
        assert [(await engine.get(id)).status for id in "abc"] == [Status.QUEUED] * 3


# -- workers -----------------------------------------------------------------------------------------------------------


@pytest.mark.promise("P5", "I20")
async def test_a_worker_that_lacks_the_workflow_leaves_it_alone(store: Storage) -> None:
    runs = Runs()
    known, unknown = runs.flow(), gated()
    async with Engine(store, workflows=[unknown]) as engine:
        handle = await engine.start(unknown, 0)
    async with Engine(store, workflows=[known]) as engine:
        assert await engine.run_due() == 0
        async with engine.worker():
            await anyio.sleep(100)
    assert await kinds(store, handle.id) == ["created 0"]


@pytest.mark.promise("I24")
async def test_one_slow_step_does_not_hold_up_the_next_claim(store: Storage) -> None:
    async def work(ctx: Ctx) -> int:
        await anyio.sleep(1000 if ctx.input else 0)
        return ctx.input

    flow = line(work, timeout=None)
    async with Engine(store, workflows=[flow]) as engine, engine.worker(concurrency=2, poll_interval=HOUR_POLL):
        slow = await engine.start(flow, 1)
        for _ in range(10):
            await (await engine.start(flow, 0)).result(1)
        assert anyio.current_time() < 1
        assert await slow.result(2000) == 1


async def test_a_full_worker_claims_again_as_soon_as_a_slot_frees(store: Storage) -> None:
    async def work(ctx: Ctx) -> int:
        await anyio.sleep(1)
        return ctx.input

    flow = line(work)
    async with Engine(store, workflows=[flow]) as engine:
        handles = [await engine.start(flow, number) for number in range(10)]
        async with engine.worker(concurrency=2, poll_interval=HOUR_POLL):
            for handle in handles:
                await handle.result(100)
            assert anyio.current_time() == pytest.approx(5, abs=0.1)


@pytest.mark.promise("P11")
async def test_a_listener_that_raises_or_dawdles_changes_nothing(store: Storage) -> None:
    async def dawdle(event: object) -> None:
        await anyio.sleep(1000)

    def throw(event: object) -> None:
        raise ValueError("listener")

    runs = Runs()
    flow = runs.flow()
    async with Engine(store, workflows=[flow]) as engine, engine.worker(poll_interval=HOUR_POLL):
        engine.on("step.succeeded", throw)
        engine.on("execution.succeeded", dawdle)
        handle = await engine.start(flow, 0)
        assert await handle.result(60) == "first second third"
        assert anyio.current_time() < 2


# -- results and timeouts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [object(), float("nan"), {1: "a"}, "\ud800"], ids=["object", "nan", "key", "lone"])
async def test_a_result_that_cannot_be_encoded_is_a_failure_of_its_attempt(store: Storage, value: object) -> None:
    async def work(ctx: Ctx) -> Any:
        return value if ctx.attempt == 1 else ctx.attempt

    once, twice = line(work, name="once"), line(work, name="twice", retry=2)
    async with Engine(store, workflows=[once, twice]) as engine, engine.worker():
        with pytest.raises(ExecutionFailed, match="work") as failed:
            await (await engine.start(once, 0)).result(60)
        assert failed.value.failure is not None
        assert failed.value.failure.code == "payload"
        assert await (await engine.start(twice, 0)).result(60) == 2


async def test_a_timed_out_handler_does_not_run_beside_its_retry(store: Storage) -> None:
    seen: list[str] = []

    async def work(ctx: Ctx) -> int:
        seen.append(f"begin {ctx.attempt}")
        try:
            await anyio.sleep(100 if ctx.attempt < 3 else 1)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(2)  # cleaning up takes a while
            seen.append(f"end {ctx.attempt}")
        return ctx.attempt

    flow = line(work, retry=3, timeout=5)
    async with Engine(store, workflows=[flow]) as engine, engine.worker():
        assert await (await engine.start(flow, 0)).result(100) == 3
    assert seen == [f"{what} {attempt}" for attempt in (1, 2, 3) for what in ("begin", "end")]


@pytest.mark.parametrize("text", ["1 month", "abc", "", "5", "-5s", "1e3s", "7 d x"])
def test_a_duration_that_is_not_understood_is_an_error_and_never_zero(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


async def test_a_decision_that_raises_keeps_the_success_of_the_activity_before_it(store: Storage) -> None:
    runs = Runs()
    base = line(runs.first)
    first: Any = base.steps["first"]

    @decision
    def choose(ctx: Ctx) -> Literal["on"]:
        raise LookupError("undecided")

    @succeed
    def end(ctx: Ctx) -> int:
        return 1

    edges: list[Any] = [first.then(choose), choose.to({"on": end})]
    flow = Workflow[int, int]("undecided", version="1", start=first, edges=edges)
    async with Engine(store, workflows=[flow]) as engine, engine.worker():
        handle = await engine.start(flow, 0)
        with pytest.raises(ExecutionFailed, match="LookupError"):
            await handle.result(60)
        steps = (await handle.get()).steps
        assert (steps["first"].status, steps["choose"].status) == (Status.SUCCEEDED, Status.FAILED)


@pytest.mark.promise("P5", "I18")
async def test_a_worker_that_dies_in_mid_step_leaves_work_that_another_finishes(faulty: Faulty, store: Storage) -> None:
    gate: Gate = Gate()
    seen: Recorder[int] = Recorder()

    async def work(ctx: Ctx) -> int:
        seen.record(ctx.attempt)
        if ctx.attempt == 1:
            await gate.enter()
        return ctx.attempt

    flow = line(work, timeout=None)
    async with Engine(store, workflows=[flow]) as other:
        async with Engine(faulty, workflows=[flow]) as engine:
            handle = await engine.start(flow, 0)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(engine.run_worker)
                await gate.reached()
                faulty.cut(how=How.FAILS_BEFORE)  # nothing that it does from here on is heard
                tasks.cancel_scope.cancel()
        async with other.worker():
            assert await other.handle(flow, handle.id).result(100) == 2
    assert seen.entries == [1, 2]


@pytest.mark.promise("P1", "I15")
async def test_every_attempt_of_a_visit_sees_the_same_input_and_the_same_key(faulty: Faulty, store: Storage) -> None:
    """After a failure, after the death of a worker, and after a drain."""
    seen: list[tuple[int, int, str]] = []
    working = anyio.Event()

    async def work(ctx: Ctx) -> int:
        seen.append((ctx.attempt, ctx.input, ctx.idempotency_key))
        if ctx.attempt == 1:
            raise OSError("no")
        if ctx.attempt < 4:
            working.set()
            await anyio.sleep_forever()
        return ctx.input

    flow = line(work, retry=3, timeout=None)
    async with (
        Engine(faulty, workflows=[flow], lease=8) as cut_off,
        Engine(store, workflows=[flow], lease=8) as other,
        cut_off.worker(concurrency=2),
    ):
        await cut_off.start(flow, 7, id="x")
        await working.wait()
        fault = faulty.spoil("commit", "claim", "renew", times=None)
        working = anyio.Event()
        async with other.worker(grace=0):
            await working.wait()
        async with other.worker():
            await other.result_of("x")
        fault.mend()
    assert seen == [(attempt, 7, "x:work") for attempt in (1, 2, 3, 4)]


@pytest.mark.parametrize("max_crashes", [0, 9])
async def test_a_claim_that_is_handed_back_unheard_keeps_to_the_engines_crash_budget(
    faulty: Faulty, store: Storage, max_crashes: int
) -> None:
    gate: Gate = Gate()

    async def work(ctx: Ctx) -> int:
        await gate.enter(f"{ctx.attempt}")
        return ctx.attempt

    flow = line(work, timeout=None)
    losses = 1 if max_crashes == 0 else 5  # more than the core's own default
    async with Engine(store, workflows=[flow], max_crashes=max_crashes) as other:
        for number in range(1, losses + 1):
            link = Faulty(store)
            async with (
                Engine(link, workflows=[flow], max_crashes=max_crashes) as engine,
                anyio.create_task_group() as tasks,
            ):
                await engine.start(flow, 0, id="x")
                tasks.start_soon(partial(engine.run_worker, poll_interval=10))
                await gate.reached(number, within=1000)
                link.cut(how=How.FAILS_BEFORE)
                tasks.cancel_scope.cancel()
        async with Engine(faulty, workflows=[flow], max_crashes=max_crashes) as engine:
            await anyio.sleep(61)
            faulty.spoil("claim", how=How.FAILS_AFTER)
            gate.open()
            async with engine.worker(poll_interval=10):
                if max_crashes == 0:
                    with pytest.raises(ExecutionFailed, match="disappeared 1 times"):
                        await other.result_of("x")
                else:
                    assert await other.result_of("x") == losses + 1
