"""How long it takes from `start` to `result`, one execution at a time, on an engine whose worker is idle.

The ceiling of SQLite is one commit of one step on the same disk; an execution of this workflow takes five of them. The
ceiling of memory is the skeleton on the same backend. A tenth of `--executions` runs in each round.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from benchmarks import _raw, _skeleton
from benchmarks._plan import BACKENDS, Benchmark, Figure, Measured, Samples, Scale, Settings, Target, Variant, figure
from benchmarks._workload import STORAGES, Order, StorageKind, Tally, opened, order_workflow, run, warm_up
from stepwell import Engine

__all__ = ["BENCHMARK"]

_QUANTILES: Final = {"p50": 50, "p90": 90, "p99": 99}
_TARGET: Final = Target("at most", 12)


def variants(scale: Scale) -> Iterator[Variant]:
    """Give the programs of one round."""
    amount = max(scale.executions // 10, 2)
    yield Variant("plain", {"program": "plain", "commits": amount})
    for backend in BACKENDS:
        yield Variant(f"skeleton/{backend}", {"program": "skeleton", "backend": backend, "executions": amount})
        for storage in STORAGES:
            settings = {"program": "engine", "storage": storage, "backend": backend, "executions": amount}
            yield Variant(f"{storage}/{backend}", settings)


def measure(settings: Settings, folder: Path) -> Measured:
    """Run one program."""
    match settings["program"]:
        case "plain":
            return quantiles(_raw.commit_times(folder, commits=settings["commits"]))
        case "skeleton":
            return quantiles(run(settings["backend"], _skeleton.run_one_by_one, settings["executions"]))
        case _:
            return quantiles(run(settings["backend"], _run_engine, settings["storage"], folder, settings["executions"]))


def quantiles(times: Sequence[float]) -> Measured:
    """Return the quantiles of these seconds in milliseconds."""
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    return {name: cuts[percent - 1] * 1e3 for name, percent in _QUANTILES.items()}


async def _run_engine(kind: StorageKind, folder: Path, amount: int) -> list[float]:
    workflow = order_workflow(Tally())
    warm = warm_up(amount)
    times: list[float] = []
    async with opened(kind, folder) as storage, Engine(storage, workflows=[workflow]) as engine, engine.worker():
        for number in range(warm + amount):
            begun = time.perf_counter()
            execution = await engine.start(workflow, Order(number, "ada"))
            await execution.result()
            times.append(time.perf_counter() - begun)
    return times[warm:]


def figures(samples: Samples) -> Sequence[Figure]:
    """Hold each quantile against the ceiling's."""
    found: list[Figure] = []
    for storage in STORAGES:
        for backend in BACKENDS:
            name = f"{storage}/{backend}"
            what, plain = ("one commit", "plain") if storage == "sqlite" else ("skeleton", f"skeleton/{backend}")
            for quantile in _QUANTILES:
                ceiling = what, samples.of(plain, quantile)
                target = _TARGET if (storage, quantile) == ("sqlite", "p50") else None
                values = samples.of(name, quantile)
                found.append(figure(f"{name} {quantile}", "ms", values, ceiling=ceiling, target=target))
    return found


BENCHMARK: Final = Benchmark(
    "latency",
    "time from start to result, one execution at a time",
    lambda scale: list(variants(scale)),
    measure,
    figures,
    budget=120,
)
