"""How soon a cancel, a death and a stop are felt elsewhere: real processes, one clock for all of them."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from stepwell import Engine, Storage
from stepwell.testing import check_invariants
from tests.engine import latency_script
from tests.engine.flows import HOUR_POLL, Ctx, line
from tests.engine.latency_script import FLOW, opened
from tests.support.processes import Child, run_script
from tests.support.storages import StorageKind
from tests.support.virtual_time import Backend
from tests.support.waiting import Recorder

pytestmark = [pytest.mark.anyio, pytest.mark.real_time]

SCRIPT = Path(latency_script.__file__)
SOON = 0.1
CANCELS = 8
LEASE, POLL = 1.0, 0.4
BUSY = 0.3
"""seconds that a busy machine may add to what takes a second or more"""


@asynccontextmanager
async def worker(
    backend: Backend, database: str, *, poll: float = POLL, notify: bool = True, lease: float = LEASE
) -> AsyncGenerator[Child]:
    told = "notify" if notify else "quiet"
    async with run_script(SCRIPT, backend, database, str(lease), str(poll), told) as child:
        await child.line("ready")
        yield child


async def when(child: Child, *words: object) -> float:
    """Return when the child told that, by the clock of all processes."""
    return float((await child.line(" ".join(map(str, words)))).split()[-1])


async def cancelled_after(engine: Engine, child: Child, number: int) -> float:
    """Return the seconds from `cancel` to the `finally` of a step in another process."""
    await engine.start(FLOW, -1, id=f"e{number}")
    await when(child, "begins", f"e{number}")
    sent = time.monotonic()
    await engine.cancel(f"e{number}")
    return await when(child, "ends", f"e{number}") - sent


async def test_a_cancel_in_the_same_process_is_felt_within_100_ms(storage: Storage) -> None:
    began: Recorder[int] = Recorder()
    ended: Recorder[float] = Recorder()

    async def work(ctx: Ctx) -> None:
        began.record(1)
        try:
            await anyio.sleep_forever()
        finally:
            ended.record(time.monotonic())

    took: list[float] = []
    async with (
        Engine(storage, workflows=[flow := line(work, timeout=None)]) as engine,
        engine.worker(poll_interval=HOUR_POLL),
    ):
        for number in range(CANCELS):
            handle = await engine.start(flow, 1)
            await began.until_count(number + 1)
            sent = time.monotonic()
            await handle.cancel()
            await ended.until_count(number + 1)
            took.append(ended.entries[-1] - sent)
    assert sorted(took)[CANCELS // 2] < SOON, took


async def stopped(leaving: Child, staying: Child, attempt: int) -> float:
    """Stop a worker gracefully; return the seconds until another begins with the next attempt."""
    sent = time.monotonic()
    await leaving.tell("")
    return await when(staying, "begins", "e", attempt) - sent


async def killed(engine: Engine, dying: Child, staying: Child, attempt: int) -> float:
    """Kill a worker; return the seconds from its last renewal until another begins with the next attempt."""
    dying.kill()
    await dying.ended()
    lease_ends = (await engine.get("e")).due_at
    assert lease_ends is not None
    renewed_at = lease_ends.timestamp() - LEASE - (time.time() - time.monotonic())
    return await when(staying, "begins", "e", attempt) - renewed_at


@pytest.mark.parametrize("storage_kind", ["sqlite", "postgres"])
async def test_another_process_feels_a_cancel_a_stop_and_a_death_in_time(
    storage: Storage, storage_kind: StorageKind, storage_address: str, backend: Backend
) -> None:
    async with Engine(storage, workflows=[FLOW]) as engine, worker(backend, storage_address, poll=HOUR_POLL) as first:
        if storage_kind == "postgres":  # files have no hints that come at once
            took = [await cancelled_after(engine, first, number) for number in range(CANCELS)]
            assert sorted(took)[CANCELS // 2] < SOON, took
        handle = await engine.start(FLOW, 1, id="e")
        await when(first, "begins", "e", 1)
        async with worker(backend, storage_address, poll=HOUR_POLL) as second:
            assert await stopped(first, second, 2) <= 1
            async with worker(backend, storage_address, poll=POLL) as third:
                assert LEASE <= await killed(engine, second, third, 3) <= LEASE + POLL + 1 + BUSY
                await engine.cancel(handle.id)
                await when(third, "ends", "e", 3)
    assert await check_invariants(storage) >= 1


@pytest.mark.chaos
@pytest.mark.parametrize("storage_kind", ["postgres"])
async def test_without_hints_another_process_feels_a_cancel_and_a_stop_at_its_next_poll(
    storage_address: str, backend: Backend, storage_kind: StorageKind
) -> None:
    async with (
        opened(storage_address, notify=False) as storage,
        Engine(storage, workflows=[FLOW]) as engine,
        worker(backend, storage_address, notify=False, lease=60) as first,
    ):
        took = [await cancelled_after(engine, first, number) for number in range(CANCELS)]
        assert max(took) <= POLL + BUSY, took
        await engine.start(FLOW, 1, id="e")
        await when(first, "begins", "e", 1)
        async with worker(backend, storage_address, notify=False, lease=60) as second:
            assert await stopped(first, second, 2) <= POLL + BUSY
            await engine.cancel("e")
            await when(second, "ends", "e", 2)
