"""How much memory a running execution takes.

A process runs an engine with an idle worker and looks at its resident memory; then so many executions stand in their
handlers at the same time, and it looks again. In between, what an execution takes in the storage alone is told apart.
The ceiling is a bare task that sleeps in a task group. `--executions` is how many there are.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import anyio
import anyio.lowlevel

from benchmarks._plan import BACKENDS, Benchmark, Figure, Measured, Samples, Scale, Settings, Target, Variant, figure
from benchmarks._workload import (
    STORAGES,
    Order,
    StorageKind,
    Tally,
    opened,
    order_workflow,
    run,
    run_backlog,
    start_backlog,
)
from stepwell import Context, Engine, Workflow, activity, succeed

__all__ = ["BENCHMARK"]

_WARM_UP: Final = 300
"""executions that run to their end first, so that what is only made once is there"""
_TARGET: Final = Target("at most", 20.0, of="median")
_LIMIT: Final = 120.0
"""seconds within which all executions must run"""


def variants(scale: Scale) -> Iterator[Variant]:
    """Give the programs of one round."""
    for backend in BACKENDS:
        settings = {"backend": backend, "executions": scale.executions}
        yield Variant(f"tasks/{backend}", {"program": "tasks", **settings})
        for storage in STORAGES:
            yield Variant(f"{storage}/{backend}", {"program": "engine", "storage": storage, **settings})


def measure(settings: Settings, folder: Path) -> Measured:
    """Run one program."""
    amount: int = settings["executions"]
    if settings["program"] == "tasks":
        measured: Measured = run(settings["backend"], _run_tasks, amount)
    else:
        measured = run(settings["backend"], _run_engine, settings["storage"], folder, amount)
    return measured


def resident() -> int:
    """Collect garbage, and return the resident memory in bytes. Raises OSError where there is no /proc."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def _run_tasks(amount: int) -> Measured:
    arrivals = _Arrivals(amount)
    before = after = resident()
    async with anyio.create_task_group() as tasks:
        for _ in range(amount):
            tasks.start_soon(arrivals.stay)
        await arrivals.all.wait()
        after = resident()
        tasks.cancel_scope.cancel()
    return {"bytes": (after - before) / amount}


class _Arrivals:
    """Those who stand in their handlers."""

    def __init__(self, amount: int) -> None:
        self._left = amount
        self.all = anyio.Event()

    async def stay(self) -> None:
        """Arrive, and stay until cancelled."""
        self._left -= 1
        if not self._left:
            self.all.set()
        await anyio.sleep_forever()


def _standing_workflow(arrivals: _Arrivals) -> Workflow[Order, None]:
    @activity(timeout=None)
    async def stand(_: Context[Order]) -> None:
        await arrivals.stay()

    @succeed
    def done(_: Context[Order]) -> None:
        return None

    return Workflow[Order, None]("standing", version="1", start=stand, edges=[stand.then(done)])


async def _run_engine(kind: StorageKind, folder: Path, amount: int) -> Measured:
    tally = Tally()
    orders = order_workflow(tally)
    arrivals = _Arrivals(amount)
    standing = _standing_workflow(arrivals)
    async with opened(kind, folder) as storage, Engine(storage, workflows=[orders, standing], lease=600) as engine:
        await run_backlog(engine, orders, tally, _WARM_UP, concurrency=200)
        async with engine.worker(concurrency=amount):
            idle = resident()
        await start_backlog(engine, standing, amount)
        stored = resident()
        running = stored
        with anyio.CancelScope() as scope:
            async with engine.worker(concurrency=amount):
                with anyio.fail_after(_LIMIT):
                    await arrivals.all.wait()
                running = resident()
                scope.cancel()
                await anyio.lowlevel.checkpoint()
    return {"bytes": (running - idle) / amount, "stored_bytes": (stored - idle) / amount}


def figures(samples: Samples) -> Sequence[Figure]:
    """Tell what one execution takes, and hold it against what a task takes."""
    found: list[Figure] = []
    for storage in STORAGES:
        for backend in BACKENDS:
            name = f"{storage}/{backend}"
            task = "a bare task", [value / 1e3 for value in samples.of(f"tasks/{backend}", "bytes")]
            whole, stored = ([value / 1e3 for value in samples.of(name, what)] for what in ("bytes", "stored_bytes"))
            found.append(figure(f"{name}, running", "kB", whole, ceiling=task, target=_TARGET))
            found.append(figure(f"{name}, before it is claimed", "kB", stored))
    return found


BENCHMARK: Final = Benchmark(
    "memory",
    "resident memory of executions that stand in their handlers",
    lambda scale: list(variants(scale)),
    measure,
    figures,
    budget=150,
)
