"""Tasks that user code has broken: they break nothing beside them, and are gone when all else is."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from stepwell import Engine, ExecutionFailed, ScopeLeftOpen, Status, Workflow, activity, succeed
from stepwell._contained import ContainedTasks
from stepwell.storage._protocol import Storage
from tests.engine.faulty import Faulty, How
from tests.engine.small import Ctx, failure_of_run, healthy, single
from tests.support.virtual_time import Backend
from tests.support.waiting import Gate

pytestmark = pytest.mark.anyio


def whole() -> bool:
    return False


def broken() -> bool:
    return True


def leave_open(what: str) -> Any:
    """Enter a scope and leave it open, as an unfinished generator would."""
    if what == "task group":
        group = anyio.create_task_group()
        return group.__aenter__()
    scope = anyio.CancelScope()
    scope.__enter__()
    if what == "cancelled scope":
        scope.cancel()
    return anyio.Event().wait() if what == "cancelled scope" else anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("what", ["scope", "cancelled scope", "task group"])
async def test_a_task_with_an_open_scope_ends_with_the_others_and_disturbs_none(backend: Backend, what: str) -> None:
    gate = Gate()
    order: list[str] = []

    async def break_the_task() -> None:
        try:
            await leave_open(what)
        except anyio.get_cancelled_exc_class():
            pass
        order.append("broken")

    async def neighbour() -> None:
        await gate.enter()
        order.append("neighbour")

    async def later() -> None:
        await anyio.lowlevel.checkpoint()
        order.append("later")

    async with anyio.create_task_group() as tasks:
        contained = ContainedTasks(tasks)
        contained.start(neighbour, whole)
        contained.start(break_the_task, broken)
        await gate.reached()
        await anyio.wait_all_tasks_blocked()
        contained.start(later, whole)
        await anyio.wait_all_tasks_blocked()
        assert order == ["broken", "later"]
        gate.open()
        contained.close()
    assert order == ["broken", "later", "neighbour"]


async def test_a_broken_task_ends_when_all_are_cancelled(backend: Backend) -> None:
    async def break_the_task() -> None:
        await leave_open("scope")

    async def forever() -> None:
        await anyio.sleep_forever()

    with anyio.move_on_after(5) as scope:
        async with anyio.create_task_group() as tasks:
            contained = ContainedTasks(tasks)
            contained.start(forever, whole)
            contained.start(break_the_task, broken)
            contained.start(forever, whole)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
    assert not scope.cancelled_caught


async def test_work_that_is_started_in_a_cancelled_group_begins(backend: Backend) -> None:
    began: list[int] = []

    def work(number: int) -> Any:
        async def begin() -> None:
            began.append(number)
            await anyio.lowlevel.checkpoint()

        return begin

    async with anyio.create_task_group() as tasks:
        contained = ContainedTasks(tasks)
        contained.start(work(1), whole)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
        contained.start(work(2), whole)
        with anyio.CancelScope(shield=True):
            await anyio.wait_all_tasks_blocked()
        contained.start(work(3), whole)
    assert began == [1, 2, 3]


async def test_an_error_of_the_work_itself_is_not_contained(backend: Backend) -> None:
    async def mistaken() -> None:
        raise LookupError("a mistake of the library")

    with pytest.RaisesGroup(LookupError, flatten_subgroups=True):
        async with anyio.create_task_group() as tasks:
            ContainedTasks(tasks).start(mistaken, whole)


async def test_a_broken_task_does_not_hide_the_mistake_of_another(backend: Backend) -> None:
    async def break_the_task() -> None:
        await leave_open("scope")

    async def mistaken() -> None:
        await anyio.wait_all_tasks_blocked()
        raise RuntimeError("a mistake of the library")

    with pytest.RaisesGroup(pytest.RaisesExc(RuntimeError, match="a mistake"), flatten_subgroups=True):
        async with anyio.create_task_group() as tasks:
            contained = ContainedTasks(tasks)
            contained.start(mistaken, whole)
            contained.start(break_the_task, broken)


@pytest.mark.parametrize("backend", ["asyncio"])
async def test_a_native_cancellation_ends_with_its_task(backend: Backend) -> None:
    gate = Gate()
    ended: list[str] = []

    async def cancelled() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await anyio.sleep(1)

    async def neighbour() -> None:
        await gate.enter()
        ended.append("neighbour")

    async with anyio.create_task_group() as tasks:
        contained = ContainedTasks(tasks)
        contained.start(neighbour, whole)
        contained.start(cancelled, whole)
        await gate.reached()
        await anyio.wait_all_tasks_blocked()
        gate.open()
        contained.close()
    assert ended == ["neighbour"]


# -- in a worker -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["scope", "task group"])
async def test_a_step_that_leaves_a_scope_open_fails_and_says_so(storage: Storage, backend: Backend, what: str) -> None:
    async def work(ctx: Ctx) -> int:
        await leave_open(what)
        return 1

    failure = await failure_of_run(storage, single(work))
    assert failure.type.endswith("ScopeLeftOpen")
    assert "still open" in failure.message
    assert "'work'" in str(ScopeLeftOpen("flow", "work"))


@pytest.mark.parametrize("what", ["scope", "cancelled scope", "task group"])
async def test_neighbours_in_mid_step_go_on_and_later_steps_run(storage: Storage, backend: Backend, what: str) -> None:
    gate = Gate()

    async def careless(ctx: Ctx) -> int:
        if ctx.attempt == 1:
            await leave_open(what)
        return 1

    @activity
    async def slow(ctx: Ctx) -> int:
        await gate.enter()
        return ctx.attempt

    @succeed
    def ended(ctx: Ctx) -> int:
        return ctx.output(slow)

    neighbour = Workflow[int, int]("neighbour", version="1", start=slow, edges=[slow.then(ended)])
    flow = single(careless, retry=3)
    async with Engine(storage, workflows=[flow, neighbour, healthy]) as engine, engine.worker():
        beside = await engine.start(neighbour, 1)
        await gate.reached()
        careful = await engine.start(flow, 5)
        assert await careful.result(60) == 5
        assert await (await engine.start(healthy, 7)).result(60) == 7
        assert (await beside.get()).status is Status.RUNNING
        gate.open()
        assert await beside.result(60) == 1


@pytest.mark.parametrize("backend", ["asyncio"])
async def test_a_native_cancellation_that_comes_late_costs_no_attempt_of_the_next_step(
    storage: Storage, backend: Backend
) -> None:
    """The handler returns with its task about to be cancelled: what it returned is kept, the rest is done elsewhere."""

    @activity
    async def first(ctx: Ctx) -> int:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return 41

    @activity(retry=1)
    async def second(ctx: Ctx) -> int:
        await anyio.sleep(1)
        return ctx.output(first) + 1

    @succeed
    def ended(ctx: Ctx) -> int:
        return ctx.output(second)

    flow = Workflow[int, int]("late", version="1", start=first, edges=[first.then(second), second.then(ended)])
    async with Engine(storage, workflows=[flow]) as engine, engine.worker():
        execution = await engine.start(flow, 5)
        assert await execution.result(60) == 42
        assert [step.attempts for step in (await execution.get()).steps.values()][:2] == [1, 1]


@pytest.mark.parametrize("backend", ["asyncio"])
async def test_a_scope_left_open_and_a_native_cancellation_together_fail_no_more_than_their_step(
    storage: Storage, backend: Backend
) -> None:
    async def work(ctx: Ctx) -> int:
        anyio.CancelScope().__enter__()
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return 1

    async with Engine(storage, workflows=[flow := single(work), healthy]) as engine, engine.worker():
        execution = await engine.start(flow, 5)
        with pytest.raises(ExecutionFailed, match="still open"):
            await execution.result(60)
        assert await (await engine.start(healthy, 7)).result(60) == 7


async def test_a_plain_terminal_that_leaves_a_scope_open_fails_and_disturbs_none(storage: Storage) -> None:
    @activity
    async def work(ctx: Ctx) -> int:
        return 1

    @succeed
    def careless(ctx: Ctx) -> int:
        anyio.CancelScope().__enter__()
        return 1

    flow = Workflow[int, int]("careless", version="1", start=work, edges=[work.then(careless)])
    async with Engine(storage, workflows=[flow, healthy]) as engine, engine.worker():
        execution = await engine.start(flow, 5)
        with pytest.raises(ExecutionFailed, match="still open"):
            await execution.result(60)
        assert await (await engine.start(healthy, 7)).result(60) == 7


@pytest.mark.parametrize("how", ["scope", "cancellation"])
async def test_an_outcome_in_a_spoiled_task_outlives_an_outage(faulty: Faulty, how: str) -> None:
    """The attempt has ended; whatever the storage does meanwhile, it does not begin again."""
    calls: list[int] = []

    async def work(ctx: Ctx) -> int:
        calls.append(ctx.attempt)
        faulty.spoil("commit", how=How.FAILS_BEFORE, times=12)
        if how == "scope":
            await leave_open("scope")
            return 1
        leaked: list[BaseException] = []
        with anyio.CancelScope() as scope:
            scope.cancel()
            try:
                await anyio.sleep(1)
            except anyio.get_cancelled_exc_class() as error:
                leaked.append(error)
                raise
        raise leaked[0]

    async with Engine(faulty, workflows=[flow := single(work)]) as engine, engine.worker():
        execution = await engine.start(flow, 5)
        with pytest.raises(ExecutionFailed):
            await execution.result(600)
    assert calls == [1]
