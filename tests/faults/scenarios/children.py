"""Parents and children: who wakes whom, and what a cancel takes along."""

from __future__ import annotations

from typing import Any, Final

import anyio

from stepwell import Context, ExecutionCancelled, ExecutionFailed, Status, Workflow
from tests.engine.flows import gated, line, nest
from tests.faults.scenarios._registry import scenario
from tests.faults.world import World, began

__all__ = ["NESTED"]

Ctx = Context[int]


async def work(ctx: Ctx) -> str:
    began(ctx)
    await anyio.sleep(1)
    return "worked"


async def broken(ctx: Ctx) -> str:
    if not began(ctx).is_mended:
        raise ValueError("broken")
    return "mended"


async def stands(ctx: Ctx) -> str:
    await began(ctx).gate("child").enter()
    return "let through"


NESTED: Final = nest(line(work, name="child"), name="nested")
UNLUCKY: Final = nest(line(broken, name="unlucky_child"), name="unlucky")
DEEP: Final[Workflow[int, Any]] = nest(nest(line(stands, name="grandchild", timeout=None), name="middle"), name="deep")
PATIENT: Final = nest(gated(name="patient_child"), name="patient")


@scenario
async def a_child_that_succeeds(world: World) -> None:
    async with world.engine(NESTED) as engine, world.worker(engine):
        await world.start(engine, NESTED, "x")
        await world.output(engine, "x", "succeeded worked None x/inner")


@scenario
async def a_child_in_the_only_slot(world: World) -> None:
    async with world.engine(NESTED) as engine, world.worker(engine, concurrency=1):
        await world.start(engine, NESTED, "x")
        await world.output(engine, "x", "succeeded worked None x/inner")


@scenario
async def a_child_that_fails(world: World) -> None:
    world.may_raise("ValueError")
    async with world.engine(UNLUCKY) as engine, world.worker(engine):
        await world.start(engine, UNLUCKY, "x", ends=Status.FAILED)
        await world.error(engine, "x", ExecutionFailed, "failed None ValueError")


@scenario
async def a_child_that_is_cancelled(world: World) -> None:
    async with world.engine(PATIENT) as engine, world.worker(engine):
        await world.start(engine, PATIENT, "x", ends=Status.FAILED)
        await world.until("x/inner", Status.SUSPENDED)
        await world.insist(lambda: engine.cancel("x/inner"))
        await world.error(engine, "x", ExecutionFailed, "cancelled None")
        world.expect("x/inner", Status.CANCELLED)


@scenario
async def a_cancel_over_two_generations_while_the_last_works(world: World) -> None:
    async with world.engine(DEEP) as engine, world.worker(engine):
        await world.start(engine, DEEP, "x", ends=Status.CANCELLED)
        await world.reached("child")
        await world.insist(lambda: engine.cancel("x", "enough"))
        await world.error(engine, "x", ExecutionCancelled, "enough")
        world.expect("x/inner", Status.CANCELLED)
        world.expect("x/inner/inner", Status.CANCELLED)


@scenario
async def a_parent_that_is_paused_while_its_child_ends(world: World) -> None:
    async with world.engine(PATIENT) as engine, world.worker(engine):
        await world.start(engine, PATIENT, "x")
        await world.until("x/inner", Status.SUSPENDED)
        await world.insist(lambda: engine.pause("x"))
        await world.insist(lambda: engine.signal("x/inner", "gate", "go", signal_id="s"))
        await world.output(engine, "x/inner", "go")
        await world.resume(engine, "x")
        await world.output(engine, "x", "succeeded go None x/inner")


@scenario
async def a_parent_that_is_looked_at_before_its_child_ends(world: World) -> None:
    async with world.engine(PATIENT) as engine, world.worker(engine):
        await world.start(engine, PATIENT, "x")
        await world.until("x/inner", Status.SUSPENDED)
        await world.insist(lambda: engine.pause("x"))
        await world.resume(engine, "x")
        await world.until("x", Status.SUSPENDED)
        await world.insist(lambda: engine.signal("x/inner", "gate", "go", signal_id="s"))
        await world.output(engine, "x", "succeeded go None x/inner")
