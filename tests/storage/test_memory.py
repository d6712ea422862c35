"""What is particular to the storage in memory: time, wake-ups, reopening, and what claims cost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import pytest

from stepwell.storage import (
    NEVER,
    NOW,
    Change,
    Deposit,
    Entry,
    Kind,
    Lease,
    Moment,
    Query,
    Row,
    Signal,
    Status,
    Stored,
    Wake,
)
from stepwell.storage.memory import MemoryStorage

pytestmark = pytest.mark.anyio

SECOND = 1_000_000
PAIR = ("refund", "1")


class Clock:
    """Seconds since the epoch, moved by hand."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def created(id: str, *, due: Moment = NOW, status: Status = Status.QUEUED) -> Change:
    row = Row(id=id, workflow="refund", version="1", status=status, step="pay", visit=1, attempt=0, revision=1)
    return Change(id=f"change of {id}", row=row, expects=0, entries=(Entry(Kind.CREATED),), due=due)


def moved(stored: Stored, *, due: Moment | None) -> Change:
    entries = (Entry(Kind.STEP_SUCCEEDED), Entry(Kind.STEP_STARTED))
    return Change(id="moved", row=stored.row, expects=stored.row.revision, entries=entries, due=due)


async def claimed(storage: MemoryStorage, *, limit: int = 100, lease: float = 60) -> list[Stored]:
    return list((await storage.claim("worker", [PAIR], limit=limit, lease=lease)).claimed)


async def test_its_clock_is_the_one_it_was_given() -> None:
    clock = Clock()
    async with MemoryStorage(clock=clock) as storage:
        await storage.commit([(created("a", due=Moment(after=1.5)),)])
        assert await claimed(storage) == []
        clock.now += 1.499_999
        assert await claimed(storage) == []
        clock.now += 0.000_001
        [stored] = await claimed(storage)
        assert stored.row.created_at == 1_000 * SECOND
        assert stored.now == 1_001_500_000
        assert stored.row.due_at == 1_061_500_000


async def test_it_reads_the_wall_clock_unless_told_otherwise() -> None:
    async with MemoryStorage() as storage:
        await storage.commit([(created("a"),)])
        stored = await storage.load("a")
        assert stored is not None
        assert stored.now > 1_700_000_000 * SECOND


async def test_what_it_held_is_there_when_it_is_opened_again() -> None:
    storage = MemoryStorage()
    async with storage:
        await storage.commit([(created("a"),)])
        await claimed(storage, lease=0)
    async with storage as again:
        assert again is storage
        assert [stored.row.token for stored in await claimed(storage)] == [2]


CALLS: dict[str, Callable[[MemoryStorage], Awaitable[Any]]] = {
    "define": lambda storage: storage.define([]),
    "commit": lambda storage: storage.commit([(created("a"),)]),
    "claim": lambda storage: storage.claim("worker", [PAIR], limit=1, lease=1),
    "renew": lambda storage: storage.renew("worker", [], lease=1),
    "load": lambda storage: storage.load("a"),
    "journal": lambda storage: storage.journal("a"),
    "find": lambda storage: storage.find(Query()),
    "open": lambda storage: storage.__aenter__(),
    "close": lambda storage: storage.__aexit__(None, None, None),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
async def test_each_call_lets_others_run(call: Callable[[MemoryStorage], Awaitable[Any]]) -> None:
    storage = MemoryStorage()
    order: list[str] = []

    async def other() -> None:
        order.append("other")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other)
        await call(storage)
        await call(storage)  # Trio may resume this task before the other one, but only once
        order.append("calls")
    assert order == ["other", "calls"]


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
async def test_a_cancelled_call_has_changed_nothing(call: Callable[[MemoryStorage], Awaitable[Any]]) -> None:
    storage = MemoryStorage()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await call(storage)
    assert scope.cancelled_caught
    assert await storage.load("a") is None


@pytest.mark.parametrize("limit", [-1, 0, 1_001])
async def test_a_page_has_a_sensible_limit(limit: int) -> None:
    with pytest.raises(ValueError, match="limit must be from 1 to 1000"):
        await MemoryStorage().find(Query(limit=limit))


async def woken_by(storage: MemoryStorage, *parts: Change | Wake | Deposit) -> bool:
    """Whether someone who waits for a wake-up is woken by a commit, and not before it."""
    woken = anyio.Event()

    async def wait() -> None:
        await storage.wakeup()
        woken.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        assert not woken.is_set()
        await storage.commit([parts])
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    return woken.is_set()


async def test_a_start_wakes_whoever_waits() -> None:
    assert await woken_by(MemoryStorage(), created("a"))


async def test_an_end_wakes_whoever_waits() -> None:
    storage = MemoryStorage()
    await storage.commit([(created("a"),)])
    [stored] = await claimed(storage)
    assert await woken_by(storage, moved(stored, due=NEVER))


