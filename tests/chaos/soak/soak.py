"""The soak itself: strike while there is load, heal, wait until all has ended, look, and tell.

Starts tasks: the crew, the clients and the nemeses, in one task group; the healed phase has a limit.
"""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM
from subprocess import PIPE
from typing import Final

import anyio
from anyio import to_thread

from stepwell import Engine
from tests.chaos.mixture import MIXTURE
from tests.chaos.soak.crew import LEASE, Crew
from tests.chaos.soak.load import Load
from tests.chaos.soak.nemeses import AWAY, OF_POSTGRES, OF_PROCESSES, OF_SQLITE, Field, Nemesis
from tests.chaos.worker import Options, storage_at
from tests.engine.harmed import World
from tests.support.postgres import Server, launched
from tests.support.postgres.outsider import outsider
from tests.support.processes import ENVIRONMENT
from tests.support.wire import Proxy, proxied

__all__ = ["Plan", "soak"]

AT_ONCE: Final = 2
"""nemeses at work at the same time"""
HEALED: Final = 180.0
"""seconds within which all must have ended once nothing strikes any more"""
OVERTIME: Final = 2.0
"""how many times the planned length the load may take, before the soak is given up"""
BACKENDS: Final = ("asyncio", "trio")


@dataclass(frozen=True)
class Plan:
    """What the command line asked for."""

    db: str
    seconds: float
    executions: int
    seed: int
    workers: int


@dataclass
class Scene:
    """The database: how each worker reaches it, the clients, and `stepwell verify`."""

    ways: list[str]
    schema: str
    own: str
    server: Server | None = None
    wires: tuple[Proxy, ...] = ()
    file: Path | None = None


@asynccontextmanager
async def on_sqlite(plan: Plan, folder: Path) -> AsyncGenerator[Scene]:
    """Use one file for all."""
    file = folder / "flows.db"
    yield Scene([str(file)] * (plan.workers + 1), "stepwell", str(file), file=file)


@asynccontextmanager
async def on_postgres(plan: Plan, folder: Path) -> AsyncGenerator[Scene]:
    """Use a server of its own, and a network of its own for each process."""
    async with AsyncExitStack() as stack:
        server = stack.enter_context(launched(settings={"synchronous_commit": "on"}))
        async with outsider(server.dsn) as dba:
            world = World(server, dba)
            await world.prepare()
        target = (server.host, server.port)
        wires = [await stack.enter_async_context(proxied(target)) for _ in range(plan.workers + 1)]
        place = f"@{server.host}:{server.port}/"
        ways = [world.dsn.replace(place, f"@{wire.host}:{wire.port}/") for wire in wires]
        yield Scene(ways, world.role, world.dsn, server=server, wires=tuple(wires))


async def strike(field: Field, nemeses: dict[str, Nemesis]) -> None:
    """Let all strike in turn, in a new order each time, until cancelled."""
    free, alone = anyio.Semaphore(AT_ONCE), anyio.Lock()
    field.struck.update(dict.fromkeys(nemeses, 0))

    async def one(name: str, nemesis: Nemesis) -> None:
        try:
            if name in OF_PROCESSES:
                field.struck[name] += await nemesis(field)
            else:
                async with alone:  # two who change the server's settings would undo each other's
                    field.struck[name] += await nemesis(field)
        except AWAY as error:
            field.failed[f"{name}: {type(error).__name__}"] += 1
        finally:
            free.release()

    async with anyio.create_task_group() as tasks:
        while True:
            for name, nemesis in field.chance.sample(list(nemeses.items()), len(nemeses)):
                await free.acquire()
                tasks.start_soon(one, name, nemesis)
                await anyio.sleep(field.chance.uniform(0.1, 1.0))


