"""Plain `def` activities: in threads, bounded, and abandoned where they don't stop; on the wall clock.

What is promised of an abandoned thread: it can't commit, it is told of, it keeps its place until it ends, and neither
`async with engine.worker()` nor `async with engine` waits for it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from contextvars import ContextVar
from functools import partial
from typing import Any

import anyio
import pytest

from stepwell import Engine, ExecutionFailed, Status
from stepwell._threads import Threads
from stepwell.storage._protocol import Storage
from tests.engine.small import Ctx, failure_of_run, single
from tests.support.waiting import Recorder

pytestmark = [pytest.mark.anyio, pytest.mark.real_time]

LIMIT = 20.0
variable: ContextVar[str] = ContextVar("variable", default="unset")


class Own(BaseException):
    """What careless code raises."""


async def test_a_plain_activity_runs_in_a_thread_with_the_callers_context_variables(storage: Storage) -> None:
    seen: list[tuple[bool, str]] = []
    loop = threading.get_ident()

    def work(ctx: Ctx) -> None:
        seen.append((threading.get_ident() != loop, variable.get()))
        variable.set("changed in the thread")

    variable.set("set by the caller")
    async with Engine(storage, workflows=[flow := single(work)]) as engine, engine.worker():
        assert await (await engine.start(flow, 1)).result(LIMIT) == 1
    assert seen == [(True, "set by the caller")]
    assert variable.get() == "set by the caller"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("no"), "ValueError"),
        (SystemExit(3), "SystemExit"),
        (StopIteration("over"), "StopIteration"),
        (Own("no"), "Own"),
        (ExceptionGroup("several", [ValueError("no")]), "ExceptionGroup"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("storage_kind", ["memory"])
async def test_whatever_is_raised_in_a_thread_is_a_failure(storage: Storage, error: BaseException, told: str) -> None:
    def work(ctx: Ctx) -> None:
        raise error

    failure = await failure_of_run(storage, single(work))
    assert told in f"{failure.type} {failure.message} {failure.causes}"


async def test_no_more_threads_run_at_a_time_than_the_worker_has_slots(storage: Storage) -> None:
    lock = threading.Lock()
    both = threading.Barrier(2)
    running = most = 0

    def work(ctx: Ctx) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        both.wait(LIMIT)
        with lock:
            running -= 1

    async with Engine(storage, workflows=[flow := single(work)]) as engine, engine.worker(concurrency=2):
        executions = [await engine.start(flow, number) for number in range(8)]
        for number, execution in enumerate(executions):
            assert await execution.result(LIMIT) == number
    assert most == 2


@pytest.mark.promise("P3")
@pytest.mark.parametrize("how", ["timeout", "cancel", "drain"])
async def test_a_thread_that_does_not_stop_is_abandoned_fenced_off_and_told_of(
    storage: Storage, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "stepwell")
    release, ended = threading.Event(), threading.Event()
    began: Recorder[int] = Recorder()
    told: Recorder[Any] = Recorder()

    def work(ctx: Ctx) -> str:
        if ctx.attempt > 1:
            return "second"
        began.record(ctx.attempt)
        try:
            release.wait(LIMIT)
            return "too late"
        finally:
            ended.set()

    flow = single(work, timeout=0.2 if how == "timeout" else None, retry=2)
    engine = Engine(storage, workflows=[flow])
    engine.on("step.unstoppable", told.record)
    try:
        async with engine:
            async with engine.worker(concurrency=2, grace=0.1):
                execution = await engine.start(flow, 1, id="e")
                await began.until_count(1)
                if how == "timeout":
                    assert await execution.result(LIMIT) == 1
                elif how == "cancel":
                    await execution.cancel()
            assert not ended.is_set()
            await told.until_count(1)
            release.set()
            await anyio.to_thread.run_sync(ended.wait, LIMIT)
            after = await execution.get()
    finally:
        release.set()
    assert told.entries[0].step == "work"
    assert "step 'work' (attempt 1) of execution 'e' goes on in its thread" in told.entries[0].message
    assert "step 'work' (attempt 1) of execution 'e' goes on in its thread" in caplog.text
    status = {"timeout": Status.SUCCEEDED, "cancel": Status.CANCELLED, "drain": Status.QUEUED}[how]
    assert after.status is status
    assert after.steps["work"].output == ("second" if how == "timeout" else None)


async def test_an_abandoned_thread_keeps_its_place_until_it_ends(storage: Storage) -> None:
    release = threading.Event()
    began: Recorder[int] = Recorder()

    def work(ctx: Ctx) -> None:
        began.record(ctx.input)
        if ctx.input == 1:
            release.wait(LIMIT)

    flow = single(work, timeout=0.2)
    try:
        async with Engine(storage, workflows=[flow]) as engine, engine.worker(concurrency=1):
            stuck = await engine.start(flow, 1)
            with pytest.raises(ExecutionFailed, match="longer than its timeout"):
                await stuck.result(LIMIT)
            waiting = await engine.start(flow, 2)
            with pytest.raises(TimeoutError):
                await waiting.result(0.3)
            assert began.entries == [1]
            release.set()
            assert await waiting.result(LIMIT) == 2
    finally:
        release.set()
    assert began.entries == [1, 2]


async def test_places_of_threads_that_were_cancelled_before_they_began_are_free_again(storage: Storage) -> None:
    def work(ctx: Ctx) -> None:
        return None

    flow = single(work)
    async with Engine(storage, workflows=[flow]) as engine, engine.worker(concurrency=1):
        for number in range(30):
            execution = await engine.start(flow, number)
            await execution.cancel()
        assert await (await engine.start(flow, 7)).result(LIMIT) == 7


async def test_leaving_does_not_wait_for_an_abandoned_thread(storage: Storage) -> None:
    release, ended = threading.Event(), threading.Event()
    began: Recorder[int] = Recorder()

    def work(ctx: Ctx) -> None:
        began.record(1)
        release.wait(LIMIT)
        ended.set()

    try:
        with anyio.fail_after(10):
            async with Engine(storage, workflows=[flow := single(work, timeout=None)]) as engine:
                with anyio.CancelScope() as scope:
                    async with engine.worker():
                        await engine.start(flow, 1, id="e")
                        await began.until_count(1)
                        scope.cancel()
                assert not ended.is_set()
                assert (await engine.get("e")).status is Status.QUEUED
    finally:
        release.set()


def test_an_abandoned_thread_ends_where_its_loop_has_stopped_and_is_not_closed() -> None:
    """It waited for that loop, and the end of the process for it."""
    gate, running = threading.Event(), Recorder[threading.Thread]()

    def work(_: object) -> None:
        running.record(threading.current_thread())
        gate.wait(LIMIT)

    async def abandon() -> None:
        threads = Threads(1)
        async with anyio.create_task_group() as tasks:
            run = partial(threads.run, await threads.place(1), work, None, abandoned=lambda: None)
            tasks.start_soon(run)
            await running.until_count(1, within=LIMIT)
            tasks.cancel_scope.cancel()

    with asyncio.Runner() as runner:
        runner.run(abandon())
        gate.set()
        (thread,) = running.entries
        thread.join(LIMIT / 2)
        assert not thread.is_alive()
