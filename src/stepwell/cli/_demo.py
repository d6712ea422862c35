"""`stepwell demo`: runs three workflows side by side on an SQLite file, and shows each step.

Starts tasks: one for signals of the operating system, one that hears events, one that looks how the executions stand,
one that reads keys. All live in task groups of `demo`.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

import anyio
from anyio import TASK_STATUS_IGNORED, CancelScope, create_task_group, move_on_after

from stepwell import Engine, Event, ExecutionEnded, Lagged, SignalError
from stepwell.cli._database import Database, files_beside, options_of, usable
from stepwell.cli._demo_board import Board
from stepwell.cli._demo_ends import End, end_of, ends_told
from stepwell.cli._demo_keys import has_keys, read_lines
from stepwell.cli._demo_progress import Progress
from stepwell.cli._demo_questions import Question, Questions, question_of
from stepwell.cli._demo_run import Run, found_or_started
from stepwell.cli._demo_story import Lines, found_told, invitation
from stepwell.cli._demo_workflow import DEMO_WORKFLOWS
from stepwell.cli._text import command, one_line, say

if TYPE_CHECKING:
    from collections.abc import Generator

    from anyio.abc import ObjectReceiveStream, TaskGroup, TaskStatus

__all__ = ["demo"]

_LEASE: Final = 4.0
"""seconds: short, so that a killed demo is soon taken over"""
_LAST_WORDS: Final = 0.2
"""seconds in which the events before the end arrive"""
_TICK: Final = 0.2
"""seconds after which durations are drawn anew"""
_LOOK: Final = 1.0
"""seconds after which the database is read even though nothing was heard: others may work on it too"""
_ENDS: Final = {"execution.succeeded", "execution.failed", "execution.cancelled"}
_GOING_ON: Final = {"step.started", "step.resumed", *_ENDS}


class View(Protocol):
    """Shows people what happens."""

    def told(self, title: str, event: Event) -> None:
        """Show an event of one of the executions."""
        ...

    def logged(self, title: str, step: str, message: str, *, is_progress: bool) -> None:
        """Show what a step has logged; if it *is_progress*, the board has it too."""
        ...

    def asked(self, question: Question, *, is_first: bool) -> None:
        """Ask; *is_first* tells whether it is the only one, or the one that was asked first."""
        ...

    def answered(self, question: Question) -> None:
        """Show that a question has its answer, from wherever it came."""
        ...

    def hint(self, text: str) -> None:
        """Say something to whoever types."""
        ...

    def typed(self, line: str) -> None:
        """Take note that a line was typed: the terminal has echoed it."""
        ...

    def draw(self, board: Board, questions: Questions) -> None:
        """Show how everything stands."""
        ...

    def begin_anew(self) -> None:
        """Take note that others have written to the terminal meanwhile."""
        ...

    def close(self, board: Board | None = None) -> None:
        """Leave the terminal to others, with all that is on the board on it, if one is given. Twice is harmless."""
        ...


async def demo(database: Database, *, approve: bool, pace: float) -> int:
    """Run the demo to its end, or until it is told to stop; return the exit code."""
    say("Stepwell demo: an import, a refund and a payment, side by side and durable.")
    say(f"  kept in   {database}")
    say(f"  process   {os.getpid()}")
    say()
    stopped_by: list[signal.Signals] = []
    code = 1
    async with create_task_group() as tasks:
        with CancelScope() as work:
            await tasks.start(_hear_signals, work, stopped_by)
            code = await _run(database, approve=approve, pace=pace)
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


async def _run(database: Database, *, approve: bool, pace: float) -> int:
    """Open the engine with a worker, go on with the last run or begin one, and see it to its end."""
    async with usable(database) as storage:
        engine = Engine(storage, workflows=DEMO_WORKFLOWS, lease=_LEASE, name="demo")
        async with engine, engine.events() as events:
            run = await found_or_started(engine, files_beside(database), pace=pace)
            if run.found:
                _say_all(found_told(run.found, datetime.now(UTC)))
            else:
                say(f"Started: {', '.join(member.handle.id for member in run.members)}")
            view = _view(database, run)
            async with engine.worker(concurrency=4, poll_interval=0.5):
                ends = await _Conductor(engine, run, view, approve=approve).until_ended(events)
    say()
    _say_all(ends_told(run, ends, database))
    return 0 if all(end.is_good for end in ends) else 1


def _view(database: Database, run: Run) -> View:
    """Return the tree where the terminal can show it, else lines."""
    if importlib.util.find_spec("rich") is not None:
        from stepwell.cli._demo_live import Live, can_be_live  # noqa: PLC0415 -- only now is it known to be there

        if can_be_live():
            say()
            if run.has_load_ahead:
                _say_all(invitation())
                say()
            return Live(database, has_keys=has_keys())
    return Lines(database, has_keys=has_keys())


class _Conductor:
    """Brings together what happens, what is asked, what is typed, and what is shown."""

    def __init__(self, engine: Engine, run: Run, view: View, *, approve: bool) -> None:
        self._engine = engine
        self._run = run
        self._view = view
        self._approves = approve
        self._board = Board(run.members)
        self._questions = Questions()
        self._running = {member.handle.id for member in run.members}
        self._heard_all = anyio.Event()
        self._has_news = anyio.Event()

    async def until_ended(self, events: ObjectReceiveStream[Event | Lagged]) -> list[End]:
        """Show everything until all executions have ended; return how they did."""
        ends: list[End] = []
        try:
            with _log_told(self._logged):
                async with create_task_group() as tasks:
                    tasks.start_soon(self._hear, events)
                    tasks.start_soon(self._watch, tasks)
                    tasks.start_soon(self._hear_of_going_on)
                    if has_keys():
                        tasks.start_soon(read_lines, partial(self._take_line, tasks))
                    ends = [await end_of(member, self._run.target) for member in self._run.members]
                    with move_on_after(_LAST_WORDS):  # none come where another process brought it to its end
                        await self._heard_all.wait()
                    tasks.cancel_scope.cancel()
            await self._board.look(self._engine)
            self._view.close(self._board)
        finally:
            self._view.close()
        return ends

    # -- what happens --------------------------------------------------------------------------------------------------

    async def _hear(self, events: ObjectReceiveStream[Event | Lagged]) -> None:
        async for event in events:
            self._has_news.set()
            if isinstance(event, Lagged):
                self._view.hint(f"({event.missed} events were missed)")
            elif event.execution is None:
                self._view.told("demo", event)
            elif (title := self._board.title_of(event.execution.id, event.execution.parent)) is not None:
                self._tell(title, event, event.execution.id)

    def _tell(self, title: str, event: Event, id: str) -> None:
        for question in self._questions.open():
            if question.execution.id == id and event.kind in _GOING_ON:
                self._settle(question)
        self._view.told(title, event)
        if event.kind in _ENDS:
            self._running.discard(id)
            if not self._running:
                self._heard_all.set()

    def _logged(self, record: logging.LogRecord) -> None:
        id, step = getattr(record, "execution", ""), getattr(record, "step", "")
        title = self._board.title_of(id) or "demo"
        is_progress = isinstance(record.msg, Progress)
        if isinstance(record.msg, Progress):
            self._board.note(id, step, record.msg)
        self._view.logged(title, step or "stepwell", record.getMessage(), is_progress=is_progress)

    async def _hear_of_going_on(self) -> None:
        """After Ctrl-Z and `fg`, the terminal is not as it was left."""
        if sys.platform != "win32":
            with anyio.open_signal_receiver(signal.SIGCONT) as signals:
                async for _ in signals:
                    self._view.begin_anew()

    # -- how it stands -------------------------------------------------------------------------------------------------

    async def _watch(self, tasks: TaskGroup) -> None:
        looked_at = -_LOOK
        while True:
            if self._has_news.is_set() or anyio.current_time() - looked_at >= _LOOK:
                self._has_news = anyio.Event()
                looked_at = anyio.current_time()
                await self._board.look(self._engine)
                self._ask(tasks)
            self._view.draw(self._board, self._questions)
            with move_on_after(_TICK):
                await self._has_news.wait()

    # -- what is asked -------------------------------------------------------------------------------------------------

    def _ask(self, tasks: TaskGroup) -> None:
        current = (question_of(title, execution) for title, execution in self._board.executions())
        new, gone = self._questions.update(question for question in current if question is not None)
        for question in gone:
            self._view.answered(question)
        for question in new:
            self._view.asked(question, is_first=question is self._questions.asked)
            if self._approves:
                self._view.hint("approved, for --yes was given")
                tasks.start_soon(partial(self._answer, question, approved=True))

    def _settle(self, question: Question) -> None:
        self._questions.close(question)
        self._view.answered(question)

    def _take_line(self, tasks: TaskGroup, line: str) -> None:
        self._view.typed(line)
        answer = self._questions.read(line)
        if isinstance(answer, str):
            self._view.hint(answer)
        elif answer is not None:
            tasks.start_soon(partial(self._answer, answer.question, approved=answer.approved))
        self._view.draw(self._board, self._questions)

    async def _answer(self, question: Question, *, approved: bool) -> None:
        try:
            await self._engine.signal(question.execution.id, question.wait, question.payload(approved))
        except (SignalError, ExecutionEnded) as error:  # somebody else was faster
            self._view.hint(one_line(error))
        self._has_news.set()


class _Told(logging.Handler):
    """Passes on what the steps log."""

    def __init__(self, tell: Callable[[logging.LogRecord], None]) -> None:
        super().__init__(logging.INFO)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        """Pass it on."""
        self._tell(record)


@contextmanager
def _log_told(tell: Callable[[logging.LogRecord], None]) -> Generator[None]:
    logger = logging.getLogger("stepwell")
    level, handler = logger.level, _Told(tell)
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
