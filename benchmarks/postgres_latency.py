"""How long it takes on Postgres from `start` to `result`, one execution at a time, on a worker that is idle.

The ceiling is one plain commit of one step. The worker is one of the same engine, or one in another process. That hears
of the execution by a hint, or without hints (`notify=False`) at its next poll; then the result is found at the next
look, so that both bound the time together. A twentieth of `--executions` runs in each round, and far
fewer where the worker is in another process.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import anyio

from benchmarks import _raw_postgres
from benchmarks._plan import BACKENDS, Benchmark, Figure, Measured, Samples, Scale, Settings, Target, Variant, figure
from benchmarks._postgres import database
from benchmarks._team import Team
from benchmarks._workload import Order, Tally, check_sound, order_workflow, run, warm_up
from benchmarks.latency import quantiles
from benchmarks.postgres import make_backlog
from stepwell import Engine, PostgresStorage

__all__ = ["BENCHMARK"]

_QUANTILES: Final = ("p50", "p90", "p99")
_ELSEWHERE: Final = {"another process, hints": True, "another process, polls": False}
_OF_COMMIT: Final = Target("at most", 20)
_OF_TAIL: Final = Target("at most", 2)
_POLLS: Final = Target("at most", 2_250, of="median")
"""ms: a poll of a worker comes after a second at most, and one look at results a second later"""
_MOST_HINTED: Final = 50
_MOST_POLLED: Final = 4
"""executions in a round that wait for hints, or for polls"""


def variants(scale: Scale) -> Iterator[Variant]:
    """Give the programs of one round."""
    amount = max(scale.executions // 20, 2)
    yield Variant("plain", {"program": "plain", "commits": amount})
    for backend in BACKENDS:
        yield Variant(f"postgres/{backend}", {"program": "engine", "backend": backend, "executions": amount})
    for name, notify in _ELSEWHERE.items():
        few = max(min(amount, _MOST_HINTED if notify else _MOST_POLLED), 2)
        yield Variant(name, {"program": "elsewhere", "backend": "asyncio", "notify": notify, "executions": few})


def measure(settings: Settings, folder: Path) -> Measured:
    """Run one program."""
    with database() as dsn:
        match settings["program"]:
            case "plain":
                measured = quantiles(run("asyncio", _raw_postgres.commit_times, dsn, settings["commits"]))
            case "engine":
                measured = quantiles(run(settings["backend"], _run_engine, dsn, settings["executions"]))
            case _:
                measured = quantiles(_run_elsewhere(dsn, settings))
    return {**measured, "tail": measured["p99"] / measured["p50"]}


async def _run_engine(dsn: str, amount: int) -> list[float]:
    workflow = order_workflow(Tally())
    warm = warm_up(amount)
    times: list[float] = []
    async with PostgresStorage(dsn) as storage, Engine(storage, workflows=[workflow]) as engine, engine.worker():
        for number in range(warm + amount):
            begun = time.perf_counter()
            execution = await engine.start(workflow, Order(number, "ada"))
            await execution.result()
            times.append(time.perf_counter() - begun)
        await check_sound(storage)
    return times[warm:]


def _run_elsewhere(dsn: str, settings: Settings) -> list[float]:
    warm = warm_up(100)
    run("asyncio", make_backlog, dsn, warm)
    with Team(dsn, processes=1, backend=settings["backend"], concurrency=100, notify=settings["notify"]) as team:
        team.run(warm)
        with team.serving():
            times: list[float] = run(settings["backend"], _run_caller, dsn, settings["executions"], settings["notify"])
    return times


async def _run_caller(dsn: str, amount: int, notify: bool) -> list[float]:  # noqa: FBT001 (run passes by position)
    workflow = order_workflow(Tally())
    times: list[float] = []
    async with PostgresStorage(dsn, notify=notify) as storage, Engine(storage, workflows=[workflow]) as engine:
        for number in range(1 + amount):
            if not notify:  # or each would begin just after the worker looked
                await anyio.sleep(random.random())
            begun = time.perf_counter()
            execution = await engine.start(workflow, Order(number, "ada"))
            await execution.result()
            times.append(time.perf_counter() - begun)
        await check_sound(storage)
    return times[1:]


def figures(samples: Samples) -> Sequence[Figure]:
    """Hold each quantile, and how far p99 lies from p50, against a plain commit's."""
    found: list[Figure] = []
    for backend in BACKENDS:
        name = f"postgres/{backend}"
        for quantile in _QUANTILES:
            ceiling = "one commit", samples.of("plain", quantile)
            target = _OF_COMMIT if quantile == "p50" else None
            found.append(figure(f"{name} {quantile}", "ms", samples.of(name, quantile), ceiling=ceiling, target=target))
        tail = "one commit", samples.of("plain", "tail")
        found.append(figure(f"{name} p99/p50", "times", samples.of(name, "tail"), ceiling=tail, target=_OF_TAIL))
    for name, notify in _ELSEWHERE.items():
        for quantile in ("p50", "p99"):
            ceiling = "one commit", samples.of("plain", quantile)
            target = _POLLS if (quantile, notify) == ("p99", False) else None
            found.append(
                figure(f"{name}, {quantile}", "ms", samples.of(name, quantile), ceiling=ceiling, target=target)
            )
    return found


BENCHMARK: Final = Benchmark(
    "postgres-latency",
    "time from start to result on Postgres, one execution at a time",
    lambda scale: list(variants(scale)),
    measure,
    figures,
    budget=75,
    on_postgres=True,
)
