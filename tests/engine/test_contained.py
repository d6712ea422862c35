"""Tasks that user code has broken: they break nothing beside them, and are gone when all else is."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from stepwell import Engine, ScopeLeftOpen, Status, Workflow, activity, succeed
from stepwell._contained import ContainedTasks
from stepwell.storage._protocol import Storage
from tests.engine.small import Ctx, failure_of_run, healthy, single
from tests.support.virtual_time import Backend
from tests.support.waiting import Gate

pytestmark = pytest.mark.anyio


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

    async def break_the_task() -> bool:
        try:
            await leave_open(what)
        except anyio.get_cancelled_exc_class():
            pass
        order.append("broken")
        return False

    async def neighbour() -> bool:
        await gate.enter()
        order.append("neighbour")
        return True

    async def later() -> bool:
        await anyio.lowlevel.checkpoint()
        order.append("later")
        return True

    async with anyio.create_task_group() as tasks:
        contained = ContainedTasks(tasks)
        contained.start(neighbour, "neighbour")
        contained.start(break_the_task, "broken")
        await gate.reached()
        await anyio.wait_all_tasks_blocked()
        contained.start(later, "later")
        await anyio.wait_all_tasks_blocked()
        assert order == ["broken", "later"]
        gate.open()
        contained.close()
    assert order == ["broken", "later", "neighbour"]


async def test_a_broken_task_ends_when_all_are_cancelled(backend: Backend) -> None:
    async def break_the_task() -> bool:
        await leave_open("scope")
        return False

    async def forever() -> bool:
        await anyio.sleep_forever()
        return True

    with anyio.move_on_after(5) as scope:
        async with anyio.create_task_group() as tasks:
            contained = ContainedTasks(tasks)
            for work in (forever, break_the_task, forever):
                contained.start(work, "work")
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
    assert not scope.cancelled_caught


async def test_work_that_is_started_in_a_cancelled_group_begins(backend: Backend) -> None:
    began: list[int] = []

    def work(number: int) -> Any:
        async def begin() -> bool:
            began.append(number)
            await anyio.lowlevel.checkpoint()
            return True

        return begin

    async with anyio.create_task_group() as tasks:
        contained = ContainedTasks(tasks)
        contained.start(work(1), "early")
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
        contained.start(work(2), "in the cancelled pen")
        with anyio.CancelScope(shield=True):
            await anyio.wait_all_tasks_blocked()
        contained.start(work(3), "in a new one")
    assert began == [1, 2, 3]


async def test_an_error_of_the_work_itself_is_not_contained(backend: Backend) -> None:
    async def broken() -> bool:
        raise LookupError("a mistake of the library")

    with pytest.RaisesGroup(LookupError, flatten_subgroups=True):
        async with anyio.create_task_group() as tasks:
            ContainedTasks(tasks).start(broken, "broken")


@pytest.mark.parametrize("backend", ["asyncio"])
async def test_a_native_cancellation_ends_with_its_task(backend: Backend) -> None:
    gate = Gate()
    ended: list[str] = []

    async def cancelled() -> bool:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await anyio.sleep(1)
        return True

    async def neighbour() -> bool:
        await gate.enter()
        ended.append("neighbour")
        return True

    async with anyio.create_task_group() as tasks:
        contained = ContainedTasks(tasks)
        contained.start(neighbour, "neighbour")
        contained.start(cancelled, "cancelled")
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
