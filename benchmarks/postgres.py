"""How many executions end in a second on Postgres, with one worker's process, two and four.

A backlog is created first; then all workers begin at once and run until it has ended. The ceiling is one connection
that does nothing but plain statements, and commits as many steps in each as there are executions at a time (at most
100). `--executions` is the number behind each figure, in all rounds together; half of them where 20 run at a time, and
a tenth where one does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from benchmarks import _raw_postgres
from benchmarks._plan import Backend, Benchmark, Figure, Measured, Samples, Scale, Settings, Target, Variant, figure
from benchmarks._postgres import database
from benchmarks._team import Team
from benchmarks._workload import (
    STEPS,
    Spent,
    Tally,
    check_sound,
    order_workflow,
    run,
    start_backlog,
    succeeded,
    warm_up,
)
from benchmarks.throughput import rates
from stepwell import Engine, PostgresStorage

__all__ = ["BENCHMARK", "check_ended", "make_backlog"]

_SHARES: Final = {1: 10, 20: 2, 200: 1}
"""executions at a time, and what their number is divided by: few at a time take longer"""
_TEAMS: Final[tuple[tuple[Backend, int], ...]] = (("asyncio", 1), ("asyncio", 2), ("asyncio", 4), ("trio", 1))
"""backends, and how many processes"""
_MOST_TOGETHER: Final = 100
"""steps in one commit of the plain loop"""
_MOST_COMMITS: Final = 500
"""commits of the plain loop in one round"""
_OF_PLAIN: Final = Target("at least", 0.20)
_OF_ASYNCIO: Final = Target("at least", 0.75)
_TWO_OF_ONE: Final = Target("at least", 1.2)
_FOUR_OF_TWO: Final = Target("at least", 1.0)


def variants(scale: Scale) -> Iterator[Variant]:
    """Give the programs of one round: for each concurrency the ceiling, and all that is held against it."""
    for concurrency in _SHARES:
        amount = max(scale.per_round // _SHARES[concurrency], 2)
        together = min(concurrency, _MOST_TOGETHER)
        commits = max(min(amount * STEPS // together, _MOST_COMMITS), 10)
        yield Variant(f"plain/{concurrency}", {"program": "plain", "commits": commits, "together": together})
        for backend, processes in _TEAMS:
            settings = {"backend": backend, "concurrency": concurrency, "processes": processes, "executions": amount}
            yield Variant(_name(backend, concurrency, processes), {"program": "engine", **settings})


def _name(backend: Backend, concurrency: int, processes: int) -> str:
    return f"postgres/{backend}/{concurrency}{'' if processes == 1 else f' x {processes}'}"


def measure(settings: Settings, folder: Path) -> Measured:
    """Run one program."""
    with database() as dsn:
        if settings["program"] == "plain":
            commits, together = settings["commits"], settings["together"]
            return {"steps_per_second": run("asyncio", _raw_postgres.steps_per_second, dsn, commits, together)}
        return rates(settings["executions"], _run_team(dsn, settings))


def _run_team(dsn: str, settings: Settings) -> Spent:
    amount: int = settings["executions"]
    warm = warm_up(amount) * settings["processes"]
    run("asyncio", make_backlog, dsn, warm)
    team = Team(dsn, processes=settings["processes"], backend=settings["backend"], concurrency=settings["concurrency"])
    with team:
        team.run(warm)
        run("asyncio", make_backlog, dsn, amount)
        spent = team.run(amount)
    run("asyncio", check_ended, dsn, warm + amount)
    return spent


async def make_backlog(dsn: str, amount: int) -> None:
    """Create so many executions, from a process that runs none and is gone from the database afterwards."""
    workflow = order_workflow(Tally())
    async with PostgresStorage(dsn, notify=False) as storage, Engine(storage, workflows=[workflow]) as engine:
        await start_backlog(engine, workflow, amount)


async def check_ended(dsn: str, amount: int) -> None:
    """See that as many have ended as were started."""
    workflow = order_workflow(Tally())
    async with PostgresStorage(dsn, notify=False) as storage, Engine(storage, workflows=[workflow]) as engine:
        ended = await succeeded(engine)
        await check_sound(storage)
    if ended != amount:
        msg = f"{amount} executions were started, and {ended} succeeded"
        raise AssertionError(msg)


def figures(samples: Samples) -> Sequence[Figure]:
    """Hold each engine against the plain loop, Trio against asyncio, and more processes against fewer."""
    return [one for concurrency in _SHARES for one in _of_concurrency(samples, concurrency)]


def _of_concurrency(samples: Samples, concurrency: int) -> Iterator[Figure]:
    for backend, processes in _TEAMS:
        yield from _of_team(samples, backend, concurrency, processes)
    one, two, four = (
        samples.of(_name("asyncio", concurrency, processes), "steps_per_second") for processes in (1, 2, 4)
    )
    trio = samples.of(_name("trio", concurrency, 1), "steps_per_second")
    is_largest = concurrency == max(_SHARES)
    unit = "step ends/s"
    yield figure(f"postgres/{concurrency}, Trio", unit, trio, ceiling=("asyncio", one), target=_OF_ASYNCIO)
    for what, values, ceiling, target in (
        ("two processes", two, ("one", one), _TWO_OF_ONE),
        ("four processes", four, ("two", two), _FOUR_OF_TWO),
    ):
        name = f"postgres/{concurrency}, {what}"
        yield figure(name, unit, values, ceiling=ceiling, target=target if is_largest else None)


def _of_team(samples: Samples, backend: Backend, concurrency: int, processes: int) -> Iterator[Figure]:
    name = _name(backend, concurrency, processes)
    has_target = concurrency == max(_SHARES) and processes == 1
    yield figure(name, "executions/s", samples.of(name, "executions_per_second"))
    yield figure(
        name,
        "step ends/s",
        samples.of(name, "steps_per_second"),
        ceiling=("plain asyncpg", samples.of(f"plain/{concurrency}", "steps_per_second")),
        target=_OF_PLAIN if has_target else None,
    )
    yield figure(name, "CPU µs/step end", samples.of(name, "cpu_per_step"))


BENCHMARK: Final = Benchmark(
    "postgres",
    "executions that end in a second on Postgres, of a backlog",
    lambda scale: list(variants(scale)),
    measure,
    figures,
    budget=240,
    on_postgres=True,
)