async def test_a_signal_and_a_woken_parent_wake_whoever_waits() -> None:
    storage = MemoryStorage()
    await storage.commit([(created("a", status=Status.SUSPENDED, due=NEVER),)])
    assert await woken_by(storage, Deposit(id="a", signal=Signal("s", "pay", "null"), expects=0))
    assert await woken_by(storage, Wake(id="a", entry=Entry(Kind.WOKEN)))


async def test_a_step_under_a_lease_that_runs_on_wakes_nobody() -> None:
    storage = MemoryStorage()
    await storage.commit([(created("a"),)])
    [stored] = await claimed(storage)
    assert not await woken_by(storage, moved(stored, due=None))


async def test_a_refused_unit_and_a_wake_without_effect_wake_nobody() -> None:
    storage = MemoryStorage()
    await storage.commit([(created("a"),)])
    assert not await woken_by(storage, created("a"))
    assert not await woken_by(storage, Wake(id="gone", entry=Entry(Kind.WOKEN)))


async def test_all_who_wait_are_woken_and_none_waits_on() -> None:
    storage = MemoryStorage()
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(storage.wakeup)
        await anyio.wait_all_tasks_blocked()
        await storage.commit([(created("a"),)])


async def test_a_wakeup_that_is_asked_for_again_at_once_misses_nothing() -> None:
    storage = MemoryStorage()
    committed = 0
    seen: list[int] = []

    async def watch() -> None:
        while True:
            await storage.wakeup()
            seen.append(committed)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        await anyio.wait_all_tasks_blocked()
        for number in range(20):
            await storage.commit([(created(str(number)),)])
            committed += 1
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert seen[-1] == 20


def places(storage: MemoryStorage) -> int:
    [queue] = storage._queues._queues.values()  # pyright: ignore[reportPrivateUsage]
    assert queue.size == len(list(queue.places()))
    return queue.size


@pytest.mark.parametrize("ends", [range(1, 200), [60] * 199], ids=["to other ends", "to the same end"])
async def test_queues_do_not_grow_with_what_is_renewed(ends: Sequence[int]) -> None:
    storage = MemoryStorage(clock=Clock())
    await storage.commit([(created(str(number)),) for number in range(100)])
    leases = [Lease(stored.row.id, stored.row.token) for stored in await claimed(storage)]
    for seconds in ends:
        await storage.renew("worker", leases, lease=seconds)
    assert places(storage) <= 2 * 100 + 64


async def test_queues_do_not_grow_with_what_has_ended() -> None:
    storage = MemoryStorage(clock=Clock())
    for number in range(1_000):
        await storage.commit([(created(str(number)),)])
        [stored] = await claimed(storage)
        await storage.commit([(moved(stored, due=NEVER),)])
    assert places(storage) <= 64


async def test_a_claim_looks_at_no_more_than_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    storage = MemoryStorage(clock=Clock())
    await storage.commit([(created(f"due {number}"),) for number in range(2_000)])
    await storage.commit([(created(f"later {number}", due=Moment(after=60)),) for number in range(2_000)])
    looked_at: list[tuple[int, str]] = []
    queues = storage._queues  # pyright: ignore[reportPrivateUsage]
    is_current = queues._is_current  # pyright: ignore[reportPrivateUsage]

    def counting(place: tuple[int, str]) -> bool:
        looked_at.append(place)
        return is_current(place)

    monkeypatch.setattr(queues, "_is_current", counting)
    assert len(await claimed(storage, limit=10)) == 10
    assert len(looked_at) <= 11
    looked_at.clear()
    assert await claimed(storage, limit=0) == []
    assert len(looked_at) <= 1


async def test_a_lifeline_renews_while_the_loop_is_busy() -> None:
    storage = MemoryStorage()
    await storage.commit([(created(str(number)),) for number in range(50)])
    leases = [Lease(stored.row.id, stored.row.token) for stored in await claimed(storage)]
    lifeline = storage.lifeline()
    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(anyio.to_thread.run_sync, partial(lifeline.renew, "worker", leases, lease=60))
            tasks.start_soon(partial(storage.renew, "worker", leases, lease=60))
    lifeline.close()
    renewal = await storage.renew("worker", leases, lease=60)
    assert (renewal.lost, renewal.unknown) == ((), ())


async def test_what_ended_twice_is_purged_by_its_last_end() -> None:
    clock = Clock()
    async with MemoryStorage(clock=clock) as storage:
        await storage.commit([(created("x", due=NEVER, status=Status.FAILED),)])
        clock.now += 60
        stored = await storage.load("x")
        assert stored is not None
        assert await storage.commit([(moved(stored, due=NEVER),)]) == [True]
        assert await storage.purge(30, limit=1) == 0
        clock.now += 60
        assert await storage.purge(30, limit=1) == 1
