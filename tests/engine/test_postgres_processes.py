"""Engines in several processes on one Postgres: they share the work, and hear at once what concerns them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from stepwell import Engine, ExecutionCancelled, PostgresStorage, Status
from stepwell.testing import check_invariants
from tests.engine import postgres_script
from tests.engine.flows import HOUR_POLL
from tests.engine.postgres_script import HELD, SHARED, WAITING
from tests.support.processes import Child, run_script
from tests.support.virtual_time import Backend

pytestmark = [pytest.mark.anyio, pytest.mark.real_time]

SCRIPT = Path(postgres_script.__file__)
ROOT = SCRIPT.parents[2]
HINT = "notify"
SOON = 10.0
"""seconds: far less than a poll or a lease would take"""


@asynccontextmanager
async def process(dsn: str, backend: Backend, notify: str = HINT, poll: float = HOUR_POLL) -> AsyncGenerator[Child]:
    environment = {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    async with run_script(SCRIPT, dsn, backend, notify, str(poll), environment=environment) as child:
        await child.line("ready")
        yield child


@pytest.fixture
async def engine(postgres_dsn: str) -> AsyncIterator[Engine]:
    async with PostgresStorage(postgres_dsn) as storage, Engine(storage, workflows=[HELD, SHARED, WAITING]) as engine:
        yield engine
        await check_invariants(storage)


async def listening(engine: Engine, child: Child) -> None:
    """Return when the child takes what is started here: it listens, and its first claim is over."""
    await (await engine.start(SHARED, 1, id=f"warm up {child.pid}")).result(60)


async def test_an_idle_worker_elsewhere_takes_what_is_started_at_once(
    postgres_dsn: str, backend: Backend, engine: Engine
) -> None:
    async with process(postgres_dsn, backend) as child:
        await listening(engine, child)
        for number in range(5):
            handle = await engine.start(SHARED, number, id=f"one {number}")
            await child.line(f"first one {number}", within=SOON)
            assert int(await handle.result(SOON)) == number + 2


async def test_a_cancel_reaches_a_step_elsewhere_at_once(postgres_dsn: str, backend: Backend, engine: Engine) -> None:
    async with process(postgres_dsn, backend) as child:
        await listening(engine, child)
        handle = await engine.start(HELD, 1, id="held")
        await child.line("holds held", within=SOON)
        started = anyio.current_time()
        assert await engine.cancel("held") is Status.CANCELLED
        await child.line("released held", within=2.0)  # renewals, which tell too, come every 2.5 s
        assert anyio.current_time() - started < 2.0
        with pytest.raises(ExecutionCancelled):
            await handle.result(SOON)


async def test_a_signal_reaches_a_wait_elsewhere_at_once(postgres_dsn: str, backend: Backend, engine: Engine) -> None:
    async with process(postgres_dsn, backend) as child:
        await listening(engine, child)
        handle = await engine.start(WAITING, 1, id="waiting")
        with anyio.fail_after(SOON):
            while (await handle.get()).status is not Status.SUSPENDED:  # noqa: ASYNC110 (it waits in another process)
                await anyio.sleep(0.01)
        await engine.signal("waiting", "gate", "go")
        assert await handle.result(SOON) == "go"


@pytest.mark.promise("P5", "I17")
async def test_without_hints_the_poll_finds_everything(postgres_dsn: str, backend: Backend, engine: Engine) -> None:
    async with process(postgres_dsn, backend, "quiet", 0.2) as child:
        handle = await engine.start(HELD, 1, id="held")
        await child.line("holds held", within=SOON)
        await engine.cancel("held")
        await child.line("released held", within=SOON)
        other = await engine.start(WAITING, 1)
        await engine.signal(other.id, "gate", "go")
        assert await other.result(SOON) == "go"
        with pytest.raises(ExecutionCancelled):
            await handle.result(SOON)


async def test_two_processes_share_the_work(postgres_dsn: str, backend: Backend, engine: Engine) -> None:
    began: dict[int, list[str]] = {0: [], 1: []}

    async def read(place: int, child: Child) -> None:
        while len(began[0]) + len(began[1]) < 120:
            began[place].append((await child.line()).strip())

    async with (
        process(postgres_dsn, backend, poll=0.2) as one,
        process(postgres_dsn, backend, poll=0.2) as two,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(read, 0, one)
        tasks.start_soon(read, 1, two)
        handles = [await engine.start(SHARED, number) for number in range(60)]
        for handle in handles:
            await handle.result(60)
        tasks.cancel_scope.cancel()
    assert began[0]
    assert began[1]
    told = [*began[0], *began[1]]
    assert len(told) == len(set(told)), "nothing runs twice"
