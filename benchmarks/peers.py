"""How many executions end in a second, beside others who do the same on the same server: DBOS.

So many callers start an execution each, wait for its result, and start the next, for a few seconds. The workflow is the
same, three async steps; each runs on its default settings, in a database of its own. It only runs if it is asked for,
and needs what the dependency group `peers` names.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import anyio

from benchmarks import _raw_postgres
from benchmarks._dbos import is_installed, opened_dbos
from benchmarks._plan import Benchmark, Figure, Measured, Samples, Scale, Settings, Target, Variant, figure
from benchmarks._postgres import database
from benchmarks._workload import STEPS, Order, Tally, check_sound, order_workflow, run
from stepwell import Engine, PostgresStorage

__all__ = ["BENCHMARK"]

_CALLERS: Final = (1, 20, 200)
_SECONDS: Final = 5.0
_WARM: Final = 0.3
"""of the time that is measured"""
_DEFAULT: Final = 100
"""executions that a worker runs at a time if it isn't told how many"""
_TARGET: Final = Target("at least", 25)


def variants(scale: Scale) -> Iterator[Variant]:
    """Give the programs of one round: for each number of callers the ceiling, ours and theirs."""
    seconds = min(_SECONDS, scale.executions / 200)
    for callers in _CALLERS:
        yield Variant(f"plain/{callers}", {"program": "plain", "commits": 100, "together": min(callers, 100)})
        for program in ("stepwell", "dbos"):
            yield Variant(f"{program}/{callers}", {"program": program, "callers": callers, "seconds": seconds})


def measure(settings: Settings, folder: Path) -> Measured:
    """Run one program."""
    with database() as dsn:
        match settings["program"]:
            case "plain":
                commits, together = settings["commits"], settings["together"]
                steps: float = run("asyncio", _raw_postgres.steps_per_second, dsn, commits, together)
                return {"executions_per_second": steps / STEPS}
            case "stepwell":
                rate: float = run("asyncio", _run_stepwell, dsn, settings["callers"], settings["seconds"])
            case _:
                rate = _run_dbos(dsn, settings)
    return {"executions_per_second": rate}


async def _run_stepwell(dsn: str, callers: int, seconds: float) -> float:
    workflow = order_workflow(Tally())
    async with PostgresStorage(dsn) as storage, Engine(storage, workflows=[workflow]) as engine:

        async def call(number: int) -> Any:
            return await (await engine.start(workflow, Order(number, "ada"))).result()

        async with engine.worker(concurrency=max(callers, _DEFAULT)):
            rate = await _rate(call, callers, seconds)
        await check_sound(storage)
    return rate


def _run_dbos(dsn: str, settings: Settings) -> float:
    if not is_installed():
        raise ModuleNotFoundError("DBOS isn't installed: `nox -s bench_peers`, or `pip install --group peers`")
    with opened_dbos(dsn) as call:
        rate: float = run("asyncio", _rate, call, settings["callers"], settings["seconds"])
    return rate


async def _rate(call: Callable[[int], Awaitable[Any]], callers: int, seconds: float) -> float:
    """Return how many calls a second end, if so many callers call it for so long, after a warm-up."""
    await _call_for(call, callers, seconds * _WARM)
    begun = time.perf_counter()
    done = await _call_for(call, callers, seconds)
    return done / (time.perf_counter() - begun)


async def _call_for(call: Callable[[int], Awaitable[Any]], callers: int, seconds: float) -> int:
    done = 0
    end = time.perf_counter() + seconds

    async def caller() -> None:
        nonlocal done
        while time.perf_counter() < end:
            await call(done)
            done += 1

    async with anyio.create_task_group() as tasks:
        for _ in range(callers):
            tasks.start_soon(caller)
    return done


def figures(samples: Samples) -> Sequence[Figure]:
    """Hold ours against the plain loop, and against DBOS."""
    found: list[Figure] = []
    unit = "executions/s"
    for callers in _CALLERS:
        target = _TARGET if callers == max(_CALLERS) else None  # one alone waits for the disk, whoever it is
        plain, ours, theirs = (
            samples.of(f"{program}/{callers}", "executions_per_second") for program in ("plain", "stepwell", "dbos")
        )
        found += (
            figure(f"stepwell/{callers}", unit, ours, ceiling=("plain asyncpg", plain)),
            figure(f"dbos/{callers}", unit, theirs, ceiling=("plain asyncpg", plain)),
            figure(f"stepwell/{callers}, to DBOS", unit, ours, ceiling=("DBOS", theirs), target=target),
        )
    return found


BENCHMARK: Final = Benchmark(
    "peers",
    "executions that end in a second, beside DBOS",
    lambda scale: list(variants(scale)),
    measure,
    figures,
    budget=180,
    on_postgres=True,
    is_default=False,
)
