"""How long it takes until what happened is felt by whoever has to: a cancel, a graceful stop, and a death.

- *cancel*: from `engine.cancel` to the `finally` of the step, in the same process, or in another.
- *stop*: from the word to a worker to leave, until another process has begun with what it ran.
- *death*: from the last renewal of a worker that is killed until another process has begun with what it ran. The lease
  is two seconds, the poll interval half a second.

Processes hear of each other by hints, or without (`notify=False`) at their next poll, which comes after a second at
most; SQLite looks at its file for hints. There is no ceiling but what is promised. How often each is measured in a
round follows from `--executions`, up to a bound, for most of it is waiting.
"""

from __future__ import annotations

import multiprocessing
import random
import statistics
import time
from collections.abc import AsyncGenerator, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import anyio
from anyio import to_thread

from benchmarks._plan import BACKENDS, Benchmark, Figure, Measured, Samples, Scale, Settings, Target, Variant, figure
from benchmarks._postgres import database
from benchmarks._workload import run
from stepwell import Context, Engine, PostgresStorage, SQLiteStorage, Storage, Workflow, activity, succeed

__all__ = ["BENCHMARK", "histogram"]

_LEASE: Final = 2.0
_POLL: Final = 0.5
"""seconds, of those that die"""
_LIMIT: Final = 60.0
"""seconds that anything may take"""
_MOST: Final[Mapping[str, int]] = {"cancel": 100, "cancel polled": 6, "stop": 10, "stop polled": 5, "death": 4}
"""how often each is measured in a round"""
_PROMISED: Final[Mapping[str, float]] = {
    "cancel": 100,
    "cancel polled": 1_000,
    "stop": 1_000,
    "stop polled": 1_000,
    "death": (_LEASE + _POLL + 1) * 1e3,
}
"""ms"""
_BOUNDS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 2_500, 3_000, 3_500, 5_000, 10_000)
"""ms: where the bars of the histogram end"""
_BAR: Final = 40


