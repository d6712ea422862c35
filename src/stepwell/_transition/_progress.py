"""Going on and coming to an end: the next step, another try, a failure. Written on the sheet of one decision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from stepwell._errors import VisitsExceeded
from stepwell._failure import failure_of
from stepwell._model import NEVER, NOW, Kind, Moment, Status
from stepwell._transition._begin import begin, child_id

if TYPE_CHECKING:
    from stepwell._definition import Step, Subworkflow, Wait
    from stepwell._transition._draft import Draft
    from stepwell._transition._events import Raised

__all__ = [
    "fail_step",
    "failure_error",
    "failure_text",
    "finish",
    "follow",
    "open_wait",
    "pause_at",
    "retry_or_fail",
    "start_child",
    "text",
    "value_error",
]

_RIDERS: Final = frozenset({"decision", "succeed", "fail"})
"""What may be run while its arrival waits for its commit, if it is a plain `def`."""


def follow(draft: Draft, route: str) -> None:
    """Take the edge of that label."""
    _arrive(draft, draft.workflow.routes[draft.step or ""][route])


def _arrive(draft: Draft, step: Step[Any, Any]) -> None:
    """Stand at *step*, one visit further: begin it, queue it, open it, or fail where it was visited too often."""
    known = draft.state.history.steps.get(step.name)
    draft.step, draft.visit, draft.attempt = step.name, (known.visits if known else 0) + 1, 0
    draft.timer = NEVER
    if draft.visit > step.max_visits:
        error = VisitsExceeded(draft.workflow.name, step.name, step.max_visits)
        fail_step(draft, failure_text(error, "visits_exceeded"), None)  # whatever the step catches
    elif step.kind == "wait":
        draft.attempt = 1
        open_wait(draft, step)
    elif draft.pausing:
        pause_at(draft, Status.QUEUED)
    else:
        _begin_attempt(draft)
        is_ours = draft.state.row.status is Status.RUNNING
        draft.rides = is_ours and step.kind in _RIDERS and not step.is_async and not draft.state.history.has_lost


def _begin_attempt(draft: Draft) -> None:
    """Begin the next attempt under this lease, or queue it where the lease is to be given up."""
    if draft.status is Status.RUNNING and draft.terms.keep_lease:
        draft.attempt += 1
        draft.note(Kind.STEP_STARTED, worker=draft.worker)
        draft.stand(Status.RUNNING, None)
    else:
        draft.note(Kind.QUEUED)
        draft.stand(Status.QUEUED, NOW)


def open_wait(draft: Draft, step: Step[Any, Any]) -> None:
    """Suspend at a wait; where its signal lies there already, someone looks at once."""
    wait: Wait[Any, Any, Any] = step  # type: ignore[assignment]
    draft.timer = NEVER if wait.timeout is None else Moment(after=wait.timeout)
    draft.guards_signals = True
    draft.note(Kind.STEP_SUSPENDED)
    draft.stand(Status.SUSPENDED, NOW if draft.has_signal() else draft.timer)
    if draft.pausing:
        pause_at(draft, Status.SUSPENDED)


def start_child(draft: Draft, child_input: str) -> None:
    """Create the child and suspend until it ends; a pause that is due by now comes first, and asks again later."""
    if draft.pausing:
        draft.note(Kind.STEP_INTERRUPTED, ref="pause")
        pause_at(draft, Status.QUEUED)
        return
    step: Subworkflow[Any, Any] = draft.definition  # type: ignore[assignment]
    row = draft.state.row
    child = begin(
        step.child,
        id=child_id(row.id, step.name, draft.visit),
        input=child_input,
        change_id=draft.terms.change_id,
        parent=row.id,
    )
    draft.along.append(child)
    draft.note(Kind.STEP_SUSPENDED, ref=child.row.id)
    draft.stand(Status.SUSPENDED, NEVER)
    draft.timer = NEVER


def pause_at(draft: Draft, back: Status, reason: str = "") -> None:
    draft.pausing = False
    draft.note(Kind.PAUSED, ref=back, payload=text(reason))
    draft.stand(Status.PAUSED, NEVER)


# -- coming to an end --------------------------------------------------------------------------------------------------


def finish(draft: Draft, value: str) -> None:
    """End as the terminal step says."""
    step = draft.definition
    if step.kind == "succeed":
        draft.output = value
        draft.note(Kind.SUCCEEDED, payload=value)
        draft.end(Status.SUCCEEDED)
    else:
        draft.error = value_error(step.name, value)
        draft.note(Kind.FAILED, payload=value)
        draft.end(Status.FAILED)
    draft.wake_parent()


def retry_or_fail(draft: Draft, event: Raised) -> None:
    if event.is_final:
        fail_step(draft, event.failure, event.route)
        return
    step = draft.definition
    spent = (draft.history.spent if draft.history else 0) + 1
    allowance = draft.history.allowance if draft.history else None
    if spent >= (step.retry.max_attempts if allowance is None else allowance):
        fail_step(draft, event.failure, event.route)
        return
    delay = step.retry.delay(spent, draft.terms.random)
    draft.note(Kind.STEP_RETRY, payload=event.failure, ref=repr(delay))
    draft.timer = Moment(after=delay)
    if draft.pausing:
        pause_at(draft, Status.WAITING)
    elif delay == 0 and draft.terms.keep_lease:
        _begin_attempt(draft)
    else:
        draft.stand(Status.WAITING, draft.timer)


def fail_step(draft: Draft, failure: str, route: str | None) -> None:
    """Fail the step for good: to the step that catches the error, or else to the end."""
    draft.note(Kind.STEP_FAILED, payload=failure, route=route)
    if route is not None:
        follow(draft, route)
        return
    draft.error = failure_error(draft.step or "", failure)
    draft.note(Kind.FAILED)
    draft.end(Status.FAILED)
    draft.wake_parent()


def value_error(step: str, value: str) -> str:
    """Return the error of an execution that a `fail` step ended with this value, JSON text."""
    return f'{{"step":"{step}","value":{value}}}'


def failure_error(step: str, failure: str) -> str:
    """Return the error of an execution that this failure of a step ended, JSON text."""
    return f'{{"step":"{step}","failure":{failure}}}'


def failure_text(error: Exception, code: str) -> str:
    """Return a failure of the engine's own making as JSON text."""
    return msgspec.json.encode(failure_of(error, code=code)).decode()


def text(reason: str) -> str | None:
    return msgspec.json.encode(reason).decode() if reason else None
