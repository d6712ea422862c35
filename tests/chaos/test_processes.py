"""Processes that stand still, are asked to go, or go by themselves; others finish what they were at."""

from __future__ import annotations

import random
import time
from contextlib import suppress
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM

import anyio
import pytest

from stepwell import ExecutionFailed, Status
from tests.chaos.jobs import JOBS, Job
from tests.chaos.places import SOON, Place, result, start
from tests.support.processes import Child

pytestmark = [pytest.mark.anyio, pytest.mark.real_time]


async def successes(place: Place, id: str) -> list[int]:
    """Return the attempts of the second step that are recorded as successes."""
    async with place.engine() as engine:
        journal = await engine.journal(id)
    return [entry.attempt for entry in journal if (entry.step, entry.kind) == ("act", "step.succeeded")]


@pytest.mark.promise("P2", "P3", "I2", "I3", "I10")
async def test_a_process_that_stood_still_for_longer_than_its_lease_does_nothing_more(place: Place) -> None:
    async with place.engine() as engine, place.worker(name="frozen") as frozen:
        await start(engine, "x", Job("hold"))
        await frozen.line("tick x 1")
        frozen.send_signal(SIGSTOP)
        async with place.worker(name="other") as other:
            await other.line("begin x 2", within=SOON)
            assert await result(engine, "x") == "1 by attempt 2"
        woken = time.monotonic()
        frozen.send_signal(SIGCONT)
        ticks: list[float] = []
        while "cancelled x 1" not in (line := await frozen.line(" x ")):
            if line.startswith("tick"):
                ticks.append(float(line.split()[-1]))
        assert sum(tick > woken for tick in ticks) <= 1, "at most the line that was due already"
        await frozen.line("execution.lease_lost x")
        await start(engine, "y")
        assert await result(engine, "y") == "1 by attempt 1", "the process works on"
    assert await successes(place, "x") == [2]
    await place.check()


@pytest.mark.promise("P2", "I3")
async def test_a_result_that_comes_after_the_lease_is_refused(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "go on"
    async with place.engine() as engine, place.worker(name="frozen") as frozen:
        await start(engine, "x", Job("shielded", file=str(file)))
        await frozen.line("begin x 1")
        frozen.send_signal(SIGSTOP)
        file.touch()
        async with place.worker(name="other") as other:
            await other.line("begin x 2", within=SOON)
            assert await result(engine, "x") == "1 by attempt 2"
        frozen.send_signal(SIGCONT)
        await frozen.line("late x 1")
        await frozen.line("execution.lease_lost x")
    assert await successes(place, "x") == [2]
    await place.check()


@pytest.mark.chaos
@pytest.mark.promise("P3", "I4")
async def test_stalls_that_are_shorter_than_the_lease_lose_nothing(place: Place, tmp_path: Path) -> None:
    file, stalls = tmp_path / "go on", random.Random(7)
    async with place.engine() as engine, place.worker(lease=6.0) as worker:
        await start(engine, "x", Job("until_file", file=str(file)))
        await worker.line("begin x 1")
        for _ in range(6):
            worker.send_signal(SIGSTOP)
            await anyio.sleep(stalls.uniform(0.05, 0.5))  # the stall is what is tested
            worker.send_signal(SIGCONT)
            await anyio.sleep(0.02)
        file.touch()
        assert await result(engine, "x") == "1 by attempt 1"
    await place.check()


async def run_until(place: Place, done: anyio.Event, codes: list[int]) -> None:
    """Run a worker, and another one each time that it ends by itself."""
    while not done.is_set():
        async with place.worker(max_crashes=1, lease=0.5) as worker, anyio.create_task_group() as tasks:

            async def stop(worker: Child = worker) -> None:
                await done.wait()
                worker.send_signal(SIGTERM)

            tasks.start_soon(stop)
            codes.append(await worker.ended(within=SOON))
            tasks.cancel_scope.cancel()


@pytest.mark.promise("P4", "I14")
async def test_a_step_that_ends_its_process_fails_and_its_neighbours_go_on(place: Place) -> None:
    done, codes = anyio.Event(), list[int]()
    async with place.engine() as engine:
        for number in range(4):
            await start(engine, f"before {number}")
        await start(engine, "x", Job("exit", attempts=100))
        for number in range(4):
            await start(engine, f"after {number}")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run_until, place, done, codes)
            with pytest.raises(ExecutionFailed, match="StepCrashed"):
                await result(engine, "x")
            for number in range(4):
                await result(engine, f"before {number}")
                await result(engine, f"after {number}")
            done.set()
    assert codes == [3, 3, 0], "once beside the others, once by itself, and then no more"
    await place.check(x=Status.FAILED)


