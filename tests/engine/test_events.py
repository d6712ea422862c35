"""What listeners are told: every kind, after the commit, in order; and that no listener can change anything."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Literal

import anyio
import pytest

from stepwell import (
    EVENT_KINDS,
    Engine,
    Event,
    ExecutionFailed,
    Lagged,
    Status,
    Workflow,
    activity,
    decision,
    subworkflow,
    wait,
)
from stepwell.storage._protocol import Storage
from tests.engine.small import Ctx, done, healthy, refused, single
from tests.support.waiting import Gate, Recorder

pytestmark = pytest.mark.anyio


@activity(retry=2)
async def flaky(ctx: Ctx) -> dict[str, int]:
    if ctx.attempt == 1:
        raise ValueError("first")
    return {"value": ctx.input}


@decision
def which(ctx: Ctx) -> Literal["on", "off"]:
    return "on"


@wait
def gate(ctx: Ctx, signal: str) -> Literal["go"]:
    return "go"


@wait(timeout=5)
def unheard(ctx: Ctx, signal: str) -> Literal["go"]:
    return "go"


@subworkflow(healthy)
def child(ctx: Ctx) -> int:
    return 11


tour = Workflow[int, int](
    "tour",
    version="1",
    start=flaky,
    edges=[
        flaky.then(which),
        which.to({"on": gate, "off": unheard}),
        gate.to({"go": child}),
        unheard.to({"go": done}, timeout=refused),
        child.to(succeeded=done, failed=refused, cancelled=refused),
    ],
)


def _told(events: list[Event], kind: str) -> Event:
    return next(event for event in events if event.kind == kind and event.execution and event.execution.id == "e")


def _buffered(stream: Any) -> Iterator[Event]:
    with suppress(anyio.WouldBlock):
        while True:
            event = stream.receive_nowait()
            assert isinstance(event, Event)
            yield event


async def test_every_kind_of_event_is_told_with_what_it_is_about(storage: Storage) -> None:
    events: Recorder[Event] = Recorder()
    engine = Engine(storage, workflows=[tour, single(_fails), healthy])
    engine.on(EVENT_KINDS, events.record)
    async with engine:
        execution = await engine.start(tour, 5, id="e", tags=["a"], metadata={"b": 1})
        await execution.pause("a moment")
        await execution.resume()
        await engine.run_until_idle()
        await anyio.sleep(10)
        await engine.run_until_idle()
        await execution.signal(gate, "please")
        await engine.run_until_idle()
        assert await execution.result(60) == 5
        failing = await engine.start("single", 1, id="f")
        await engine.run_until_idle()
        with pytest.raises(ExecutionFailed):
            await failing.result(60)
        await (await engine.start(tour, 1, id="c", delay=60)).cancel("not needed")
        early = await engine.start(tour, 1, id="d")
        await early.signal(gate, "too early")
        await early.cancel()
    told = events.entries
    untold = {"execution.lease_lost", "step.unstoppable", "worker.blocked", "worker.error"}
    assert set(EVENT_KINDS) - {event.kind for event in told} == untold
    queued = _told(told, "execution.queued")
    assert queued.execution is not None
    summary = queued.execution
    assert (summary.workflow, summary.version, summary.tags, summary.metadata) == ("tour", "1", ("a",), {"b": 1})
    retry = _told(told, "step.retry")
    assert (retry.step, retry.attempt, retry.visit) == ("flaky", 1, 1)
    assert retry.failure is not None
    assert retry.failure.message == "first"
    succeeded = _told(told, "step.succeeded")
    assert (succeeded.step, succeeded.attempt, succeeded.value) == ("flaky", 2, {"value": 5})
    assert (_told(told, "step.routed").step, _told(told, "step.routed").route) == ("which", "on")
    assert _told(told, "step.suspended").step == "gate"
    resumed = _told(told, "step.resumed")
    assert (resumed.step, resumed.route, resumed.value) == ("gate", "go", "please")
    assert _told(told, "execution.succeeded").value == 5
    failed = next(event for event in told if event.kind == "step.failed")
    assert (failed.step, failed.failure is not None) == ("work", True)
    cancelled = next(event for event in told if event.kind == "execution.cancelled")
    assert (cancelled.execution is not None, cancelled.value) == (True, "not needed")


async def _fails(ctx: Ctx) -> Any:
    raise ValueError("for good")


@pytest.mark.promise("P6", "I41")
async def test_events_of_an_execution_come_in_the_order_of_its_journal(storage: Storage) -> None:
    async with Engine(storage, workflows=[tour]) as engine, engine.events() as stream, engine.worker():
        executions = [await engine.start(tour, number) for number in range(5)]
        for execution in executions:
            await execution.signal(gate, "early")
        for number, execution in enumerate(executions):
            assert await execution.result(60) == number
        revisions: dict[str, list[int]] = {}
        for event in _buffered(stream):
            if event.execution is not None:
                revisions.setdefault(event.execution.id, []).append(event.revision)
    assert {execution.id for execution in executions} <= set(revisions)
    assert all(seen == sorted(seen) for seen in revisions.values())


async def test_a_listener_finds_what_it_is_told_in_the_storage(storage: Storage) -> None:
    found: Recorder[tuple[str, bool]] = Recorder()
    engine = Engine(storage, workflows=[tour])

    async def look(event: Event) -> None:
        if event.execution is not None:
            journal = await engine.journal(event.execution.id)
            found.record((event.kind, len(journal) >= event.revision > 0))

    engine.on(EVENT_KINDS, look)
    async with engine, engine.worker():
        execution = await engine.start(tour, 5)
        await execution.signal(gate, "early")
        await execution.result(60)
        await found.until(lambda entries: ("execution.succeeded", True) in entries)
    assert all(is_there for _, is_there in found.entries)


async def test_a_full_buffer_loses_events_counts_them_and_blocks_nobody(storage: Storage) -> None:
    async with Engine(storage, workflows=[healthy]) as engine, engine.events(buffer=2) as stream:
        for number in range(10):
            await engine.start(healthy, number)
        first = [await stream.receive(), await stream.receive()]
        assert [event.kind for event in first if isinstance(event, Event)] == ["execution.queued"] * 2
        await engine.start(healthy, 10)
        assert await stream.receive() == Lagged(8)
        last = await stream.receive()
        assert isinstance(last, Event)
        assert last.kind == "execution.queued"


async def test_a_stream_gets_the_kinds_it_asked_for_while_it_is_open(storage: Storage) -> None:
    async with Engine(storage, workflows=[healthy]) as engine:
        await engine.start(healthy, 1)
        async with engine.events("execution.queued", "execution.succeeded") as stream:
            await engine.start(healthy, 2, id="seen")
            await engine.run_until_idle()
            kinds: Counter[str] = Counter()
            for event in _buffered(stream):
                kinds[event.kind] += 1
        await engine.start(healthy, 3)
        assert kinds == {"execution.queued": 1, "execution.succeeded": 2}


async def test_a_stream_that_its_listener_closed_disturbs_nobody(storage: Storage) -> None:
    async with Engine(storage, workflows=[healthy]) as engine, engine.events() as stream:
        await stream.aclose()
        await engine.start(healthy, 1)
        assert await engine.run_until_idle() == 1


class Own(BaseException):
    """What careless code raises."""


@pytest.mark.promise("P11")
@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1), Own(), asyncio.CancelledError(), StopIteration()])
@pytest.mark.parametrize("kind", ["plain", "async"])
@pytest.mark.parametrize("storage_kind", ["memory"])
async def test_a_listener_that_raises_is_logged_and_changes_nothing(
    storage: Storage, error: BaseException, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    def plain(event: Event) -> None:
        raise error

    async def later(event: Event) -> None:
        raise error

    told: Recorder[str] = Recorder()
    engine = Engine(storage, workflows=[healthy])
    engine.on("step.succeeded", plain if kind == "plain" else later)
    engine.on("step.succeeded", lambda event: told.record(event.kind))
    async with engine, engine.worker():
        assert await (await engine.start(healthy, 1)).result(60) == 1
        assert await (await engine.start(healthy, 2)).result(60) == 2
        await told.until_count(2)
    assert "a listener for step.succeeded raised" in caplog.text


@pytest.mark.promise("P11")
async def test_a_listener_that_dawdles_holds_nobody_up_and_is_called_one_event_at_a_time(storage: Storage) -> None:
    gate = Gate()
    inside = 0

    async def dawdle(event: Event) -> None:
        nonlocal inside
        inside += 1
        assert inside == 1
        await gate.enter(event.kind)
        inside -= 1

    engine = Engine(storage, workflows=[healthy])
    engine.on("execution.queued", dawdle)
    async with engine, engine.worker():
        executions = [await engine.start(healthy, number) for number in range(3)]
        for number, execution in enumerate(executions):
            assert await execution.result(60) == number
        assert len(gate.arrivals.entries) == 1
        gate.open()
        await gate.reached(3)


async def test_a_listener_that_never_returns_does_not_keep_the_engine_open(storage: Storage) -> None:
    gate = Gate()

    async def dawdle(event: Event) -> None:
        await gate.enter()

    engine = Engine(storage, workflows=[healthy])
    engine.on("execution.queued", dawdle)
    async with engine:
        await engine.start(healthy, 1)
        await gate.reached()
        began = anyio.current_time()
    assert anyio.current_time() - began <= 2


async def test_a_listener_hears_its_kinds_until_it_is_removed(storage: Storage) -> None:
    told: list[str] = []
    engine = Engine(storage, workflows=[healthy])
    remove = engine.on(["execution.queued", "execution.succeeded"], lambda event: told.append(event.kind))
    async with engine:
        await engine.start(healthy, 1)
        await engine.run_until_idle()
    assert told == ["execution.queued", "execution.succeeded"]
    remove()
    remove()
    async with engine:
        await engine.start(healthy, 1)
        await engine.run_until_idle()
    assert len(told) == 2


@pytest.mark.promise("P12")
async def test_a_cancelled_execution_is_not_told_as_a_lost_lease(storage: Storage) -> None:
    told: Recorder[Event] = Recorder()
    gate = Gate()

    async def work(ctx: Ctx) -> None:
        await gate.enter()

    engine = Engine(storage, workflows=[flow := single(work, timeout=None)])
    engine.on(["execution.lease_lost", "worker.error", "step.failed"], told.record)
    async with engine, engine.worker():
        execution = await engine.start(flow, 1)
        await gate.reached()
        assert await execution.cancel() is Status.CANCELLED
    assert told.entries == []


class Raising(logging.Handler):
    """A log handler of the user's, whose disk is full."""

    def emit(self, record: logging.LogRecord) -> None:
        raise OSError("no space left")


async def test_what_a_log_handler_raises_changes_nothing(storage: Storage) -> None:
    def listen(event: Event) -> None:
        raise RuntimeError("a listener's own")

    def block(ctx: Ctx) -> Literal["go"]:
        time.sleep(0.15)  # it is warned of
        return "go"

    slow: Any = decision(name="slow")(block)
    flow = Workflow[int, int]("flow", version="1", start=slow, edges=[slow.to({"go": done})])
    log, handler = logging.getLogger("stepwell"), Raising()
    log.addHandler(handler)
    try:
        async with Engine(storage, workflows=[flow]) as engine, engine.worker():
            engine.on((), listen)
            assert await (await engine.start(flow, 7)).result(60) == 7
    finally:
        log.removeHandler(handler)