def variants(scale: Scale) -> Iterator[Variant]:
    """Give the programs of one round."""

    def variant(name: str, what: str, **settings: Any) -> Variant:
        times = max(min(_MOST[what], scale.executions // 100), 2)
        return Variant(name, {"what": what, "times": times, "notify": "polled" not in what, **settings})

    for storage in ("sqlite", "postgres"):
        for backend in BACKENDS:
            yield variant(f"{storage}/{backend} cancel", "cancel", storage=storage, backend=backend)
        if storage == "postgres":
            yield variant("postgres cancel elsewhere, hints", "cancel", storage=storage, elsewhere=True)
            yield variant("postgres cancel elsewhere, polls", "cancel polled", storage=storage, elsewhere=True)
            yield variant("postgres stop, polls", "stop polled", storage=storage)
        yield variant(f"{storage} stop, hints", "stop", storage=storage)
        yield variant(f"{storage} death", "death", storage=storage)


def measure(settings: Settings, folder: Path) -> Measured:
    """Run one program."""
    place: AbstractContextManager[str] = (
        nullcontext(str(folder / "reaction.db")) if settings["storage"] == "sqlite" else database()
    )
    with place as address:
        times: list[float] = run(
            settings.get("backend", "asyncio"), _PROGRAMS[settings["what"].split()[0]], address, settings
        )
    ms = [seconds * 1e3 for seconds in times]
    return {"p50": statistics.median(ms), "worst": max(ms), "times": ms}


@asynccontextmanager
async def _engine(
    address: str, workflow: Workflow[int, None], *, notify: bool, lease: float = 60.0
) -> AsyncGenerator[Engine]:
    storage: Storage = PostgresStorage(address, notify=notify) if "://" in address else SQLiteStorage(address)
    async with storage as opened, Engine(opened, workflows=[workflow], lease=lease) as engine:
        yield engine


class _Told:
    """Hears nothing: the place of those who only start executions."""

    def send(self, told: object) -> None:
        """Forget it."""


def _workflow(told: Any) -> Workflow[int, None]:
    """Return a workflow whose step waits for its end, and tells when it begins and ends."""

    @activity(timeout=None)
    async def hold(ctx: Context[int]) -> None:
        told.send(("begins", ctx.execution_id, time.monotonic()))
        try:
            await anyio.sleep_forever()
        finally:
            told.send(("ends", ctx.execution_id, time.monotonic()))

    @succeed
    def done(ctx: Context[int]) -> None:
        pass

    return Workflow[int, None]("hold", version="1", start=hold, edges=[hold.then(done)])


# -- in another process ------------------------------------------------------------------------------------------------


def _serve(address: str, notify: bool, lease: float, poll: float, pipe: Connection) -> None:  # noqa: FBT001 (of Process)
    """Be a process with a worker, which leaves when it is told to and comes back when it is told again."""
    run("asyncio", _work, address, notify, lease, poll, pipe)


async def _work(address: str, notify: bool, lease: float, poll: float, pipe: Connection) -> None:  # noqa: FBT001
    async with _engine(address, _workflow(pipe), notify=notify, lease=lease) as engine:
        while True:
            async with engine.worker(poll_interval=poll, grace=0):
                pipe.send(("works", "", time.monotonic()))
                await to_thread.run_sync(pipe.recv)
            pipe.send(("left", "", time.monotonic()))
            await to_thread.run_sync(pipe.recv)


class _Server:
    """Such a process, as its leader sees it."""

    def __init__(self, address: str, *, notify: bool, lease: float = 60.0, poll: float = 1.0) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would inherit loops and connections
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(address, notify, lease, poll, theirs), daemon=True)
        self._process.start()

    async def told(self, *words: str) -> float:
        """Return when it told that, by the clock of all processes; what it told before is dropped."""
        while True:
            if not await to_thread.run_sync(self._pipe.poll, _LIMIT):
                raise TimeoutError(f"nothing was told of {words} within {_LIMIT:g} s")
            *what, at = self._pipe.recv()
            if [word for word in what if word] == list(words):
                return float(at)

    def send(self) -> None:
        """Tell it to leave, or to come back."""
        self._pipe.send("on")

    def kill(self) -> None:
        """Kill it where it stands."""
        self._process.kill()
        self._process.join()


@contextmanager
def _servers(count: int, address: str, **settings: Any) -> Generator[list[_Server]]:
    servers: list[_Server] = []
    try:
        servers.extend(_Server(address, **settings) for _ in range(count))
        yield servers
    finally:
        for server in servers:
            server.kill()


# -- what is measured --------------------------------------------------------------------------------------------------


class _Here:
    """What a step of this process told."""

    def __init__(self) -> None:
        self._times: dict[tuple[str, ...], float] = {}
        self._told = anyio.Event()

    def send(self, told: tuple[str, str, float]) -> None:
        """Hear it from the step."""
        *what, at = told
        self._times[tuple(map(str, what))] = float(at)
        self._told.set()

    async def told(self, *words: str) -> float:
        """Return when that was told."""
        while words not in self._times:
            self._told = anyio.Event()
            await self._told.wait()
        return self._times[words]


async def _cancels(address: str, settings: Settings) -> list[float]:
    if not settings.get("elsewhere"):
        here = _Here()
        async with _engine(address, _workflow(here), notify=True) as engine, engine.worker():
            return await _cancelled(engine, here, settings)
    with _servers(1, address, notify=settings["notify"]) as (server,):
        async with _engine(address, _workflow(_Told()), notify=settings["notify"]) as engine:
            await server.told("works")
            return await _cancelled(engine, server, settings)


async def _cancelled(engine: Engine, worker: _Here | _Server, settings: Settings) -> list[float]:
    times: list[float] = []
    for number in range(1 + settings["times"]):
        handle = await engine.start("hold", number)
        await worker.told("begins", handle.id)
        if not settings["notify"]:  # or each would begin just after the worker looked
            await anyio.sleep(random.random())
        sent = time.monotonic()
        await handle.cancel()
        times.append(await worker.told("ends", handle.id) - sent)
    return times[1:]


async def _stops(address: str, settings: Settings) -> list[float]:
    times: list[float] = []
    with _servers(2, address, notify=settings["notify"]) as (first, second):
        await first.told("works")
        await second.told("works")
        second.send()
        await second.told("left")
        async with _engine(address, _workflow(_Told()), notify=settings["notify"]) as engine:
            handle = await engine.start("hold", 1)
            leaving, staying = first, second
            await leaving.told("begins", handle.id)
            for _ in range(settings["times"]):
                staying.send()
                await staying.told("works")
                await anyio.sleep(random.random())  # it looks once, then it waits
                sent = time.monotonic()
                leaving.send()
                times.append(await staying.told("begins", handle.id) - sent)
                await leaving.told("left")
                leaving, staying = staying, leaving
    return times


async def _deaths(address: str, settings: Settings) -> list[float]:
    times: list[float] = []
    async with _engine(address, _workflow(_Told()), notify=True, lease=_LEASE) as engine:
        for number in range(settings["times"]):
            with _servers(1, address, notify=True, lease=_LEASE, poll=_POLL) as (dying,):
                handle = await engine.start("hold", number)
                await dying.told("begins", handle.id)
                with _servers(1, address, notify=True, lease=_LEASE, poll=_POLL) as (staying,):
                    await staying.told("works")
                    await anyio.sleep(random.random() * _LEASE)
                    dying.kill()
                    lease_ends = (await handle.get()).due_at
                    assert lease_ends is not None  # noqa: S101 (it runs)
                    renewed_at = lease_ends.timestamp() - _LEASE - (time.time() - time.monotonic())
                    times.append(await staying.told("begins", handle.id) - renewed_at)
                    await handle.cancel()
                    await staying.told("ends", handle.id)
    return times


_PROGRAMS: Final = {"cancel": _cancels, "stop": _stops, "death": _deaths}


# -- what is told ------------------------------------------------------------------------------------------------------


def figures(samples: Samples) -> Sequence[Figure]:
    """Tell the median and the worst of each round; the worst is what is promised."""
    found: list[Figure] = []
    for variant in variants(samples.scale):
        promised = Target("at most", _PROMISED[variant.settings["what"]], of="median")
        found.append(figure(f"{variant.name}, p50", "ms", samples.of(variant.name, "p50")))
        found.append(figure(f"{variant.name}, worst", "ms", samples.of(variant.name, "worst"), target=promised))
    return found


def details(samples: Samples) -> Mapping[str, Any]:
    """Give all times, in milliseconds."""
    return {"times": {name: _times(samples, name) for name in samples.rounds}}


def _times(samples: Samples, name: str) -> list[float]:
    return sorted(one for measured in samples.rounds[name] for one in measured["times"])


def notes(samples: Samples) -> str:
    """Draw what was measured."""
    return "\n\n".join(f"{name}\n{histogram(_times(samples, name))}" for name in samples.rounds)


def histogram(times: Sequence[float]) -> str:
    """Draw how many of these milliseconds lie below each bound, and not below the one before."""
    bounds = (*_BOUNDS, float("inf"))
    counts = [sum(low <= one < high for one in times) for low, high in zip((0, *_BOUNDS), bounds, strict=True)]
    lines: list[str] = []
    for low, high, count in zip((0, *_BOUNDS), bounds, counts, strict=True):
        if not lines and not count and high < min(times):
            continue
        if low > max(times):
            break
        lines.append(f"{low:>6g} - {high:>6g} ms  {count:>5}  {'#' * round(_BAR * count / max(counts))}".rstrip())
    return "\n".join(lines)


BENCHMARK: Final = Benchmark(
    "reaction",
    "time until a cancel, a stop and a death are felt",
    lambda scale: list(variants(scale)),
    measure,
    figures,
    budget=240,
    details=details,
    notes=notes,
    on_postgres=True,
)
