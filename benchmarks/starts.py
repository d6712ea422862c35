"""How many executions are started in a second, by one caller and by two hundred.

Each start returns when it is durable. The ceiling of SQLite is a loop over plain statements on the same disk, which
creates as many executions in one commit as there are callers (at most 100); that of memory is the skeleton on the same
backend. `--executions` is the number behind each figure, in all rounds together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from benchmarks import _raw, _skeleton
from benchmarks._plan import BACKENDS, Benchmark, Figure, Measured, Samples, Scale, Settings, Variant, figure
from benchmarks._workload import (
    STORAGES,
    Order,
    Spent,
    Stopwatch,
    StorageKind,
    Tally,
    in_parallel,
    opened,
    order_workflow,
    run,
    warm_up,
)
from stepwell import Engine

__all__ = ["BENCHMARK"]

_CALLERS: Final = (1, 200)
_MOST_TOGETHER: Final = 100
"""executions in one commit of the plain loop; more bring nothing"""
_MOST_COMMITS: Final = 1_000
"""commits of the plain loop in one round"""


def variants(scale: Scale) -> Iterator[Variant]:
    """Give the programs of one round."""
    amount = scale.per_round
    for callers in _CALLERS:
        together = min(callers, _MOST_TOGETHER)
        commits = max(min(amount // together, _MOST_COMMITS), 10)
        yield Variant(f"plain/{callers}", {"program": "plain", "commits": commits, "together": together})
        for backend in BACKENDS:
            settings = {"backend": backend, "callers": callers, "executions": amount}
            yield Variant(f"skeleton/{backend}/{callers}", {"program": "skeleton", **settings})
            for storage in STORAGES:
                name = f"{storage}/{backend}/{callers}"
                yield Variant(name, {"program": "engine", "storage": storage, **settings})


def measure(settings: Settings, folder: Path) -> Measured:
    """Run one program."""
    if settings["program"] == "plain":
        commits, together = settings["commits"], settings["together"]
        return {"per_second": _raw.created_per_second(folder, commits=commits, together=together)}
    amount, callers = settings["executions"], settings["callers"]
    spent: Spent
    if settings["program"] == "skeleton":
        spent = run(settings["backend"], _skeleton.start_all, amount, callers)
    else:
        spent = run(settings["backend"], _run_engine, settings["storage"], folder, amount, callers)
    return {"per_second": amount / spent.wall, "cpu_per_start": spent.cpu * 1e6 / amount}


async def _run_engine(kind: StorageKind, folder: Path, amount: int, callers: int) -> Spent:
    workflow = order_workflow(Tally())
    async with opened(kind, folder) as storage, Engine(storage, workflows=[workflow]) as engine:

        async def start(number: int) -> None:
            await engine.start(workflow, Order(number, "ada"))

        await in_parallel(warm_up(amount), callers, start)
        watch = Stopwatch()
        await in_parallel(amount, callers, start)
        return watch.read()


def figures(samples: Samples) -> Sequence[Figure]:
    """Hold each engine against its ceiling."""
    found: list[Figure] = []
    for callers in _CALLERS:
        for storage in STORAGES:
            for backend in BACKENDS:
                name = f"{storage}/{backend}/{callers}"
                in_memory = storage == "memory"
                what, other = ("skeleton", f"skeleton/{backend}") if in_memory else ("plain SQLite", "plain")
                ceiling = what, samples.of(f"{other}/{callers}", "per_second")
                found += (
                    figure(name, "starts/s", samples.of(name, "per_second"), ceiling=ceiling),
                    figure(name, "CPU µs/start", samples.of(name, "cpu_per_start")),
                )
    return found


BENCHMARK: Final = Benchmark(
    "starts",
    "executions that are started in a second",
    lambda scale: list(variants(scale)),
    measure,
    figures,
    budget=90,
)
