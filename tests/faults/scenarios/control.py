"""Clients that pause, resume and cancel, whatever an execution is at."""

from __future__ import annotations

from typing import Final

from stepwell import Context, ExecutionCancelled, Retry, Status
from tests.engine.flows import line
from tests.faults.scenarios._registry import scenario
from tests.faults.scenarios.waits import WAITING
from tests.faults.world import World, began

__all__: list[str] = []

Ctx = Context[int]


async def stands(ctx: Ctx) -> str:
    await began(ctx).gate("stands").enter()
    return "let through"


async def after(ctx: Ctx) -> str:
    began(ctx)
    return f"{ctx.output('stands')}, and on"


async def fails_once(ctx: Ctx) -> int:
    if not began(ctx).is_mended:
        raise ValueError("not yet")
    return ctx.attempt


STANDING: Final = line(stands, after, name="standing", timeout=None)
ON: Final = "let through, and on"
LATER: Final = line(fails_once, name="later", retry=Retry(max_attempts=30, backoff=250.0))


@scenario
async def a_pause_of_what_is_queued(world: World) -> None:
    world.gate("stands").open()
    async with world.engine(STANDING) as engine:
        await world.start(engine, STANDING, "x", delay=5)
        await world.insist(lambda: engine.pause("x", "hold on"))
        await world.insist(lambda: engine.pause("x", "hold on"))
        await world.resume(engine, "x")
        async with world.worker(engine, poll_interval=10):  # who comes later finds out by looking
            await world.output(engine, "x", ON)


@scenario
async def a_pause_while_a_step_runs(world: World) -> None:
    async with world.engine(STANDING) as engine, world.worker(engine):
        await world.start(engine, STANDING, "x")
        await world.reached("stands")
        await world.insist(lambda: engine.pause("x"))
        world.gate("stands").open()
        await world.until("x", Status.PAUSED)
        await world.resume(engine, "x")
        await world.output(engine, "x", ON)


@scenario
async def a_pause_that_is_taken_back_while_the_step_runs(world: World) -> None:
    async with world.engine(STANDING) as engine, world.worker(engine):
        await world.start(engine, STANDING, "x")
        await world.reached("stands")
        await world.insist(lambda: engine.pause("x"))
        await world.resume(engine, "x")
        world.gate("stands").open()
        await world.output(engine, "x", ON)


@scenario
async def a_pause_between_two_tries(world: World) -> None:
    world.may_raise("ValueError")
    async with world.engine(LATER) as engine, world.worker(engine):
        await world.start(engine, LATER, "x")
        await world.until("x", Status.WAITING)
        await world.insist(lambda: engine.pause("x"))
        world.is_mended = True
        await world.resume(engine, "x")
        await world.until("x", Status.WAITING)
        await world.insist(lambda: engine.cancel("x"))
    world.expect("x", Status.CANCELLED)


@scenario
async def a_signal_during_a_pause(world: World) -> None:
    async with world.engine(WAITING) as engine, world.worker(engine):
        handle = await world.start(engine, WAITING, "x")
        await world.until("x", Status.SUSPENDED)
        await world.insist(lambda: engine.pause("x"))
        await world.insist(lambda: handle.signal("gate", "go", signal_id="s"))
        await world.resume(engine, "x")
        await world.output(engine, "x", "go")


@scenario
async def cancels_of_what_is_not_running(world: World) -> None:
    ends = Status.CANCELLED
    async with world.engine(WAITING) as engine:
        await world.start(engine, WAITING, "queued", ends=ends, delay=1e6)
        await world.start(engine, WAITING, "paused", ends=ends)
        await world.insist(lambda: engine.pause("paused"))
        for id in ("queued", "paused"):
            await world.insist(lambda id=id: engine.cancel(id, "never mind"))  # type: ignore[misc]
        async with world.worker(engine):
            await world.start(engine, WAITING, "suspended", ends=ends)
            await world.until("suspended", Status.SUSPENDED)
            await world.insist(lambda: engine.cancel("suspended", "never mind"))
            for id in ("queued", "paused", "suspended"):
                await world.error(engine, id, ExecutionCancelled, "never mind")


@scenario
async def a_cancel_while_a_step_runs(world: World) -> None:
    async with world.engine(STANDING) as engine, world.worker(engine):
        await world.start(engine, STANDING, "x", ends=Status.CANCELLED)
        await world.reached("stands")
        await world.insist(lambda: engine.cancel("x", "enough"))
        await world.error(engine, "x", ExecutionCancelled, "enough")
