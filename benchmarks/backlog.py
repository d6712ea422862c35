"""What a claim and a step cost as executions pile up: those that are due, that wait, that are suspended, that are over.

A storage is filled through its own protocol, to a tenth of `--executions`, to all of it, and to ten times as many. At
each size some claims of one and of a hundred executions are timed, and commits of one step each; what was claimed is
replaced. A figure is the median of a round's calls. What it is held against is the same call at the smallest size.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from benchmarks._plan import BACKENDS, Benchmark, Figure, Measured, Samples, Scale, Settings, Target, Variant, figure
from benchmarks._population import STATES, Population
from benchmarks._workload import STORAGES, Spent, opened, run

__all__ = ["BENCHMARK", "use"]

_MANY: Final = 100
"""executions in a large claim, where there are as many"""
_SMALL_CLAIMS: Final = 100
"""claims of one, and steps, that are timed at each size; there are a tenth as many large claims"""
_UNITS: Final = ("ms", "CPU µs")
_TARGET: Final = Target("at most", 1.5)


def variants(scale: Scale) -> Iterator[Variant]:
    """Give the programs of one round."""
    sizes = _sizes(scale)
    amounts = {"sizes": sizes, "many": _many(scale), "calls": min(_SMALL_CLAIMS, sizes[0])}
    for state in STATES:
        for storage in STORAGES:
            for backend in BACKENDS:
                settings = {"storage": storage, "backend": backend, "state": state, **amounts}
                yield Variant(f"{storage}/{backend}/{state}", settings)


def _sizes(scale: Scale) -> list[int]:
    return [max(scale.executions // 10, 1), scale.executions, scale.executions * 10]


def _many(scale: Scale) -> int:
    return min(_MANY, _sizes(scale)[0])


def measure(settings: Settings, folder: Path) -> Measured:
    """Run one program."""
    measured: Measured = run(settings["backend"], _run, settings, folder)
    return measured


async def _run(settings: Settings, folder: Path) -> Measured:
    measured: dict[str, float] = {}
    async with opened(settings["storage"], folder, synthetic=True) as storage:
        population = Population(storage, settings["state"])
        for place, size in enumerate(settings["sizes"]):
            await population.grow(size, ready=settings["many"])
            if not place:
                await use(population, settings["many"], settings["calls"])  # the first calls of a process take longer
            for call, spent in (await use(population, settings["many"], settings["calls"])).items():
                measured[f"{place} {call} ms"] = statistics.median(one.wall for one in spent) * 1e3
                measured[f"{place} {call} CPU µs"] = statistics.median(one.cpu for one in spent) * 1e6
    return measured


async def use(population: Population, many: int, calls: int) -> dict[str, list[Spent]]:
    """Claim and commit some, leave as many behind as there were, and return what each call took."""
    spent: defaultdict[str, list[Spent]] = defaultdict(list)
    for _ in range(calls):
        claim, claimed = await population.claim(1)
        step, after = await population.step(claimed[0].row)
        spent["claim 1"].append(claim)
        spent["step"].append(step)
        await population.replace([after])
    for _ in range(calls // 10 + 1):
        claim, claimed = await population.claim(many)
        spent[f"claim {many}"].append(claim)
        await population.replace([stored.row for stored in claimed])
    return spent


def figures(samples: Samples) -> Sequence[Figure]:
    """Hold each call at each size against the same at the smallest size."""
    sizes = _sizes(samples.scale)
    return [
        one
        for name in samples.rounds
        for call in ("claim 1", f"claim {_many(samples.scale)}", "step")
        for place in range(len(sizes))
        for one in _of_call(samples, name, call, sizes, place)
    ]


def _of_call(samples: Samples, name: str, call: str, sizes: Sequence[int], place: int) -> Iterator[Figure]:
    is_largest = place == len(sizes) - 1
    for unit in _UNITS:
        smallest = f"{sizes[0]:,} executions", samples.of(name, f"0 {call} {unit}")
        yield figure(
            f"{name} {sizes[place]:,}, {call}",
            unit,
            samples.of(name, f"{place} {call} {unit}"),
            ceiling=smallest if place else None,
            target=_TARGET if is_largest else None,
            is_minor=not is_largest or unit != _UNITS[0] or "trio" in name,
        )


BENCHMARK: Final = Benchmark(
    "backlog",
    "what a claim and a step cost as executions pile up",
    lambda scale: list(variants(scale)),
    measure,
    figures,
    budget=200,
)
