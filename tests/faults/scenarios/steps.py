"""Activities, decisions and terminals: how one step leads to the next, and how it fails."""

from __future__ import annotations

from functools import partial
from typing import Any, Final, Literal
from unittest.mock import ANY

import anyio

from stepwell import (
    Context,
    ExecutionFailed,
    ExecutionNotFound,
    Retry,
    Status,
    Workflow,
    activity,
    decision,
    fail,
    succeed,
)
from stepwell._model import Kind
from stepwell.storage import Query
from tests.engine.flows import line
from tests.faults.scenarios._registry import scenario
from tests.faults.world import Breach, World, began

__all__: list[str] = []

Ctx = Context[int]


async def first(ctx: Ctx) -> str:
    began(ctx)
    return "first"


async def second(ctx: Ctx) -> str:
    began(ctx)
    await anyio.sleep(1)
    return f"{ctx.output('first')} second"


async def third(ctx: Ctx) -> str:
    began(ctx)
    return f"{ctx.output('second')} third"


LINE: Final = line(first, second, third)
THIRD: Final = "first second third"


@scenario
async def three_steps_that_a_worker_here_claims_as_they_start(world: World) -> None:
    async with world.engine(LINE) as engine, world.worker(engine):
        await world.start(engine, LINE, "x")
        await world.output(engine, "x", THIRD)


@scenario
async def starts_before_the_worker_now_and_later(world: World) -> None:
    async with world.engine(LINE) as engine:
        await world.start(engine, LINE, "x")
        await world.start(engine, LINE, "x")
        await world.start(engine, LINE, "y", delay=3)
        async with world.worker(engine, poll_interval=10):  # who comes later finds out by looking
            await world.output(engine, "x", THIRD)
            await world.output(engine, "y", THIRD)


@scenario
async def a_start_without_an_id(world: World) -> None:
    async with world.engine(LINE) as engine, world.worker(engine):
        handle = await world.insist(lambda: engine.start(LINE, 0))
        await world.output(engine, handle.id, THIRD)


@scenario
async def eight_at_once_in_few_commits(world: World) -> None:
    async with world.engine(LINE) as engine, world.worker(engine, concurrency=5):
        async with anyio.create_task_group() as tasks:
            for number in range(8):
                tasks.start_soon(world.start, engine, LINE, f"x{number}")
        for number in range(8):
            await world.output(engine, f"x{number}", THIRD)


@scenario
async def one_after_the_other_in_one_slot(world: World) -> None:
    async with world.engine(LINE) as engine:
        for id in "xyz":
            await world.start(engine, LINE, id)
        async with world.worker(engine, concurrency=1):
            for id in "xyz":
                await world.output(engine, id, THIRD)


@scenario
async def single_steps_without_a_worker(world: World) -> None:
    async with world.engine(LINE) as engine:
        await world.start(engine, LINE, "x")
        with anyio.fail_after(3600):
            while not (await world.insist(lambda: engine.get("x"))).status.is_terminal:
                await world.insist(engine.run_until_idle)
                await anyio.sleep(1)
        await world.output(engine, "x", THIRD)


@scenario
async def reading_and_purging(world: World) -> None:
    async with world.engine(LINE) as engine, world.worker(engine):
        await world.insist(partial(engine.start, LINE, 0, id="gone"))
        await world.output(engine, "gone", THIRD)
        if (await world.insist(lambda: engine.journal("gone")))[-1].kind != Kind.SUCCEEDED:
            raise Breach("the journal doesn't end with the end")
        await world.refused(lambda: engine.journal("never"), ExecutionNotFound)
        if [one.id for one in (await world.insist(engine.find)).executions] != ["gone"]:
            raise Breach("one execution was started, and find tells something else")
        await anyio.sleep(160)  # longer than a purge may be on its way: what ends later must not go with it
        await world.insist(lambda: engine.purge(older_than=150))
        if await world.storage.load("gone") is not None:
            raise Breach("a purge that was answered left what had ended")
        world.forget("gone")
        await world.start(engine, LINE, "gone")
        await world.output(engine, "gone", THIRD)
    if (await world.storage.find(Query(ids=("gone",)))).more:
        raise Breach("an id that became free is there twice")


# -- decisions ---------------------------------------------------------------------------------------------------------


@activity
async def look(ctx: Ctx) -> int:
    began(ctx)
    return 2


@decision
def rides(ctx: Ctx) -> Literal["on", "off"]:
    began(ctx)
    return "on"


