"""The demo as lines, one after the other: for pipes, and for terminals that can't redraw."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from stepwell import Event, Execution, Status
from stepwell.cli._demo_import import approval as import_approval
from stepwell.cli._demo_import import load
from stepwell.cli._demo_questions import findings_of
from stepwell.cli._next import signal_words
from stepwell.cli._text import command, failure_text, length, say, shortened

if TYPE_CHECKING:
    from stepwell.cli._database import Database
    from stepwell.cli._demo_board import Board
    from stepwell.cli._demo_import import Finding
    from stepwell.cli._demo_questions import Question, Questions

__all__ = ["Lines", "found_told", "invitation"]

_SHOWN: Final = 3
"""findings of one kind"""
_CATCH: Final = "catch:"


class Lines:
    """Tells of everything as it happens; each line begins with the workflow that it is about."""

    def __init__(self, database: Database, *, has_keys: bool) -> None:
        self._database = database
        self._has_keys = has_keys

    def told(self, title: str, event: Event) -> None:
        """Tell of an event."""
        for line in _told(event):
            say(f"{title}: {line}")
        if event.kind == "step.started" and event.step == load.name:
            for line in invitation():
                say(f"  {line}")

    def logged(self, title: str, step: str, message: str, *, is_progress: bool) -> None:
        """Tell what a step has logged, be it progress or something else."""
        say(f"{title}: {step}: {message}")

    def asked(self, question: Question, *, is_first: bool) -> None:
        """Tell what a person is asked; only the first of several questions is answered by `y` alone."""
        say(f"{question.title}: {question.wait.name}: waits for you. {question.text}")
        if question.wait is import_approval:
            for line in _findings_told(findings_of(question.execution)):
                say(line)
        say("  (It may wait for days: stop this process if you like.)")
        if self._has_keys:
            answers = "y or n" if is_first else f"{question.title} y, or {question.title} n"
            say(f"    here:                  {answers}, then Enter")
        words = signal_words(question.execution, self._database, question.wait.name)
        say(f"    in another terminal:   {command(*words)}")

    def answered(self, question: Question) -> None:
        """Tell that a question has its answer, from wherever it came."""
        say(f"{question.title}: {question.wait.name}: answered")

    def hint(self, text: str) -> None:
        """Tell how something was not understood or not taken, or why nobody is asked."""
        say(f"  {text}")

    def typed(self, line: str) -> None:
        """Nothing to do: lines follow each other."""

    def draw(self, board: Board, questions: Questions) -> None:
        """Nothing to do: everything is told already."""

    def begin_anew(self) -> None:
        """Nothing to do: the next line is the next line."""

    def close(self, board: Board | None = None) -> None:
        """Nothing to do: nothing stays open."""


def found_told(found: Sequence[Execution], now: datetime) -> Iterator[str]:
    """Tell how the unfinished executions of an earlier process were found."""
    names = ", ".join(execution.id for execution in found)
    age = length((now - min(execution.created_at for execution in found)).total_seconds())
    yield f"Found unfinished, begun {age} ago, and going on: {names}"
    for execution in found:
        done = [name for name, step in execution.steps.items() if step.status is Status.SUCCEEDED]
        if done:
            yield f"  {execution.id}: done already, and not run again: {', '.join(done)}"
        if execution.status is Status.RUNNING:
            left = 0.0 if execution.due_at is None else (execution.due_at - now).total_seconds()
            step = execution.current_step
            yield f"  {execution.id}: step {step} was running when its process was lost (or it still runs)"
            yield f"    its lease ends in {length(left)} if nobody renews it; then this process takes over"


def invitation() -> Iterator[str]:
    """Invite to kill this process."""
    kill = f"taskkill /F /PID {os.getpid()}" if sys.platform == "win32" else f"kill -9 {os.getpid()}"
    yield "The load is slow on purpose. Kill this process meanwhile, and start it again:"
    yield f"  {kill}      (in another terminal; or press Ctrl-C here)"


def _told(event: Event) -> Iterator[str]:
    match event.kind:
        case "step.started":
            yield f"{event.step}: attempt {event.attempt}"
        case "step.succeeded":
            yield f"{event.step}: done  {_in_short(event.value)}"
        case "step.routed":
            yield f"{event.step}: takes the route {event.route}"
        case "step.suspended" if event.reference is not None:
            yield f"{event.step}: waits for its child {event.reference}"
        case "step.resumed":
            yield f"{event.step}: takes the route {event.route}"
        case "step.retry":
            failure = "" if event.failure is None else failure_text(event.failure)
            delay = "" if event.reference is None else f"; again in {length(float(event.reference))}"
            yield f"{event.step}: failed  {failure}{delay}"
        case "step.failed":
            failure = "" if event.failure is None else failure_text(event.failure)
            caught = (event.route or "").removeprefix(_CATCH)
            yield f"{event.step}: failed  {failure}{f'; caught: {caught}' if caught else ''}"
        case "execution.succeeded" | "execution.failed" | "execution.cancelled":
            yield f"{event.kind.removeprefix('execution.')}{f' at {event.step}' if event.step else ''}"
        case "execution.lease_lost":
            yield (
                f"{event.step}: the lease of the process that ran it has ended, so this one takes over "
                "(in a second, for a step that may have killed its process is handled with care)"
            )
        case "worker.error" | "worker.blocked" | "step.unstoppable":
            yield f"worker: {event.message.partition(chr(10))[0]}"
        case _:
            return


def _findings_told(findings: Sequence[Finding]) -> Iterator[str]:
    for kind in dict.fromkeys(finding.kind for finding in findings):
        yield from _of_one_kind(kind, [finding for finding in findings if finding.kind == kind])


def _of_one_kind(kind: str, findings: Sequence[Finding]) -> Iterator[str]:
    yield f"  {len(findings)} {kind}:"
    for finding in findings[:_SHOWN]:
        yield f"    {finding.code:4}  {finding.problem}"
    if len(findings) > _SHOWN:
        yield f"    …     and {len(findings) - _SHOWN} more"


def _in_short(value: Any) -> str:
    if isinstance(value, list):
        count = len(msgspec.convert(value, list[Any]))
        return f"{count} of them"
    return "" if value is None else shortened(value, 90)
