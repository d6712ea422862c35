"""What a claim and a step cost on Postgres as executions pile up, up to a million.

They are due, or due but of a workflow that nobody here serves, or wait for a time that hasn't come. The tables are
filled to a tenth of `--executions`, to ten times and to a hundred times as many. At each size claims of one and of a
hundred executions are timed, and commits of one step each; what was claimed is replaced. Where nothing is due at first,
a claim that finds nothing is timed, too. A figure is the median of a round's calls; what it is held against is the same
call at the smallest size.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from benchmarks._filling import KINDS, Filling, fill
from benchmarks._plan import Benchmark, Figure, Measured, Samples, Scale, Settings, Target, Variant, figure
from benchmarks._population import Population
from benchmarks._postgres import database
from benchmarks._workload import Spent, run
from benchmarks.backlog import use
from stepwell import PostgresStorage

__all__ = ["BENCHMARK"]

_MANY: Final = 100
_CALLS: Final = 100
_UNITS: Final = ("ms", "CPU µs")
_EMPTY: Final = "empty claim"
_GROWTH: Final = Target("at most", 1.5)
_AT_ONCE: Final = Target("at most", 1.0, of="median")
"""ms"""


def variants(scale: Scale) -> Iterator[Variant]:
    """Give the programs of one round."""
    sizes = _sizes(scale)
    for filling in KINDS:
        settings = {"filling": filling, "sizes": sizes, "many": _many(scale), "calls": min(_CALLS, sizes[0])}
        yield Variant(f"postgres/{filling}", settings)


def _sizes(scale: Scale) -> list[int]:
    return [max(scale.executions // 10, 1), scale.executions * 10, scale.executions * 100]


def _many(scale: Scale) -> int:
    return min(_MANY, _sizes(scale)[0])


def measure(settings: Settings, folder: Path) -> Measured:
    """Run one program."""
    with database() as dsn:
        measured: Measured = run("asyncio", _run, dsn, settings)
    return measured


async def _run(dsn: str, settings: Settings) -> Measured:
    filling: Filling = settings["filling"]
    measured: dict[str, float] = {}
    async with PostgresStorage(dsn, notify=False) as storage:
        population = Population(storage, "due")
        there = 0
        for place, size in enumerate(settings["sizes"]):
            await fill(dsn, filling, there + 1, size)
            there = size
            for call, spent in (await _calls(population, settings, is_first=not place)).items():
                measured[f"{place} {call} ms"] = statistics.median(one.wall for one in spent) * 1e3
                measured[f"{place} {call} CPU µs"] = statistics.median(one.cpu for one in spent) * 1e6
    return measured


async def _calls(population: Population, settings: Settings, *, is_first: bool) -> dict[str, list[Spent]]:
    """Time all calls at one size, and leave as much behind as there was."""
    many, calls = settings["many"], settings["calls"]
    empty: list[Spent] = []
    if settings["filling"] != "due":
        empty = [await population.find_nothing() for _ in range(2 * calls)][calls:]
        await population.add_due(many)
    if is_first:
        await use(population, many, calls)  # the first calls of a connection take longer
    spent = await use(population, many, calls)
    if settings["filling"] != "due":
        spent[_EMPTY] = empty
        _, claimed = await population.claim(many)
        await population.end([stored.row for stored in claimed])
    return spent


def figures(samples: Samples) -> Sequence[Figure]:
    """Hold each call at each size against the same at the smallest size."""
    sizes = _sizes(samples.scale)
    found: list[Figure] = []
    for name in samples.rounds:
        calls = ["claim 1", f"claim {_many(samples.scale)}", "step"]
        if not name.endswith("/due"):
            calls.append(_EMPTY)
        for call in calls:
            for place in range(len(sizes)):
                found += _of_call(samples, name, call, sizes, place)
    return found


def _of_call(samples: Samples, name: str, call: str, sizes: Sequence[int], place: int) -> Iterator[Figure]:
    is_largest = place == len(sizes) - 1
    for unit in _UNITS:
        smallest = f"{sizes[0]:,} executions", samples.of(name, f"0 {call} {unit}")
        target = _AT_ONCE if call == _EMPTY else _GROWTH
        yield figure(
            f"{name} {sizes[place]:,}, {call}",
            unit,
            samples.of(name, f"{place} {call} {unit}"),
            ceiling=smallest if place else None,
            target=target if is_largest and unit == _UNITS[0] else None,
            is_minor=not is_largest or unit != _UNITS[0],
        )


BENCHMARK: Final = Benchmark(
    "postgres-backlog",
    "what a claim and a step cost on Postgres as executions pile up",
    lambda scale: list(variants(scale)),
    measure,
    figures,
    budget=100,
    on_postgres=True,
)
