"""Random workflows made of blocks, each with the path that it must take.

A workflow is built from its end to its start, so that every block knows where it leads. What a handler does follows
from the execution, the step, the visit and the attempt alone: whoever runs it, and however often, it does the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, Literal

import anyio
import anyio.lowlevel

from stepwell import Context, Retry, Workflow, activity, decision, fail, subworkflow, succeed, wait
from stepwell.testing._simulation._processes import PROCESS

__all__ = ["Flow", "drawn_flow", "poisoned_flow"]

Ctx = Context[int]

DURATIONS: Final = (0.0, 0.0, 0.01, 0.2, 1.0, 2.0, 6.0)
LONG: Final = 14.0
"""seconds: longer than the shorter leases"""
PATIENT: Final = 600.0
"""a timeout that no pause reaches"""


class Declined(Exception):
    """What a catch takes."""


@dataclass
class Flow:
    """A workflow, and what must come of it if nobody cancels it."""

    workflow: Workflow[int, Any]
    path: list[str]
    """the activities that succeed, in order"""
    waits: list[tuple[str, str, int]] = field(default_factory=list[tuple[str, str, int]])
    """where signals are needed: the child's path below the execution (or nothing), the step, how often"""
    status: Literal["succeeded", "failed"] = "succeeded"
    is_poisoned: bool = False

    @property
    def output(self) -> str:
        """What `done` gives."""
        return ",".join(_last_of_each(self.path))


def _last_of_each(path: list[str]) -> list[str]:
    kept: dict[str, None] = {}
    for name in path:
        kept.pop(name, None)
        kept[name] = None
    return list(kept)


async def work(ctx: Ctx) -> str:
    random = Random(f"{ctx.execution_id}/{ctx.step}/{ctx.visit}/{ctx.attempt}")
    duration = LONG if random.random() < 0.06 else random.choice(DURATIONS)
    if random.random() < 0.3:
        await anyio.lowlevel.checkpoint()
        duration /= 2
        await anyio.sleep(duration)
    await anyio.sleep(duration)
    return ctx.step


def work_without_waiting(ctx: Ctx) -> str:
    return ctx.step


def done(ctx: Ctx) -> str:
    return ",".join(value for name, value in ctx.outputs.items() if name.startswith("a"))


async def slowly_done(ctx: Ctx) -> str:
    await anyio.sleep(0.5)
    return done(ctx)


def broken(ctx: Ctx) -> str:
    return "a way that must not be taken"


async def _kill(ctx: Ctx) -> str:
    process = PROCESS.get()
    assert process is not None
    await anyio.sleep(0.1)
    process.kill()
    await anyio.sleep_forever()
    return "never"


def poisoned_flow(name: str) -> Flow:
    """Return a workflow whose second step kills every process that runs it."""
    first = activity(name="a1", timeout=PATIENT)(work)
    second = activity(name="a2", timeout=PATIENT)(_kill)
    end = succeed(name="done")(done)
    edges: list[Any] = [first.then(second), second.then(end)]
    return Flow(Workflow[int, Any](name, version="1", start=first, edges=edges), ["a1"], [], "failed", is_poisoned=True)


def drawn_flow(random: Random, name: str, *, version: str = "1", depth: int = 1) -> Flow:
    """Draw a workflow; *depth* levels of children at most."""
    return _Builder(random, name, depth, version).build()


