"""What an execution costs Postgres in write-ahead log, commits and flushes to the disk, its `start` included.

A page that is changed for the first time after a checkpoint is logged whole. How often that happens depends on how busy
the server is and on its checkpoints, rather than on what is written; so it is told apart: the same is run on a second
server of our own with `full_page_writes = off`, and what the first wrote above that are full pages. It is the bytes
without them that have a target. The ceiling is what as many plain steps write, in commits as large.

The server counts: bytes are differences of its write position, the rest comes from `pg_stat_wal`, `pg_stat_database`
and, from Postgres 18 on, `pg_stat_io`. Nothing is timed here.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.support.postgres import launched

from benchmarks._plan import Benchmark, Figure, Measured, Samples, Scale, Settings, Target, Variant, figure
from benchmarks._postgres import database
from benchmarks._raw_postgres import opened_raw
from benchmarks._wal import SETTLES, Counted, counted
from benchmarks._workload import STEPS, Order, Tally, check_sound, order_workflow, run, run_backlog, warm_up
from stepwell import Engine, PostgresStorage

__all__ = ["BENCHMARK"]

_LOADS: Final = {"200 at a time": 200, "one at a time": 1}
_TOGETHER: Final = 100
"""steps in one commit of the plain loop beside 200 executions at a time"""
_MOST: Final = 2_000
"""executions in a round"""
_TARGET: Final = Target("at most", 6_000, of="median")


def variants(scale: Scale) -> Sequence[Variant]:
    """Give the programs of one round: the same on the server that is measured on, and without full pages."""
    amount = min(scale.per_round, _MOST)
    settings = {"executions": amount, "settles": min(SETTLES, amount / 100)}  # a few tell nothing anyway
    return [
        Variant("full pages", {"full_page_writes": True, **settings}),
        Variant("no full pages", {"full_page_writes": False, **settings}),
    ]


def measure(settings: Settings, folder: Path) -> Measured:
    """Run one program: each load in a database of its own."""
    measured: dict[str, float] = {}
    amount: int = settings["executions"]
    with _server(full_page_writes=settings["full_page_writes"]) as url:
        for load, concurrency in _LOADS.items():
            few = amount if concurrency > 1 else max(amount // 10, 2)
            with database(url) as dsn:
                counts: dict[str, float] = run("asyncio", _run_engine, dsn, few, concurrency, settings["settles"])
            with database(url) as dsn:
                counts["plain"] = run("asyncio", _run_plain, dsn, few * STEPS, min(concurrency, _TOGETHER))
            measured |= {f"{load} {name}": value / few for name, value in counts.items()}
    return measured


@contextmanager
def _server(*, full_page_writes: bool) -> Generator[str | None]:
    if full_page_writes:
        yield None
        return
    with launched(durable=True, settings={"full_page_writes": "off"}) as server:
        yield server.dsn


async def _run_engine(dsn: str, amount: int, concurrency: int, settles: float) -> dict[str, float]:
    await _run_some(dsn, warm_up(amount), concurrency)
    async with counted(dsn, settles) as counting:
        await _run_some(dsn, amount, concurrency)
    async with PostgresStorage(dsn, notify=False) as storage:
        await check_sound(storage)
    return _numbers(counting.total)


async def _run_some(dsn: str, amount: int, concurrency: int) -> None:
    tally = Tally()
    workflow = order_workflow(tally)
    async with PostgresStorage(dsn) as storage, Engine(storage, workflows=[workflow]) as engine:
        if concurrency > 1:
            await run_backlog(engine, workflow, tally, amount, concurrency=concurrency)
            return
        async with engine.worker():
            for number in range(amount):
                await (await engine.start(workflow, Order(number, "ada"))).result()


def _numbers(total: Counted) -> dict[str, float]:
    return {
        "bytes": total.written,
        "records": total.records,
        "full pages": total.full_pages,
        "commits": total.commits,
        "flushes": total.flushes,
    }


async def _run_plain(dsn: str, steps: int, together: int) -> float:
    """Return how many bytes so many steps write."""
    async with opened_raw(dsn) as raw:
        await raw.commit(together)
        commits = max(steps // together, 1)
        before = await raw.position()
        for _ in range(commits):
            await raw.commit(together)
        return (await raw.position() - before) * steps / (commits * together)


def figures(samples: Samples) -> Sequence[Figure]:
    """Tell the bytes with and without full pages apart; the counts are those of the server that is measured on."""
    return [one for load in _LOADS for one in _of_load(samples, load)]


def _of_load(samples: Samples, load: str) -> Generator[Figure]:
    unit = "bytes/execution"
    for variant in ("no full pages", "full pages"):
        yield figure(
            f"{load}, bytes with {variant}",
            unit,
            samples.of(variant, f"{load} bytes"),
            ceiling=("plain steps", samples.of(variant, f"{load} plain")),
            target=_TARGET if variant == "no full pages" else None,
        )
    for what in ("commits", "flushes", "records", "full pages"):
        values = samples.of("full pages", f"{load} {what}")
        yield figure(f"{load}, {what}", f"{what}/execution", values, is_minor=what == "records")


BENCHMARK: Final = Benchmark(
    "postgres-wal",
    "what an execution writes on Postgres",
    variants,
    measure,
    figures,
    budget=45,
    on_postgres=True,
)
