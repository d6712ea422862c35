"""How many executions end in a second, and what each step costs the processor.

A backlog is created first; then a worker runs until all of it has ended. The ceiling of SQLite is a loop over plain
statements on the same disk, which commits as many steps together as there are executions at a time (at most 100); that
of memory is the skeleton on the same backend. `--executions` is the number behind each figure, in all rounds together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from benchmarks import _raw, _skeleton
from benchmarks._plan import BACKENDS, Benchmark, Figure, Measured, Samples, Scale, Settings, Target, Variant, figure
from benchmarks._workload import (
    STEPS,
    STORAGES,
    Spent,
    StorageKind,
    Tally,
    opened,
    order_workflow,
    run,
    run_backlog,
    succeeded,
    warm_up,
)
from stepwell import Engine

__all__ = ["BENCHMARK", "engine_rate", "rates", "skeleton_rate"]

_CONCURRENCIES: Final = (1, 20, 200)
_MOST_TOGETHER: Final = 100
"""steps in one commit of the plain loop; more bring nothing"""
_MOST_COMMITS: Final = 1_000
"""commits of the plain loop in one round"""
_OF_PLAIN: Final = Target("at least", 0.15)
_OF_ASYNCIO: Final = Target("at least", 0.75)


def variants(scale: Scale) -> Iterator[Variant]:
    """Give the programs of one round: for each concurrency the ceilings, and all that is held against them."""
    amount = scale.per_round
    for concurrency in _CONCURRENCIES:
        together = min(concurrency, _MOST_TOGETHER)
        commits = max(min(amount * STEPS // together, _MOST_COMMITS), 10)
        yield Variant(f"plain/{concurrency}", {"program": "plain", "commits": commits, "together": together})
        for backend in BACKENDS:
            settings = {"backend": backend, "concurrency": concurrency, "executions": amount}
            yield Variant(f"skeleton/{backend}/{concurrency}", {"program": "skeleton", **settings})
            for storage in STORAGES:
                name = f"{storage}/{backend}/{concurrency}"
                yield Variant(name, {"program": "engine", "storage": storage, **settings})


def measure(settings: Settings, folder: Path) -> Measured:
    """Run one program."""
    match settings["program"]:
        case "plain":
            commits, together = settings["commits"], settings["together"]
            return {"steps_per_second": _raw.steps_per_second(folder, commits=commits, together=together)}
        case "skeleton":
            return skeleton_rate(settings)
        case _:
            return engine_rate(settings, folder)


def skeleton_rate(settings: Settings) -> Measured:
    """Measure the skeleton."""
    amount: int = settings["executions"]
    spent: Spent = run(settings["backend"], _skeleton.run_all, amount, settings["concurrency"])
    return rates(amount, spent)


def engine_rate(settings: Settings, folder: Path) -> Measured:
    """Measure an engine."""
    amount: int = settings["executions"]
    spent: Spent = run(settings["backend"], _run_engine, settings["storage"], folder, amount, settings["concurrency"])
    return rates(amount, spent)


def rates(executions: int, spent: Spent) -> Measured:
    """Return what was spent on so many executions as rates."""
    return {
        "executions_per_second": executions / spent.wall,
        "steps_per_second": executions * STEPS / spent.wall,
        "cpu_per_step": spent.cpu * 1e6 / (executions * STEPS),
    }


async def _run_engine(kind: StorageKind, folder: Path, amount: int, concurrency: int) -> Spent:
    tally = Tally()
    workflow = order_workflow(tally)
    async with opened(kind, folder) as storage, Engine(storage, workflows=[workflow]) as engine:
        warm = warm_up(amount)
        await run_backlog(engine, workflow, tally, warm, concurrency=concurrency)
        spent = await run_backlog(engine, workflow, tally, amount, concurrency=concurrency)
        ended = await succeeded(engine)
        if ended != warm + amount:
            msg = f"{warm + amount} executions were started, and {ended} succeeded"
            raise AssertionError(msg)
        return spent


def figures(samples: Samples) -> Sequence[Figure]:
    """Hold each engine against its ceiling, and Trio against asyncio."""
    found: list[Figure] = []
    for concurrency in _CONCURRENCIES:
        for storage in STORAGES:
            for backend in BACKENDS:
                found += _of_engine(samples, storage, backend, concurrency)
            trio, asyncio = (
                samples.of(f"{storage}/{name}/{concurrency}", "steps_per_second") for name in ("trio", "asyncio")
            )
            name = f"{storage}/{concurrency}, Trio"
            found.append(figure(name, "step ends/s", trio, ceiling=("asyncio", asyncio), target=_OF_ASYNCIO))
    return found


def _of_engine(samples: Samples, storage: StorageKind, backend: str, concurrency: int) -> Iterator[Figure]:
    name = f"{storage}/{backend}/{concurrency}"
    yield figure(name, "executions/s", samples.of(name, "executions_per_second"))
    plain = f"plain/{concurrency}" if storage == "sqlite" else f"skeleton/{backend}/{concurrency}"
    what = "plain SQLite" if storage == "sqlite" else "skeleton"
    yield figure(
        name,
        "step ends/s",
        samples.of(name, "steps_per_second"),
        ceiling=(what, samples.of(plain, "steps_per_second")),
        target=_OF_PLAIN if storage == "sqlite" and concurrency == max(_CONCURRENCIES) else None,
    )
    yield figure(name, "CPU µs/step end", samples.of(name, "cpu_per_step"))


BENCHMARK: Final = Benchmark(
    "throughput",
    "executions that end in a second, of a backlog",
    lambda scale: list(variants(scale)),
    measure,
    figures,
    budget=270,
)