class _Builder:
    def __init__(self, random: Random, name: str, depth: int, version: str) -> None:
        self.random = random
        self.name = name
        self.depth = depth
        self.version = version
        self.count = 0
        self.edges: list[Any] = []
        self.waits: list[tuple[str, str, int]] = []
        self.done: Any = succeed(name="done")(random.choice((done, done, slowly_done)))
        self.broken: Any = fail(name="broken")(broken)

    def build(self) -> Flow:
        ends_well = self.depth or self.random.random() < 0.7
        end = self.done if ends_well else fail(name="ended")(done)
        start, path = self.chain(end, self.random.randint(2, 5))
        workflow = Workflow[int, Any](self.name, version=self.version, start=start, edges=self.edges)
        return Flow(workflow, path, self.waits, "succeeded" if ends_well else "failed")

    def chain(self, target: Any, blocks: int, *, visits: int = 1) -> tuple[Any, list[str]]:
        """Return the first step of that many blocks that lead to *target*, and the activities that succeed there."""
        path: list[str] = []
        for _ in range(blocks):
            block = self.random.choices(
                (self.activity, self.retried, self.caught, self.decision, self.wait, self.loop, self.child, self.slow),
                (6, 2, 2, 3, 3, 1 if visits == 1 else 0, 2 if self.depth and visits == 1 else 0, 1),
            )[0]
            target, before = block(target, visits)
            path = before + path
        return (target, path) if blocks else self.activity(target, visits)

    def named(self, kind: str, visits: int, **more: Any) -> dict[str, Any]:
        self.count += 1
        return {"name": f"{kind}{self.count}", "max_visits": visits, **more}

    def activity(self, target: Any, visits: int) -> tuple[Any, list[str]]:
        function: Callable[..., Any] = self.random.choice((work, work, work, work_without_waiting))
        step: Any = activity(**self.named("a", visits, timeout=PATIENT))(function)
        self.edges.append(step.then(target))
        return step, [step.name]

    def retried(self, target: Any, visits: int) -> tuple[Any, list[str]]:
        failures = self.random.randint(1, 2)
        retry = Retry(max_attempts=failures + 1, backoff=self.random.choice((0.0, 0.5, 3.0)))

        async def fails(ctx: Ctx) -> str:
            result = await work(ctx)
            if ctx.attempt <= failures:
                raise OSError("not yet")
            return result

        step: Any = activity(**self.named("a", visits, timeout=PATIENT, retry=retry))(fails)
        self.edges.append(step.then(target))
        return step, [step.name]

    def slow(self, target: Any, visits: int) -> tuple[Any, list[str]]:
        """Return an activity whose first attempt takes longer than it may."""

        async def hangs_once(ctx: Ctx) -> str:
            if ctx.attempt == 1:
                await anyio.sleep(100)
            return ctx.step

        retry = Retry(max_attempts=100, backoff=0.1)
        step: Any = activity(**self.named("a", visits, timeout=3.0, retry=retry))(hangs_once)
        self.edges.append(step.then(target))
        return step, [step.name]

    def caught(self, target: Any, visits: int) -> tuple[Any, list[str]]:
        """Return an activity that fails for good, and the one that takes over."""

        async def declines(ctx: Ctx) -> str:
            await work(ctx)
            raise Declined("no")

        other, path = self.activity(target, visits)
        retry = Retry(max_attempts=self.random.randint(1, 2), backoff=0.2)
        step: Any = activity(**self.named("a", visits, timeout=PATIENT, retry=retry))(declines)
        self.edges.append(step.then(self.broken, catch={Declined: other}))
        return step, path

    def decision(self, target: Any, visits: int) -> tuple[Any, list[str]]:
        def on(ctx: Ctx) -> Literal["on", "off"]:
            return "on"

        async def slowly_on(ctx: Ctx) -> Literal["on", "off"]:
            await anyio.sleep(0.1)
            return "on"

        step: Any = decision(**self.named("d", visits, timeout=PATIENT))(self.random.choice((on, on, slowly_on)))
        self.edges.append(step.to({"on": target, "off": self.broken}))
        return step, []

    def wait(self, target: Any, visits: int) -> tuple[Any, list[str]]:
        def resolve(ctx: Ctx, signal: str) -> Literal["go"]:
            return "go"

        timeout = self.random.choice((None, None, 4.0))
        step: Any = wait(**self.named("w", visits, timeout=timeout))(resolve)
        self.edges.append(step.to({"go": target}, timeout=None if timeout is None else target))
        self.waits.append(("", step.name, visits))
        return step, []

    def loop(self, target: Any, visits: int) -> tuple[Any, list[str]]:
        rounds = self.random.randint(2, 3)

        def again(ctx: Ctx) -> Literal["again", "out"]:
            return "again" if ctx.visit < rounds else "out"

        step: Any = decision(**self.named("d", rounds, timeout=PATIENT))(again)
        entry, path = self.chain(step, self.random.randint(1, 2), visits=rounds)
        self.edges.append(step.to({"again": entry, "out": target}))
        return entry, path * rounds

    def child(self, target: Any, visits: int) -> tuple[Any, list[str]]:
        self.count += 1
        child = _Builder(self.random, f"{self.name}_{self.version}_{self.count}", self.depth - 1, "1").build()

        def input_of(ctx: Ctx) -> int:
            return ctx.input

        step: Any = subworkflow(child.workflow, **self.named("c", visits))(input_of)
        ends = {"succeeded": self.broken, "failed": self.broken, child.status: target}
        self.edges.append(step.to(**ends, cancelled=self.broken))
        for below, name, count in child.waits:
            self.waits.append((f"/{step.name}{below}", name, count))
        return step, []
