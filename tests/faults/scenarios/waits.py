"""Waits and their signals: early, in time, late, twice, never."""

from __future__ import annotations

from functools import partial
from typing import Final, Literal

from stepwell import (
    AlreadySignalled,
    Context,
    ExecutionEnded,
    ExecutionFailed,
    SignalConflict,
    Status,
    WaitPassed,
    Workflow,
    activity,
    fail,
    succeed,
    wait,
)
from tests.engine.flows import gated
from tests.faults.scenarios._registry import scenario
from tests.faults.world import World, began

__all__ = ["WAITING"]

Ctx = Context[int]


async def before(ctx: Ctx) -> int:
    began(ctx)
    return 1


WAITING: Final = gated(name="waiting")
AHEAD: Final = gated(name="ahead", before=before)
TIMED: Final = gated(name="timed", timeout=5.0)


@scenario
async def a_signal_to_an_open_wait(world: World) -> None:
    async with world.engine(WAITING) as engine, world.worker(engine):
        handle = await world.start(engine, WAITING, "x")
        await world.until("x", Status.SUSPENDED)
        await world.insist(lambda: handle.signal("gate", "go", signal_id="s"))
        await world.output(engine, "x", "go")
        await world.insist(lambda: handle.signal("gate", "go", signal_id="s"))
        await world.refused(lambda: handle.signal("gate", "go", signal_id="other"), ExecutionEnded)


@scenario
async def early_signals_of_which_one_counts(world: World) -> None:
    async with world.engine(AHEAD) as engine:
        handle = await world.start(engine, AHEAD, "x")
        await world.insist(lambda: handle.signal("gate", "go", signal_id="s"))
        await world.insist(lambda: handle.signal("gate", "go", signal_id="s"))
        await world.refused(lambda: handle.signal("gate", "stop", signal_id="s"), SignalConflict)
        await world.refused(lambda: handle.signal("gate", "stop", signal_id="t"), AlreadySignalled)
        async with world.worker(engine):
            await world.output(engine, "x", "go")


@scenario
async def a_wait_that_times_out(world: World) -> None:
    async with world.engine(TIMED) as engine, world.worker(engine):
        handle = await world.start(engine, TIMED, "x")
        await world.output(engine, "x", "late")
        await world.refused(lambda: handle.signal("gate", "go", signal_id="s"), ExecutionEnded)


# -- two waits, of which the first may be visited twice ----------------------------------------------------------------


@wait(max_visits=2)
def one(ctx: Ctx, signal: str) -> Literal["on", "again", "off"]:
    began(ctx)
    if signal == "broken":
        raise KeyError("broken")
    return "on" if signal == "on" else "again" if signal == "again" else "off"


@wait
def two(ctx: Ctx, signal: str) -> Literal["on"]:
    began(ctx)
    return "on"


@activity
async def between(ctx: Ctx) -> int:
    began(ctx)
    return 1


@succeed
def both(ctx: Ctx) -> list[str]:
    return [ctx.output(one), ctx.output(two)]


@fail
def given_up(ctx: Ctx) -> str:
    return "given up"


GATES: Final = Workflow[int, list[str]](
    "gates",
    version="1",
    start=one,
    edges=[one.to({"on": between, "again": one, "off": given_up}), between.then(two), two.to({"on": both})],
)
BESIDE: Final = Workflow[int, list[str]](
    "beside",
    version="1",
    start=one,
    edges=[one.to({"on": two, "again": one, "off": given_up}), two.to({"on": both})],
)


@scenario
async def one_wait_after_the_other(world: World) -> None:
    async with world.engine(BESIDE) as engine, world.worker(engine):
        handle = await world.start(engine, BESIDE, "x")
        await world.until("x", Status.SUSPENDED)
        await world.insist(lambda: handle.signal("one", "on", signal_id="s1"))
        await world.until("x", Status.SUSPENDED, step="two")
        await world.refused(lambda: handle.signal("one", "on", signal_id="s2"), (AlreadySignalled, WaitPassed))
        await world.insist(lambda: handle.signal("two", "then", signal_id="s3"))
        await world.output(engine, "x", ["on", "then"])


@scenario
async def a_signal_that_leads_to_a_wait_too_often(world: World) -> None:
    world.may_raise("VisitsExceeded")
    async with world.engine(BESIDE) as engine, world.worker(engine):
        handle = await world.start(engine, BESIDE, "x", ends=Status.FAILED)
        for number in range(2):
            await world.until("x", Status.SUSPENDED)
            await world.insist(partial(handle.signal, "one", "again", signal_id=f"s{number}"))
        await world.error(engine, "x", ExecutionFailed, "visits")


@scenario
async def a_resolver_that_raises_and_a_wait_that_is_resumed(world: World) -> None:
    world.may_raise("KeyError")
    async with world.engine(GATES) as engine:
        handle = await world.start(engine, GATES, "x")
        await world.insist(lambda: handle.signal("one", "broken", signal_id="s1"))
        await world.insist(lambda: handle.signal("two", "early", signal_id="s2"))
        async with world.worker(engine):
            await world.error(engine, "x", ExecutionFailed, "KeyError")
            await world.resume(engine, "x")
            await world.until("x", Status.SUSPENDED)
    world.expect("x", Status.SUSPENDED)


@scenario
async def a_failed_wait_that_is_resumed_and_signalled(world: World) -> None:
    world.may_raise("KeyError")
    async with world.engine(GATES) as engine:
        handle = await world.start(engine, GATES, "x")
        await world.insist(lambda: handle.signal("one", "broken", signal_id="s1"))
        async with world.worker(engine):
            await world.error(engine, "x", ExecutionFailed, "KeyError")
            await world.resume(engine, "x")
            await world.until("x", Status.SUSPENDED)
            await world.insist(lambda: handle.signal("one", "on", signal_id="s2"))
            await world.insist(lambda: handle.signal("two", "then", signal_id="s3"))
            await world.output(engine, "x", ["on", "then"])


@scenario
async def a_signal_that_is_left_over_at_the_end(world: World) -> None:
    async with world.engine(GATES) as engine:
        handle = await world.start(engine, GATES, "x", ends=Status.FAILED)
        await world.insist(lambda: handle.signal("two", "never", signal_id="s1"))
        async with world.worker(engine):
            await world.until("x", Status.SUSPENDED)
            await world.insist(lambda: handle.signal("one", "off", signal_id="s2"))
            await world.error(engine, "x", ExecutionFailed, "given up")