@pytest.mark.promise("P12", "I22")
async def test_the_first_sigterm_lets_a_step_finish_and_begins_nothing_more(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "go on"
    async with place.engine() as engine, place.worker(lease=30.0) as worker:
        await start(engine, "x", Job("until_file", file=str(file)))
        await worker.line("begin x 1")
        worker.send_signal(SIGTERM)
        await worker.line("what runs may finish")
        await start(engine, "y")
        file.touch()
        assert await worker.ended(within=SOON) == 0
        assert await successes(place, "x") == [1]
        for id in ("x", "y"):
            left = await engine.get(id)
            assert left.worker is None, "what is left is nobody's"
        async with place.worker(name="other"):
            assert await result(engine, "x") == "1 by attempt 1"
            assert await result(engine, "y") == "1 by attempt 1"
    await place.check()


@pytest.mark.promise("P12", "I22")
async def test_the_second_sigterm_cancels_steps_and_hands_them_back_at_once(place: Place) -> None:
    async with place.engine() as engine, place.worker(lease=600.0) as worker:
        await start(engine, "x", Job("hold"))
        await worker.line("begin x 1")
        for said in ("what runs may finish", "what runs is cancelled"):
            worker.send_signal(SIGTERM)
            await worker.line(said)
        await worker.line("cancelled x 1")
        assert await worker.ended(within=SOON) == 0
        async with place.worker(name="other") as other:  # long before the lease would have ended
            await other.line("begin x 2", within=SOON)
            assert await result(engine, "x") == "1 by attempt 2"
    await place.check()


@pytest.mark.promise("P5", "I18")
async def test_the_third_sigterm_ends_even_a_process_whose_step_swallows_it(place: Place) -> None:
    async with place.engine() as engine, place.worker(lease=0.6) as worker:
        await start(engine, "x", Job("swallow"))
        await worker.line("begin x 1")
        for said in ("what runs may finish", "what runs is cancelled"):
            worker.send_signal(SIGTERM)
            await worker.line(said)
        worker.send_signal(SIGTERM)
        assert await worker.ended(within=SOON) == 128 + SIGTERM
        async with place.worker(name="other"):
            assert await result(engine, "x") == "1 by attempt 2"
    await place.check()


async def signals_at_any_moment(place: Place, seed: int, rounds: int) -> None:
    """Let workers be asked to go, up to three times, or be killed, at random moments while they are busy."""
    moments, codes = random.Random(seed), set[int]()
    async with place.engine() as engine:
        for round in range(rounds):
            for number in range(40):
                await start(engine, f"{round} {number}")
            async with place.worker(lease=1.0) as worker:
                await anyio.sleep(moments.uniform(0, 0.15))  # the moment is what is tested
                for _ in range(round % 4 or 1):
                    with suppress(ProcessLookupError):  # it has gone already
                        worker.send_signal(SIGTERM if round % 4 else SIGKILL)
                    await anyio.sleep(moments.uniform(0, 0.02))
                codes.add(await worker.ended(within=SOON))
        async with place.worker(concurrency=50):
            for round in range(rounds):
                for number in range(40):
                    assert (await result(engine, f"{round} {number}")).startswith("1 by attempt ")
    assert codes <= {0, -SIGKILL, 128 + SIGTERM, -SIGTERM}, "the last is when it had left already"
    await place.check()


@pytest.mark.promise("P5", "P12", "I22")
async def test_signals_at_any_moment_strand_nothing(place: Place) -> None:
    await signals_at_any_moment(place, seed=11, rounds=2)


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(4))
async def test_many_signals_at_any_moment_strand_nothing(place: Place, seed: int) -> None:
    await signals_at_any_moment(place, seed, rounds=24)


@pytest.mark.chaos
@pytest.mark.parametrize("what", ["block", "hold_gil"])
async def test_a_step_that_stops_its_loop_is_recorded_once(place: Place, what: str) -> None:
    async with place.engine() as engine, place.worker(name="blocked") as blocked:
        await start(engine, "x", Job(what, seconds=4.0))
        await blocked.line("begin x 1")
        async with place.worker(name="other"):
            assert await result(engine, "x") in {"1 by attempt 1", "1 by attempt 2"}
            await start(engine, "y")
            assert await result(engine, "y") == "1 by attempt 1", "the others go on"
        async with place.engine() as after:
            await after.start(JOBS, Job(), id="z")
            assert await result(after, "z") == "1 by attempt 1", "and so does it, once it can"
    assert len(await successes(place, "x")) == 1
    await place.check()
