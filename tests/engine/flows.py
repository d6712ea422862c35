"""Small workflows that the engine's tests share, and the check that every execution must pass after each test."""

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
from stepwell._history import History
from stepwell._model import TERMINAL, Kind, Query, Row, Status, Stored
from stepwell.storage import Storage

__all__ = ["HOUR_POLL", "Ctx", "Runs", "check_all", "gated", "kinds", "line", "nest"]

Ctx = Context[int]

HOUR_POLL = 3600.0
"""A poll interval that no test may need."""

_ENDS = {Kind.SUCCEEDED, Kind.FAILED, Kind.CANCELLED}
_DUE = {Status.QUEUED, Status.RUNNING, Status.WAITING}


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


async def kinds(storage: Storage, id: str) -> list[str]:
    """Return what the journal records, in short: kind and attempt."""
    return [f"{entry.kind.value.rpartition('.')[2]} {entry.attempt}" for entry in await storage.journal(id)]


async def check_all(storage: Storage) -> int:
    """Check every execution in the storage against the promises; return how many there are."""
    rows: list[Row] = []
    after: tuple[int, str] | None = None
    while True:
        page = await storage.find(Query(limit=500, after=after))
        rows.extend(page.rows)
        if not page.more:
            break
        after = (rows[-1].created_at, rows[-1].id)
    known = {row.id: row for row in rows}
    assert len(known) == len(rows)
    for row in rows:
        stored = await storage.load(row.id)
        assert stored is not None
        _check(stored)
        _check_not_stranded(stored, known)
    return len(rows)


def _check(stored: Stored) -> None:
    row, journal = stored.row, stored.journal
    assert [entry.seq for entry in journal] == list(range(1, row.revision + 1)), row.id
    assert journal[0].kind is Kind.CREATED
    assert History.of(journal).matches(row), (row, History.of(journal))
    assert (row.status in TERMINAL) == (row.step is None) == (row.ended_at is not None)
    last = max((e.seq for e in journal if e.kind is Kind.RESUMED), default=0)
    ends = [e.seq for e in journal if e.kind in _ENDS and e.seq > last]
    assert ends == ([row.revision] if row.status in TERMINAL else []), row.id
    successes = Counter((e.step, e.visit) for e in journal if e.kind is Kind.STEP_SUCCEEDED)
    assert all(count == 1 for count in successes.values()), successes


def _check_not_stranded(stored: Stored, known: dict[str, Row]) -> None:
    row = stored.row
    if row.status in _DUE:
        assert row.due_at is not None, row
    elif row.status is Status.SUSPENDED and row.due_at is None:
        child = next((e.ref for e in reversed(stored.journal) if e.kind is Kind.STEP_SUSPENDED), None)
        assert child is None or known[child].status not in TERMINAL, row
        waiting = [signal for signal in stored.signals if signal.step == row.step and signal.state == "pending"]
        assert not waiting, row
    elif row.status is not Status.SUSPENDED:
        assert row.due_at is None, row
    if row.parent is not None:
        assert row.parent in known
