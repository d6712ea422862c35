"""What an old transaction that somebody forgot does to a busy Postgres: it keeps every dead row version in its place.

Callers start executions and wait for their results, more of them than the worker has slots, so that there is always a
queue to claim from. That runs for `--hold` seconds, once with a transaction held open by another connection, and once
without. Their ends in the last quarter of that time are compared, since dead rows pile up; those of the whole time
stand beside them.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio
import asyncpg

from benchmarks._plan import Benchmark, Figure, Measured, Samples, Scale, Settings, Target, Variant, figure
from benchmarks._postgres import database
from benchmarks._workload import STEPS, Order, check_sound, order_workflow, run
from stepwell import Engine, PostgresStorage

__all__ = ["BENCHMARK"]

_CONCURRENCY: Final = 100
_CALLERS: Final = 300
_WARM: Final = 3.0
_LAST: Final = 0.75
"""where the last quarter begins"""
_KEPT: Final = Target("at least", 0.7)


def variants(scale: Scale) -> Sequence[Variant]:
    """Give the programs of one round."""
    callers = min(_CALLERS, scale.executions)
    settings = {"seconds": scale.hold, "callers": callers, "concurrency": max(min(_CONCURRENCY, callers // 3), 1)}
    return [Variant("clean", {"is_held": False, **settings}), Variant("held", {"is_held": True, **settings})]


def measure(settings: Settings, folder: Path) -> Measured:
    """Run one program."""
    with database() as dsn:
        measured: Measured = run("asyncio", _run, dsn, settings)
    return measured


class _Ends:
    """When executions ran their last step."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def count(self, _: str, /) -> None:
        self.times.append(time.perf_counter())

    def between(self, begin: float, end: float) -> float:
        """Return how many a second."""
        return sum(begin <= one < end for one in self.times) / (end - begin)


async def _run(dsn: str, settings: Settings) -> Measured:
    seconds: float = settings["seconds"]
    ends = _Ends()
    workflow = order_workflow(ends)
    begun = ended = 0.0
    async with (
        PostgresStorage(dsn) as storage,
        Engine(storage, workflows=[workflow]) as engine,
        engine.worker(concurrency=settings["concurrency"]),
        anyio.create_task_group() as tasks,
    ):

        async def caller(number: int) -> None:
            while True:
                execution = await engine.start(workflow, Order(number, "ada"))
                await execution.result()

        for number in range(settings["callers"]):
            tasks.start_soon(caller, number)
        await anyio.sleep(min(_WARM, seconds))
        async with _held_transaction(dsn) if settings["is_held"] else _nothing():
            begun = time.perf_counter()
            await anyio.sleep(seconds)
            ended = time.perf_counter()
        tasks.cancel_scope.cancel()
    async with PostgresStorage(dsn, notify=False) as storage:
        await check_sound(storage)
    last = begun + (ended - begun) * _LAST
    return {
        "executions_per_second": ends.between(begun, ended),
        "last_per_second": ends.between(last, ended),
        "steps_per_second": ends.between(begun, ended) * STEPS,
        "dead_rows": await _dead_rows(dsn),
    }


@asynccontextmanager
async def _held_transaction(dsn: str) -> AsyncGenerator[None]:
    """Be idle in a transaction with a snapshot and a number of its own, as one who wrote something and went away."""
    connection: Any = await asyncpg.connect(dsn, server_settings={"idle_in_transaction_session_timeout": "0"})
    try:
        async with connection.transaction(isolation="repeatable_read"):
            await connection.fetchval("SELECT pg_current_xact_id()")
            yield
    finally:
        await connection.close()


@asynccontextmanager
async def _nothing() -> AsyncGenerator[None]:
    yield


async def _dead_rows(dsn: str) -> float:
    """Return how many dead row versions the server knows of in the table of executions."""
    connection: Any = await asyncpg.connect(dsn)
    try:
        amount: int | None = await connection.fetchval(
            "SELECT n_dead_tup FROM pg_stat_user_tables WHERE schemaname = 'stepwell' AND relname = 'executions'"
        )
    finally:
        await connection.close()
    return float(amount or 0)


def figures(samples: Samples) -> Sequence[Figure]:
    """Hold what was run beside a forgotten transaction against a clean run."""
    found: list[Figure] = []
    for value, when in (("last_per_second", "last quarter"), ("executions_per_second", "whole")):
        clean = samples.of("clean", value)
        held = samples.of("held", value)
        found.append(figure(f"clean, {when}", "executions/s", clean))
        target = _KEPT if value == "last_per_second" else None
        found.append(figure(f"transaction held, {when}", "executions/s", held, ceiling=("clean", clean), target=target))
    return found


BENCHMARK: Final = Benchmark(
    "postgres-bloat",
    "executions that end in a second on Postgres beside a transaction that is held open",
    variants,
    measure,
    figures,
    budget=150,
    on_postgres=True,
)