@activity
async def more(ctx: Ctx) -> int:
    began(ctx)
    return ctx.output(look) + 1


@decision
async def asks(ctx: Ctx) -> Literal["on", "off"]:
    began(ctx)
    await anyio.sleep(1)
    return "on"


@succeed
async def told(ctx: Ctx) -> int:
    began(ctx)
    return ctx.output(more)


@fail
def off(ctx: Ctx) -> str:
    began(ctx)
    return "off"


DECISIONS: Final = Workflow[int, int](
    "decisions",
    version="1",
    start=look,
    edges=[
        look.then(rides),
        rides.to({"on": more, "off": off}),
        more.then(asks),
        asks.to({"on": told, "off": off}),
    ],
)


@scenario
async def decisions_that_ride_and_that_do_not(world: World) -> None:
    async with world.engine(DECISIONS) as engine, world.worker(engine):
        await world.start(engine, DECISIONS, "x")
        await world.output(engine, "x", 3)


@decision
def undecided(ctx: Ctx) -> Literal["on"]:
    began(ctx)
    raise LookupError("undecided")


UNDECIDED: Final = Workflow[int, int](
    "undecided",
    version="1",
    start=look,
    edges=[look.then(undecided), undecided.to({"on": more}), more.then(told)],
)


@scenario
async def a_rider_that_raises(world: World) -> None:
    world.may_raise("LookupError")
    async with world.engine(UNDECIDED) as engine, world.worker(engine):
        await world.start(engine, UNDECIDED, "x", ends=Status.FAILED)
        await world.error(engine, "x", ExecutionFailed, "LookupError")


@activity(max_visits=2)
async def turn(ctx: Ctx) -> int:
    began(ctx)
    return ctx.visit


@decision(max_visits=9)
def again(ctx: Ctx) -> Literal["again", "on"]:
    began(ctx)
    return "again"


@succeed
def unreached(ctx: Ctx) -> int:
    return 0


TURNS: Final = Workflow[int, int](
    "turns", version="1", start=turn, edges=[turn.then(again), again.to({"again": turn, "on": unreached})]
)


@scenario
async def a_step_that_is_visited_too_often(world: World) -> None:
    world.may_raise("VisitsExceeded")
    async with world.engine(TURNS) as engine, world.worker(engine):
        await world.start(engine, TURNS, "x", ends=Status.FAILED)
        await world.error(engine, "x", ExecutionFailed, "visits")


# -- failures ----------------------------------------------------------------------------------------------------------


async def flaky(ctx: Ctx) -> int:
    began(ctx)
    if ctx.attempt < 3:
        raise ValueError("not yet")
    return ctx.attempt


RETRIED: Final = line(flaky, name="retried", retry=Retry(max_attempts=3, backoff=2.0))


@scenario
async def retries_with_a_backoff(world: World) -> None:
    world.may_raise("ValueError")
    async with world.engine(RETRIED) as engine, world.worker(engine):
        await world.start(engine, RETRIED, "x")
        await world.output(engine, "x", ANY)


async def broken(ctx: Ctx) -> str:
    world = began(ctx)
    if not world.is_mended:
        raise ValueError("broken")
    return "mended"


BROKEN: Final = line(broken, name="broken")
CAUGHT: Final = line(broken, name="caught", catch=ValueError)


@scenario
async def a_failure_that_a_catch_takes(world: World) -> None:
    world.may_raise("ValueError")
    async with world.engine(CAUGHT) as engine, world.worker(engine):
        await world.start(engine, CAUGHT, "x", ends=Status.FAILED)
        await world.error(engine, "x", ExecutionFailed, "ValueError")


@scenario
async def a_failure_that_is_resumed(world: World) -> None:
    world.may_raise("ValueError")
    async with world.engine(BROKEN) as engine, world.worker(engine):
        await world.start(engine, BROKEN, "x")
        await world.error(engine, "x", ExecutionFailed, "broken")
        world.is_mended = True
        await world.resume(engine, "x")
        await world.output(engine, "x", "mended")


async def slow(ctx: Ctx) -> int:
    began(ctx)
    if ctx.attempt == 1:
        await anyio.sleep_forever()
    return ctx.attempt


SLOW: Final[Workflow[int, Any]] = line(slow, name="slow", timeout=4.0, retry=2)


@scenario
async def a_timeout_and_a_second_try(world: World) -> None:
    world.may_raise("StepTimedOut")
    async with world.engine(SLOW) as engine, world.worker(engine):
        await world.start(engine, SLOW, "x")
        await world.output(engine, "x", ANY)
