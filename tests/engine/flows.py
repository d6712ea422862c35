"""Small workflows that the engine's tests share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any, Literal

import anyio

from stepwell import (
    DEFAULT,
    Context,
    Outcome,
    Retry,
    Workflow,
    activity,
    fail,
    subworkflow,
    succeed,
    wait,
)
from stepwell.storage import Storage
from tests.support.waiting import Recorder

__all__ = ["HOUR_POLL", "LEASE", "Ctx", "Runs", "Steps", "gated", "kinds", "line", "nest"]

Ctx = Context[int]

HOUR_POLL = 3600.0
"""A poll interval that no test may need."""

LEASE = 60.0
"""A lease that tests see the end of."""


def line(
    *handlers: Callable[[Ctx], Any],
    name: str = "line",
    version: str = "1",
    retry: int | Retry = 1,
    timeout: Any = DEFAULT,
    catch: type[Exception] | None = None,
) -> Workflow[int, Any]:
    """Return a workflow of activities, one after the other, that ends with what the last one returned."""
    steps: list[Any] = [activity(retry=retry, timeout=timeout)(handler) for handler in handlers]

    @succeed
    def done(ctx: Ctx) -> Any:
        return ctx.output(steps[-1].name)

    @fail
    def caught(ctx: Ctx) -> str:
        return ctx.failure(steps[-1].name).type

    edges: list[Any] = [before.then(after) for before, after in pairwise(steps)]
    edges.append(steps[-1].then(done, catch={catch: caught}) if catch else steps[-1].then(done))
    return Workflow[int, Any](name, version=version, start=steps[0], edges=edges)


def gated(
    *,
    timeout: float | None = None,
    before: Callable[[Ctx], Awaitable[Any]] | None = None,
    name: str = "gated",
    transactional: bool = False,
) -> Workflow[int, Any]:
    """Return a workflow that waits at `gate` for a word, and ends with it or, after the timeout, with `late`."""

    @wait(timeout=timeout)
    def gate(ctx: Ctx, signal: str) -> Literal["go", "stop"]:
        return "stop" if signal == "stop" else "go"

    @succeed
    def gone(ctx: Ctx) -> str:
        return ctx.output(gate)

    @fail
    def stopped(ctx: Ctx) -> str:
        return "stopped"

    @succeed
    def late(ctx: Ctx) -> str:
        return "late"

    routes: Any = {"go": gone, "stop": stopped}
    edges: list[Any] = [gate.to(routes) if timeout is None else gate.to(routes, timeout=late)]
    start: Any = gate
    if before is not None:
        start = activity(transactional=transactional)(before)
        edges.insert(0, start.then(gate))
    return Workflow[int, Any](name, version="1", start=start, edges=edges)


def nest(child: Workflow[int, Any], *, name: str = "parent") -> Workflow[int, Any]:
    """Return a workflow that runs *child* and ends with its outcome, as text."""

    @subworkflow(child)
    def inner(ctx: Ctx) -> int:
        return ctx.input

    @succeed
    def well(ctx: Ctx) -> str:
        return _told(ctx.output(inner))

    @fail
    def badly(ctx: Ctx) -> str:
        return _told(ctx.output(inner))

    @fail
    def not_at_all(ctx: Ctx) -> str:
        return _told(ctx.output(inner))

    edges: list[Any] = [inner.to(succeeded=well, failed=badly, cancelled=not_at_all)]
    start: Any = inner
    return Workflow[int, Any](name, version="1", start=start, edges=edges)


def _told(outcome: Outcome[Any]) -> str:
    assert isinstance(outcome, Outcome)
    error: Any = outcome.error["type"] if outcome.error else None
    return f"{outcome.status} {outcome.output} {error} {outcome.id}"


class Runs:
    """Three activities that count how often they ran, by idempotency key."""

    def __init__(self) -> None:
        self.of: Counter[str] = Counter()

    async def first(self, ctx: Ctx) -> str:
        self.of[ctx.idempotency_key] += 1
        return "first"

    async def second(self, ctx: Ctx) -> str:
        self.of[ctx.idempotency_key] += 1
        await anyio.sleep(1)
        return f"{ctx.output('first')} second"

    async def third(self, ctx: Ctx) -> str:
        self.of[ctx.idempotency_key] += 1
        return f"{ctx.output('second')} third"

    def flow(self) -> Workflow[int, Any]:
        return line(self.first, self.second, self.third)


class Steps:
    """A handler that runs for ever unless it is told how long, and what became of it when."""

    def __init__(self, seconds: float = 1e6) -> None:
        self.seconds = seconds
        self.began: Recorder[float] = Recorder()
        self.stopped: Recorder[float] = Recorder()

    async def work(self, ctx: Ctx) -> int:
        self.began.record(anyio.current_time())
        try:
            await anyio.sleep(self.seconds)
        except BaseException:
            self.stopped.record(anyio.current_time())
            raise
        return ctx.attempt


async def kinds(storage: Storage, id: str) -> list[str]:
    """Return what the journal records, in short: kind and attempt."""
    return [f"{entry.kind.value.rpartition('.')[2]} {entry.attempt}" for entry in await storage.journal(id)]
