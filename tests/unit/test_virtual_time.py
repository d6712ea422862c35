"""The harness's own time: it jumps when nothing is left to do, and holds still while real work is in flight."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio import from_thread, to_thread

from tests.support.held import held
from tests.support.virtual_time import DAY, EPOCH, HOUR, VirtualTime, VirtualTimeLoop

pytestmark = pytest.mark.anyio


@pytest.fixture
def stopwatch() -> Callable[[], float]:
    """Real seconds since the test began."""
    began = time.perf_counter()
    return lambda: time.perf_counter() - began


async def test_a_sleep_of_thirty_days_returns_at_once(
    virtual_time: VirtualTime, stopwatch: Callable[[], float]
) -> None:
    await anyio.sleep(30 * DAY)
    assert virtual_time.now() == pytest.approx(30 * DAY)
    assert stopwatch() < 5


async def test_time_begins_at_zero_and_is_the_loops_own(virtual_time: VirtualTime) -> None:
    assert virtual_time.now() == anyio.current_time() == 0
    await anyio.sleep(0.25)
    assert virtual_time.now() == anyio.current_time() == 0.25


async def test_work_that_needs_no_time_takes_none(virtual_time: VirtualTime) -> None:
    for _ in range(100):
        await anyio.lowlevel.checkpoint()
    assert virtual_time.now() == 0


async def test_timers_are_due_in_order_and_on_time(virtual_time: VirtualTime) -> None:
    seen: list[tuple[str, float]] = []

    async def note(name: str, delay: float) -> None:
        await anyio.sleep(delay)
        seen.append((name, virtual_time.now()))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(note, "last", 7 * DAY)
        tasks.start_soon(note, "second", HOUR)
        tasks.start_soon(note, "first", 0.001)
    assert [name for name, _ in seen] == ["first", "second", "last"]
    assert [when for _, when in seen] == pytest.approx([0.001, HOUR, 7 * DAY])


async def test_a_timeout_is_exact(virtual_time: VirtualTime) -> None:
    with anyio.move_on_after(300) as scope:
        await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert virtual_time.now() == pytest.approx(300)


async def test_time_stands_while_a_thread_works_under_hold(virtual_time: VirtualTime) -> None:
    with anyio.move_on_after(HOUR) as scope, virtual_time.hold():
        await to_thread.run_sync(time.sleep, 0.05)
    assert not scope.cancel_called
    assert virtual_time.now() == 0


async def test_time_jumps_over_a_thread_that_nobody_holds(virtual_time: VirtualTime) -> None:
    with anyio.move_on_after(HOUR) as scope:
        await to_thread.run_sync(time.sleep, 0.05)
    assert scope.cancel_called
    assert virtual_time.now() == pytest.approx(HOUR)


async def test_a_timer_waits_for_the_last_of_overlapping_holds(virtual_time: VirtualTime) -> None:
    ended: list[str] = []

    async def work(name: str, seconds: float) -> None:
        with virtual_time.hold():
            await to_thread.run_sync(time.sleep, seconds)
        ended.append(name)

    async def timer() -> None:
        await anyio.sleep(1)
        ended.append("timer")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work, "short", 0.01)
        tasks.start_soon(work, "long", 0.1)
        tasks.start_soon(timer)
    assert ended == ["short", "long", "timer"]


async def test_a_hold_ends_when_its_block_fails(virtual_time: VirtualTime) -> None:
    with pytest.raises(ValueError, match="on purpose"), virtual_time.hold():
        raise ValueError("on purpose")
    await anyio.sleep(DAY)
    assert virtual_time.now() == pytest.approx(DAY)


async def test_the_clock_tells_the_date_from_any_thread(virtual_time: VirtualTime) -> None:
    clock = virtual_time.clock()
    assert clock() == EPOCH
    await anyio.sleep(DAY)
    with virtual_time.hold():
        assert await to_thread.run_sync(clock) == pytest.approx(EPOCH + DAY)
        assert await to_thread.run_sync(virtual_time.now) == pytest.approx(DAY)


async def test_a_thread_may_call_back_while_it_is_held(virtual_time: VirtualTime) -> None:
    def work() -> float:
        time.sleep(0.01)
        return from_thread.run_sync(anyio.current_time)

    with virtual_time.hold():
        assert await to_thread.run_sync(work) == 0


class Store:
    """Real work of the kind that a storage does."""

    def __init__(self) -> None:
        self.open = False

    async def __aenter__(self) -> "Store":
        await to_thread.run_sync(time.sleep, 0.01)
        self.open = True
        return self

    async def __aexit__(self, *_: object) -> None:
        await to_thread.run_sync(time.sleep, 0.01)
        self.open = False

    async def commit(self, value: int, *, factor: int) -> int:
        await to_thread.run_sync(time.sleep, 0.01)
        return value * factor

    async def wakeup(self) -> None:
        await anyio.sleep(DAY)

    def lifeline(self) -> str:
        return "open" if self.open else "closed"


@asynccontextmanager
async def ticking() -> AsyncGenerator[None]:
    """A timer is always pending, so time jumps wherever it may."""

    async def tick() -> None:
        while True:  # noqa: ASYNC110 (it waits for nothing)
            await anyio.sleep(HOUR)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tick)
        yield
        tasks.cancel_scope.cancel()


async def test_a_held_storage_holds_time_in_every_call(virtual_time: VirtualTime) -> None:
    async with ticking():
        inner = Store()
        async with held(inner, virtual_time) as store:
            assert store.lifeline() == "open"
            assert await store.commit(6, factor=7) == 42
        assert not inner.open
        assert virtual_time.now() == 0


async def test_a_held_storage_lets_time_pass_while_it_waits_for_others(virtual_time: VirtualTime) -> None:
    async with held(Store(), virtual_time) as store:
        await store.wakeup()
    assert virtual_time.now() == pytest.approx(DAY)


async def test_a_cancelled_call_of_a_held_storage_lets_go(virtual_time: VirtualTime) -> None:
    async with held(Store(), virtual_time) as store:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await store.commit(1, factor=1)
    await anyio.sleep(DAY)
    assert virtual_time.now() == pytest.approx(DAY)


@pytest.mark.real_time
async def test_a_real_time_test_runs_on_the_wall_clock(
    anyio_backend_name: str, time_source: VirtualTime | None, clock: Callable[[], float]
) -> None:
    assert time_source is None
    assert clock() == pytest.approx(time.time(), abs=60)
    before = time.perf_counter()
    await anyio.sleep(0.05)
    assert time.perf_counter() - before > 0.04
    if anyio_backend_name == "asyncio":
        assert not isinstance(asyncio.get_running_loop(), VirtualTimeLoop)
