"""`stepwell demo`: runs the import of `_demo_workflow` on an SQLite file, and tells of each step.

Starts tasks: one for signals of the operating system, one that tells of events, one that reads keys. All live in the
task group of `demo`.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterable
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
from anyio import TASK_STATUS_IGNORED, CancelScope, create_task_group, move_on_after

from stepwell import (
    Engine,
    Event,
    ExecutionCancelled,
    ExecutionEnded,
    ExecutionFailed,
    Handle,
    Lagged,
    Query,
    SignalError,
    Status,
)
from stepwell.cli._database import options_of, usable
from stepwell.cli._demo_keys import has_keys, read_lines
from stepwell.cli._demo_story import findings_told, found_told, report_told, told
from stepwell.cli._demo_workflow import Approval, ImportRequest, Report, approval, import_airports
from stepwell.cli._inspect import awaited_step
from stepwell.cli._text import command, failure_text, one_line, say

if TYPE_CHECKING:
    from collections.abc import Generator

    from anyio.abc import ObjectReceiveStream, TaskGroup, TaskStatus

    from stepwell import Execution

__all__ = ["demo"]

_LEASE: Final = 4.0
"""seconds: short, so that a killed demo is soon taken over"""
_BATCH_PAUSE: Final = 0.6
_LAST_WORDS: Final = 0.2
"""seconds in which the events before the end arrive"""
_ENDS: Final = {"execution.succeeded", "execution.failed", "execution.cancelled"}
_UNFINISHED: Final = (Status.QUEUED, Status.RUNNING, Status.WAITING, Status.SUSPENDED, Status.PAUSED)
_ANSWERS: Final = {"y": True, "yes": True, "n": False, "no": False}


async def demo(database: Path, *, approve: bool, pace: float) -> int:
    """Run the demo to its end, or until it is told to stop; return the exit code."""
    say("Stepwell demo: a CSV file of real airports becomes a database, one durable step after the other.")
    say(f"  database   {database}   (kept between runs)")
    say(f"  process    {os.getpid()}")
    say()
    stopped_by: list[signal.Signals] = []
    code = 1
    async with create_task_group() as tasks:
        with CancelScope() as work:
            await tasks.start(_hear_signals, work, stopped_by)
            code = await _import(database, approve=approve, pace=pace)
        tasks.cancel_scope.cancel()
    if stopped_by:
        say()
        say("Stopped. What was done is kept; to go on, run the same command again:")
        say(f"  {command('stepwell', 'demo', *options_of(database))}")
        return 128 + stopped_by[0]
    return code


async def _hear_signals(
    work: CancelScope, heard: list[signal.Signals], *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED
) -> None:
    """Cancel *work* at the first Ctrl-C or SIGTERM; at the second, end the process where it stands."""
    if sys.platform == "win32":  # no such receiver there: Ctrl-C is a KeyboardInterrupt
        task_status.started()
        return
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for number in signals:
            if heard:
                os._exit(128 + number)
            heard.append(number)
            work.cancel()


async def _import(database: Path, *, approve: bool, pace: float) -> int:
    """Open the engine with a worker, find the import to go on with or start one, and see it to its end."""
    async with usable(database) as storage:
        engine = Engine(storage, workflows=[import_airports], lease=_LEASE, name="demo")
        async with engine, engine.events() as events:
            found = await _unfinished(engine)
            if found is None:
                target = database.with_name(f"{database.stem}-airports.db")
                inbox = database.with_name(f"{database.stem}-inbox.csv")
                request = ImportRequest(str(inbox), str(target), pause=_BATCH_PAUSE * pace)
                handle = await engine.start(import_airports, request)
                say(f"Started a new import: {handle.id}")
            else:
                handle = engine.handle(import_airports, found.id)
                target = Path(found.input["target"])
                _say_all(found_told(found))
                if found.status is Status.PAUSED:
                    await handle.resume()
            async with engine.worker(concurrency=4, poll_interval=0.5):
                return await _Run(handle, database, target, approve=approve).until_ended(events)


async def _unfinished(engine: Engine) -> Execution | None:
    """Return the newest import that has not ended, with its steps; None if there is none."""
    page = await engine.find(
        Query(workflow=import_airports.name, version=import_airports.version, status=_UNFINISHED, limit=1)
    )
    return await engine.get(page.executions[0].id) if page.executions else None


class _Run:
    """One import, told of as it goes, with the question that it waits at."""

    def __init__(self, handle: Handle[Report], database: Path, target: Path, *, approve: bool) -> None:
        self._handle = handle
        self._database = database
        self._target = target
        self._approves = approve
        self._is_asking = False
        self._heard_all = anyio.Event()

    async def until_ended(self, events: ObjectReceiveStream[Event | Lagged]) -> int:
        """Tell of everything until the import has ended; return the exit code."""
        code = 1
        with _log_told():
            async with create_task_group() as tasks:
                tasks.start_soon(self._tell, events)
                if has_keys():
                    tasks.start_soon(read_lines, partial(self._take_line, tasks))
                if awaited_step(await self._handle.get()) == approval.name:
                    await self._ask()
                code, lines = await self._ended()
                with move_on_after(_LAST_WORDS):  # none come where another process brought it to its end
                    await self._heard_all.wait()
                tasks.cancel_scope.cancel()
                say()
                _say_all(lines)
        return code

    async def _ended(self) -> tuple[int, list[str]]:
        try:
            report = await self._handle.result()
        except ExecutionFailed as error:
            if error.failure is None:  # it ended at `rejected`, as it was asked to
                return 0, [f"Ended: {error.value}"]
            return 1, [f"Failed at step {error.step}: {failure_text(error.failure)}"]
        except ExecutionCancelled as error:
            return 1, [one_line(error)]
        again = command("stepwell", "demo", *options_of(self._database))
        look = command("stepwell", "show", *options_of(self._database), self._handle.id)
        lines = [*report_told(report, self._target), f"  see its steps:  {look}", f"  a new import:   {again}"]
        return 0, lines

    async def _tell(self, events: ObjectReceiveStream[Event | Lagged]) -> None:
        async for event in events:
            if isinstance(event, Lagged):
                say(f"({event.missed} events were missed)")
            elif event.execution is None or event.execution.id == self._handle.id:
                await self._tell_one(event)

    async def _tell_one(self, event: Event) -> None:
        if self._is_asking and event.kind == "step.started":
            self._is_asking = False
            say(f"{approval.name}: answered")
        _say_all(told(event))
        if event.kind == "step.suspended":
            await self._ask()
        elif event.kind in _ENDS:
            self._heard_all.set()

    async def _ask(self) -> None:
        """Tell what is to be approved, and approve it if that was asked for."""
        if self._is_asking:
            return
        self._is_asking = True
        asked = not self._approves
        _say_all(findings_told(await self._handle.get(), self._database if asked else None, with_keys=has_keys()))
        if self._approves:
            say("  approved, for --yes was given")
            await self._answer(approved=True)

    def _take_line(self, tasks: TaskGroup, line: str) -> None:
        approved = _ANSWERS.get(line.lower())
        if not self._is_asking:
            return
        if approved is None:
            say("  please type y or n, then Enter")
        else:
            tasks.start_soon(partial(self._answer, approved=approved))

    async def _answer(self, *, approved: bool) -> None:
        try:
            await self._handle.signal(approval, Approval(approved))
        except (SignalError, ExecutionEnded) as error:  # somebody else was faster
            say(f"  {one_line(error)}")


class _Told(logging.Handler):
    """Says what the steps log."""

    def emit(self, record: logging.LogRecord) -> None:
        """Say it, after the name of the step."""
        say(f"{getattr(record, 'step', 'stepwell')}: {record.getMessage()}")


@contextmanager
def _log_told() -> Generator[None]:
    logger = logging.getLogger("stepwell")
    level, handler = logger.level, _Told(logging.INFO)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def _say_all(lines: Iterable[str]) -> None:
    for line in lines:
        say(line)
