"""Executions as trees of lines: each step with how it stands, how long it took and what is to be said of it. Pure.

Every text of a line is escaped: a line may be printed as it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from stepwell import Execution, Failure, Status, StepState
from stepwell.cli._text import escaped, failure_text, length, shortened

__all__ = ["ASCII", "UNICODE", "Line", "Signs", "drawn", "head", "signs_for", "steps_of"]

_CATCH: Final = "catch:"


@dataclass(frozen=True, slots=True)
class Signs:
    """The characters that a tree is drawn with. No status has the same mark as another: colour is not needed."""

    fork: str
    last: str
    trunk: str
    gap: str
    arrow: str
    marks: Mapping[Status, str]


_UNICODE_MARKS: Final = {
    Status.QUEUED: "○",
    Status.RUNNING: "●",
    Status.WAITING: "↻",
    Status.SUSPENDED: "?",
    Status.PAUSED: "=",
    Status.SUCCEEDED: "✓",
    Status.FAILED: "✗",
    Status.CANCELLED: "⊘",
}
_ASCII_MARKS: Final = {
    Status.QUEUED: ".",
    Status.RUNNING: ">",
    Status.WAITING: "~",
    Status.SUSPENDED: "?",
    Status.PAUSED: "=",
    Status.SUCCEEDED: "+",
    Status.FAILED: "x",
    Status.CANCELLED: "-",
}
UNICODE: Final = Signs("├─ ", "└─ ", "│  ", "   ", "→", _UNICODE_MARKS)
ASCII: Final = Signs("|- ", "`- ", "|  ", "   ", "->", _ASCII_MARKS)


def signs_for(encoding: str | None) -> Signs:
    """Return the signs that a stream of this encoding can show.

    >>> signs_for("latin-1") is ASCII, signs_for("utf-8") is UNICODE
    (True, True)
    """
    all_of_them = "".join(
        [UNICODE.fork, UNICODE.last, UNICODE.trunk, UNICODE.arrow, *UNICODE.marks.values()],
    )
    try:
        all_of_them.encode(encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return ASCII
    return UNICODE


@dataclass(frozen=True, slots=True)
class Line:
    """One step, or the execution itself, on one line."""

    branches: str
    mark: str
    status: Status
    name: str
    took: str
    about: str
    execution: str
    step: str | None = None
    """None: the line is about the execution"""


def head(execution: Execution, *, now: datetime, signs: Signs) -> Line:
    """Return the line that stands above an execution's steps."""
    ended = now if execution.ended_at is None else execution.ended_at
    at = f" at {execution.current_step}" if execution.current_step else ""
    return Line(
        "",
        signs.marks[execution.status],
        execution.status,
        escaped(execution.id),
        length((ended - execution.created_at).total_seconds()),
        f"{execution.status}{at}{', about to be paused' if execution.pausing else ''}",
        execution.id,
    )


def steps_of(
    execution: Execution,
    children: Mapping[str, Execution],
    *,
    now: datetime,
    signs: Signs,
    folded: Collection[str] = (),
    outputs: bool = False,
    trunk: str = "",
) -> Iterator[Line]:
    """Return a line for each step that was visited, and below a subworkflow those of its child, if that is known.

    *folded* are the ids of children whose steps are left out; with *outputs*, what the steps gave is told too.
    """
    steps = list(execution.steps.values())
    for step in steps:
        is_last = step is steps[-1]
        status = _shown_status(execution, step)
        child = None if step.child is None or step.child in folded else children.get(step.child)
        about = _about(execution, step, now=now, signs=signs, outputs=outputs, is_nested=child is not None)
        yield Line(
            trunk + (signs.last if is_last else signs.fork),
            signs.marks[status],
            status,
            escaped(step.name),
            _took(step, now),
            "  ".join(about),
            execution.id,
            step.name,
        )
        if child is not None:
            below = trunk + (signs.gap if is_last else signs.trunk)
            yield from steps_of(child, children, now=now, signs=signs, folded=folded, outputs=outputs, trunk=below)


def drawn(lines: Sequence[Line]) -> list[str]:
    """Return lines as text with aligned columns."""
    names = [f"{line.branches}{line.mark} {line.name}" for line in lines]
    width = max(map(len, names), default=0)
    times = max((len(line.took) for line in lines), default=0)
    return [
        f"{name.ljust(width)}  {line.took.rjust(times)}  {line.about}".rstrip()
        for name, line in zip(names, lines, strict=True)
    ]


def _shown_status(execution: Execution, step: StepState) -> Status:
    """Return how a step stands; a `fail` step that ended the execution did its work, and still stands for a failure."""
    return Status.FAILED if _ended(execution, step) else step.status


def _ended(execution: Execution, step: StepState) -> bool:
    return execution.status is Status.FAILED and execution.failed_step == step.name


def _took(step: StepState, now: datetime) -> str:
    if step.started_at is None:
        return ""
    return length(((step.ended_at or now) - step.started_at).total_seconds())


def _about(
    execution: Execution, step: StepState, *, now: datetime, signs: Signs, outputs: bool, is_nested: bool
) -> Iterator[str]:
    """Tell of a step in a few words, the most important first."""
    if step.visits > 1:
        yield f"visit {step.visits}"
    if step.status is Status.RUNNING:
        yield f"running, attempt {step.attempts}" if step.attempts else "running"
    elif step.attempts > 1:
        yield f"{step.attempts} attempts"
    yield from _standing(execution, step, now)
    if step.error is not None:
        yield _failure(step.error, step.route)
    elif step.route not in {None, "next"}:
        yield f"{signs.arrow} {escaped(step.route or '')}"
    if step.child is not None and (outputs or not is_nested):
        yield f"child {escaped(step.child)}"
    if _ended(execution, step) and not isinstance(execution.error, Failure):
        yield shortened(execution.error, 90)
    elif outputs and step.output is not None and step.child is None:
        yield shortened(step.output)


def _failure(error: Failure, route: str | None) -> str:
    """Return what went wrong, and by which catch it was taken, if by any."""
    text = failure_text(error, 90)
    caught = (route or "").removeprefix(_CATCH)
    if not caught:
        return text
    return f"caught {text}" if text.startswith(f"{caught}: ") else f"caught as {escaped(caught)}: {text}"


def _standing(execution: Execution, step: StepState, now: datetime) -> Iterator[str]:
    is_current = execution.current_step == step.name
    until = execution.due_at if is_current else None
    left = "" if until is None else length((until - now).total_seconds())
    match step.status:
        case Status.QUEUED:
            yield "queued"
        case Status.WAITING:
            yield f"tried again in {left}" if until is not None and until > now else "to be tried again"
        case Status.SUSPENDED if step.child is None:
            yield f"waits for a signal, for {left} more" if left else "waits for a signal"
        case Status.SUSPENDED:
            yield "waits for its child"
        case Status.CANCELLED:
            yield "cancelled"
        case Status.FAILED if step.route is None:
            yield "failed"
        case _:
            return
