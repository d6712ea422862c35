"""Workers that leave, are cut off, or die; and those who go on in their place."""

from __future__ import annotations

from typing import Final

import anyio

from stepwell import Context, ExecutionFailed, Status
from tests.engine.faulty import Faulty, How
from tests.engine.flows import line
from tests.faults.scenarios._registry import scenario
from tests.faults.world import World, began

__all__: list[str] = []

Ctx = Context[int]

POLL: Final = 10.0
"""seconds: engines of different processes hear of each other by looking"""


async def stands(ctx: Ctx) -> str:
    await began(ctx).gate("stands").enter()
    return "let through"


async def after(ctx: Ctx) -> str:
    began(ctx)
    return f"{ctx.output('stands')}, and on"


STANDING: Final = line(stands, after, name="standing", timeout=None)
ON: Final = "let through, and on"


@scenario
async def a_drain_in_mid_step(world: World) -> None:
    async with world.engine(STANDING) as engine:
        await world.start(engine, STANDING, "x")
        async with world.worker(engine, grace=0):
            await world.reached("stands")
        world.gate("stands").open()
        async with world.worker(engine, poll_interval=POLL):  # what couldn't be handed back lapses
            await world.output(engine, "x", ON)


@scenario
async def a_drain_that_lets_the_step_end(world: World) -> None:
    async with world.engine(STANDING) as engine:
        await world.start(engine, STANDING, "x")
        async with world.worker(engine, grace=1000):
            await world.reached("stands")
            world.tasks.start_soon(_open_later, world)
        async with world.worker(engine, poll_interval=POLL):
            await world.output(engine, "x", ON)


async def _open_later(world: World) -> None:
    await anyio.sleep(3)
    world.gate("stands").open()


@scenario
async def a_worker_that_is_cut_off_and_another_that_takes_over(world: World) -> None:
    link = Faulty(world.faulty)
    world.is_calm = False
    async with (
        world.engine(STANDING, storage=link) as cut_off,
        world.engine(STANDING) as other,
        world.worker(cut_off, poll_interval=POLL),
    ):
        await world.start(cut_off, STANDING, "x")
        await world.reached("stands")
        fault = link.cut()
        await anyio.sleep(61)
        world.gate("stands").open()
        async with world.worker(other, poll_interval=POLL):
            await world.output(other, "x", ON)
            fault.mend()
            await world.output(cut_off, "x", ON)


@scenario
async def a_worker_that_dies_in_mid_step(world: World) -> None:
    async with world.doomed(STANDING) as engine:
        await world.start(engine, STANDING, "x")
        await world.reached("stands")
    world.gate("stands").open()
    async with world.engine(STANDING) as other, world.worker(other, poll_interval=POLL):
        await world.until("x", Status.SUCCEEDED)
        await world.output(other, "x", ON)


@scenario
async def neighbours_of_a_worker_that_dies(world: World) -> None:
    async with world.doomed(STANDING) as engine:
        for id in "xy":
            await world.start(engine, STANDING, id)
        await world.reached("stands", 2)
    async with world.doomed(STANDING):
        await world.reached("stands", 4)
    async with world.engine(STANDING) as other, world.worker(other, poll_interval=POLL):
        await world.reached("stands", 5)
        await anyio.sleep(2)  # the other suspect comes, and is sent back
        world.gate("stands").open()
        for id in "xy":
            await world.until(id, Status.SUCCEEDED)
            await world.output(other, id, ON)


@scenario
async def a_pause_of_what_a_dead_worker_ran(world: World) -> None:
    async with world.doomed(STANDING) as engine:
        await world.start(engine, STANDING, "x")
        await world.reached("stands")
        await world.insist(lambda: engine.pause("x"))
    world.gate("stands").open()
    async with world.engine(STANDING) as other, world.worker(other, poll_interval=POLL):
        await world.until("x", Status.PAUSED)
        await world.resume(other, "x")
        await world.output(other, "x", ON)


@scenario
async def a_step_that_takes_its_workers_down(world: World) -> None:
    """Three workers die of it at most: a claim that is carried out for a dead one is an attempt that was lost, too."""
    world.may_raise("StepCrashed")
    for number in range(1, 4):
        async with world.doomed(STANDING, max_crashes=1) as engine:
            await world.start(engine, STANDING, "x", ends=Status.FAILED)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_begun, world, number, tasks.cancel_scope)
                await world.until("x", Status.FAILED)
                tasks.cancel_scope.cancel()
    async with world.engine(STANDING, max_crashes=1) as other, world.worker(other, poll_interval=POLL):
        await world.until("x", Status.FAILED)
        await world.error(other, "x", ExecutionFailed, "disappeared")


async def _begun(world: World, number: int, wait: anyio.CancelScope) -> None:
    await world.reached("stands", number)
    wait.cancel()


@scenario
async def a_claim_whose_worker_leaves_before_it_begins(world: World) -> None:
    """A claim is answered while the worker leaves: what it brings is handed back, and no attempt has begun."""
    world.gate("stands").open()
    link = Faulty(world.faulty)
    async with world.engine(STANDING, storage=link) as engine:
        await world.start(engine, STANDING, "x")
        async with anyio.create_task_group() as tasks:
            link.spoil("claim", how=How.HANGS_AFTER, seconds=2)
            tasks.start_soon(world.insist, engine.run_worker)
            await anyio.sleep(1)
            tasks.cancel_scope.cancel()
        async with world.worker(engine, poll_interval=POLL):  # what couldn't be handed back lapses
            await world.output(engine, "x", ON)


async def takes_long(ctx: Ctx) -> int:
    began(ctx)
    await anyio.sleep(150)
    return 1


LONG_STEP: Final = line(takes_long, name="long_step", timeout=None)


@scenario
async def a_step_that_outlasts_its_lease(world: World) -> None:
    async with world.engine(LONG_STEP) as engine, world.worker(engine):
        await world.start(engine, LONG_STEP, "x")
        await world.until("x", Status.SUCCEEDED)
        await world.output(engine, "x", 1)