async def soak(plan: Plan, folder: Path) -> int:
    """Run it; return 0 if nothing was lost, doubled, stranded or left out, else 1."""
    opened = on_postgres if plan.db == "postgres" else on_sqlite
    begun = time.monotonic()
    async with (
        opened(plan, folder) as scene,
        storage_at(scene.ways[-1], scene.schema, 8) as storage,
        Engine(storage, workflows=MIXTURE, name="client") as engine,
    ):
        crew = Crew([_options(scene, number) for number in range(plan.workers)], folder)
        load = Load(engine, executions=plan.executions, seconds=plan.seconds, seed=plan.seed)
        chance = random.Random(f"nemeses {plan.seed}")
        field = Field(crew, chance, scene.server, scene.schema, scene.wires, scene.file)
        problems = await _run(plan, field, load)
        problems += [str(wrong) for wrong in await load.wrong()]
        problems += await _verified(scene)
    _tell(field, load)
    _say(f"in all: {time.monotonic() - begun:.0f} s, seed {plan.seed}")
    problems += [f"never struck: {name}" for name, times in field.struck.items() if not times]
    if problems:
        _say(*problems[:40], f"{len(problems)} problems", *crew.complaints())
    return 1 if problems else 0


async def _run(plan: Plan, field: Field, load: Load) -> list[str]:
    """Let the crew work, the clients ask and the nemeses strike; then heal, and wait until all has ended."""
    problems: list[str] = []
    async with anyio.create_task_group() as tasks:
        for slot in field.crew.slots:
            tasks.start_soon(field.crew.run, slot)
        tasks.start_soon(load.run)
        async with anyio.create_task_group() as harmful:
            harmful.start_soon(strike, field, {**OF_PROCESSES, **(OF_POSTGRES if field.wires else OF_SQLITE)})
            with anyio.move_on_after(OVERTIME * plan.seconds) as limit:
                await load.started()
            if limit.cancelled_caught:
                problems.append(
                    f"only {len(load.acknowledged)} were started in time: ask for fewer, or for more minutes"
                )
            load.stop()
            harmful.cancel_scope.cancel()
        await heal(field)
        healed = time.monotonic()
        with anyio.move_on_after(HEALED) as limit:
            await load.ended()
        if limit.cancelled_caught:
            problems.append(
                f"{len(load.open)} have not ended {HEALED:g} s after the last strike: {sorted(load.open)[:20]}"
            )
        _say(f"all that was open ended within {time.monotonic() - healed:.1f} s after the last strike")
        codes = await field.crew.leave()
        problems += [f"a worker crashed: {said}" for said in field.crew.crashes]
        problems += [f"a worker went with {code}" for code in codes if code not in {0, -SIGTERM}]
        tasks.cancel_scope.cancel()
    return problems


def _options(scene: Scene, number: int) -> Options:
    return Options(
        db=scene.ways[number],
        schema=scene.schema,
        backend=BACKENDS[number % len(BACKENDS)],
        lease=LEASE,
        poll=0.5,
        concurrency=32,
        max_crashes=50,
        grace=5.0,
        name=f"worker{number}",
    )


async def heal(field: Field) -> None:
    """See that the server runs; all else is undone by those who did it."""
    if field.server is not None:
        await to_thread.run_sync(field.server.start)


async def _verified(scene: Scene) -> list[str]:
    """Run `stepwell verify`, as a user would."""
    schema = ["--schema", scene.schema] if scene.server is not None else []
    command = [sys.executable, "-m", "stepwell", "verify", "--db", scene.own, *schema]
    command += ["--app", "tests.chaos.mixture:MIXTURE"]
    ended = await anyio.run_process(command, check=False, env=ENVIRONMENT, stderr=PIPE)
    said = ended.stdout.decode(errors="replace").strip()
    _say(f"stepwell verify: {said.splitlines()[-1] if said else ''}")
    return [said, ended.stderr.decode(errors="replace")] if ended.returncode else []


def _tell(field: Field, load: Load) -> None:
    _say(
        f"executions acknowledged: {len(load.acknowledged)}",
        f"ended, as their clients were told: {len(load.results)}",
        f"longest time without an end: {load.longest_silence:.1f} s",
        f"leases lost: {field.crew.told('execution.lease_lost')}",
        f"workers that went: {_counts(field.crew.exits)}",
        f"clients: {_counts(load.did)}",
        f"clients were told: {_counts(Counter(dict(load.met.most_common(8))))}",
        f"struck: {_counts(field.struck)}",
        f"met a server that was away: {_counts(field.failed)}",
    )


def _counts(counter: Counter[str] | Counter[int]) -> str:
    return ", ".join(f"{name} {times}" for name, times in sorted(counter.items(), key=str)) or "none"


def _say(*lines: str) -> None:
    for line in lines:
        print(line, flush=True)
