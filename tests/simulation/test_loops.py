"""The loops of the simulation: their order comes from a seed, their time from nowhere, and processes can be stopped.

They are made of private parts of asyncio and Trio; these tests pin what is relied on.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from stepwell.testing import Backend, Livelock
from stepwell.testing._simulation._loops import run_simulated
from stepwell.testing._simulation._processes import PROCESS, Process

HOUR = 3600.0

Work = Callable[[], Coroutine[Any, Any, None]]


def order_of_ten_tasks(backend: Backend, seed: int) -> list[int]:
    seen: list[int] = []

    async def step(number: int) -> None:
        for _ in range(3):
            await anyio.lowlevel.checkpoint()
            seen.append(number)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(step, number)

    run_simulated(backend, seed, main)
    return seen


def test_a_seed_decides_the_order_of_tasks(backend: Backend) -> None:
    first = order_of_ten_tasks(backend, 1)
    assert order_of_ten_tasks(backend, 1) == first
    assert len({tuple(order_of_ten_tasks(backend, seed)) for seed in range(20)}) > 15
    assert sorted(first) == sorted([*range(10)] * 3)


def test_time_jumps_to_the_next_timer_in_whole_nanoseconds(backend: Backend) -> None:
    async def main() -> list[float]:
        times = [anyio.current_time()]
        for delay in (0.1, 0.2, 1e-9, 30 * 24 * HOUR, 1 / 3):
            before = anyio.current_time()
            await anyio.sleep(delay)
            assert before + delay <= anyio.current_time() <= before + delay + 2e-9
            times.append(anyio.current_time())
        return times

    times = run_simulated(backend, 0, main)
    assert times[0] == 0
    assert [round(time * 1e9) / 1e9 for time in times] == times


def in_process(process: Process, work: Work) -> Work:
    async def live() -> None:
        PROCESS.set(process)
        await work()

    return live


async def tick(seen: list[float]) -> None:
    while True:
        await anyio.sleep(1)
        seen.append(anyio.current_time())


def test_nothing_of_a_paused_process_runs_and_its_timers_are_late(backend: Backend) -> None:
    paused, other, cancelled = list[float](), list[float](), list[float]()
    process = Process("paused")

    async def deadline() -> None:
        with anyio.move_on_after(3):
            await anyio.sleep_forever()
        cancelled.append(anyio.current_time())

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(in_process(process, lambda: tick(paused)))
            tasks.start_soon(in_process(process, deadline))
            tasks.start_soon(tick, other)
            await anyio.sleep(1.5)
            process.pause(anyio.current_time())
            await anyio.sleep(10)
            process.resume(anyio.current_time())
            await anyio.sleep(2)
            tasks.cancel_scope.cancel()

    run_simulated(backend, 0, main)
    assert other == [float(second) for second in range(1, 14)]
    assert paused == [1, 11.5, 12.5, 13.5][: len(paused)]
    assert len(paused) >= 3
    assert cancelled == [11.5]


def test_a_killed_process_does_nothing_more_until_it_is_buried(backend: Backend) -> None:
    seen, undone = list[float](), list[str]()
    process = Process("killed")

    async def work() -> None:
        try:
            await tick(seen)
        finally:
            undone.append("closed" if process.is_over else "alive")

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(in_process(process, work))
            await anyio.sleep(2.5)
            process.kill()
            await anyio.sleep(HOUR)
            assert not undone
            process.bury()
            tasks.cancel_scope.cancel()

    run_simulated(backend, 0, main)
    assert seen[:2] == [1, 2]
    assert all(time > HOUR for time in seen[2:])
    assert undone == ["closed"]


def test_a_task_that_spins_lets_time_pass(backend: Backend) -> None:
    async def spin() -> None:
        while True:
            await anyio.lowlevel.checkpoint()

    async def main() -> float:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(spin)
            await anyio.sleep(5)
            tasks.cancel_scope.cancel()
        return anyio.current_time()

    assert run_simulated(backend, 0, main) == 5


def in_a_task(work: Work) -> Work:
    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)

    return main


def test_spinning_without_end_is_told_with_the_tasks(backend: Backend) -> None:
    async def spins_for_ever() -> None:
        while True:
            await anyio.lowlevel.checkpoint()

    with pytest.raises(Livelock, match=r"spins without end(.|\n)*spins_for_ever"):
        run_simulated(backend, 0, in_a_task(spins_for_ever))


def test_waiting_for_what_cannot_come_is_told_with_the_tasks(backend: Backend) -> None:
    async def waits_for_ever() -> None:
        await anyio.Event().wait()

    with pytest.raises(Livelock, match=r"nothing can happen(.|\n)*waits_for_ever"):
        run_simulated(backend, 0, in_a_task(waits_for_ever))


def test_trio_is_left_as_it_was() -> None:
    from trio._core import _run as core  # noqa: PLC0415

    private: Any = core
    before = private._ALLOW_DETERMINISTIC_SCHEDULING, private._r.getstate()
    order_of_ten_tasks("trio", 3)
    assert (private._ALLOW_DETERMINISTIC_SCHEDULING, private._r.getstate()) == before
