"""What follows what. Each function here takes the sheet of one decision and writes one event's consequences on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, assert_never

import msgspec

from stepwell._errors import IllegalTransition, StepCrashed, VisitsExceeded
from stepwell._failure import failure_of
from stepwell._model import NEVER, NOW, Change, Kind, Moment, Status
from stepwell._retry import Retry
from stepwell._transition._begin import begin, child_id
from stepwell._transition._draft import Draft, Move, State, Terms
from stepwell._transition._events import (
    Asked,
    Cancelled,
    ChildEnded,
    Chose,
    Drained,
    Ended,
    Event,
    Halted,
    HandedBack,
    Lost,
    Opened,
    Paused,
    Raised,
    Resumed,
    Returned,
    Signalled,
    StillSuspended,
    TimerFired,
)

if TYPE_CHECKING:
    from stepwell._definition import Step, Subworkflow, Wait, Workflow

__all__ = ["catch_route", "ride", "transition"]

_SUSPECT_BACKOFF: Final = Retry(max_attempts=2, backoff=1.0, multiplier=2.0, max_backoff=60.0, jitter=0.25)
"""How long an execution whose worker disappeared is left alone: a step that kills its worker shouldn't kill the next
one at once."""

_RIDERS: Final = frozenset({"decision", "succeed", "fail"})


def transition(workflow: Workflow[Any, Any], state: State, event: Event, terms: Terms) -> Move:
    """Return all that *event* implies for an execution in *state*. Raises IllegalTransition where it can't happen."""
    draft = Draft(workflow, state, terms)
    if not _can_happen(event, draft.status):
        raise IllegalTransition(state.row.id, draft.status, f"what follows {type(event).__name__}")
    match event:
        case Returned() | Chose() | Ended() | Asked() | Raised():
            _attempt_ended(draft, event)
        case Signalled() | TimerFired() | ChildEnded():
            _suspension_ended(draft, event)
        case Lost() | Drained() | HandedBack() | StillSuspended() | Opened() | Halted():
            _lease_given_up(draft, event)
        case Paused() | Resumed() | Cancelled():
            _client_asked(draft, event)
        case _:
            assert_never(event)
    return draft.seal()


def ride(workflow: Workflow[Any, Any], first: Move, ahead: State, event: Event, terms: Terms) -> Move:
    """Return *first* with what *event* implies at the step that rides along, as one Move.

    *ahead* is `first.ahead(state)`. The rider has no start of its own in the journal: the entry that arrived at it gives
    way to the entry that says how it ended.
    """
    second = transition(workflow, ahead, event, terms)
    entries = first.change.entries[:-1] + second.change.entries
    merged = second.change
    change = Change(
        id=first.change.id,
        row=msgspec.structs.replace(merged.row, revision=first.change.expects + len(entries)),
        expects=first.change.expects,
        entries=entries,
        due=merged.due,
        timer=first.change.timer if merged.timer is None else merged.timer,
        signals=first.change.signals if merged.signals is None else merged.signals,
        uses=first.change.uses + merged.uses,
        discards=merged.discards,
    )
    return Move(change, first.along + second.along, second.rides)


def catch_route(workflow: Workflow[Any, Any], step: str, error: type[BaseException]) -> str | None:
    """Return the label of the first catch of *step* that takes errors of this class."""
    for caught, label in workflow.catches.get(step, ()):
        if issubclass(error, caught):
            return label
    return None


def _can_happen(event: Event, status: Status) -> bool:
    """Tell whether it can happen there: what a worker reports, only to what it runs; a signal, also to an open wait."""
    match event:
        case Paused() | Resumed() | Cancelled():
            return True  # the table has the last word
        case Signalled():
            return status in {Status.RUNNING, Status.SUSPENDED}
        case _:
            return status is Status.RUNNING


def _attempt_ended(draft: Draft, event: Returned | Chose | Ended | Asked | Raised) -> None:
    match event:
        case Returned(output):
            draft.note(Kind.STEP_SUCCEEDED, payload=output)
            _follow(draft, "next")
        case Chose(route):
            draft.note(Kind.STEP_ROUTED, route=route)
            _follow(draft, route)
        case Ended(value):
            _finish(draft, value)
        case Asked(child_input):
            _start_child(draft, child_input)
        case Raised():
            _retry_or_fail(draft, event)
        case _:
            assert_never(event)


def _suspension_ended(draft: Draft, event: Signalled | TimerFired | ChildEnded) -> None:
    match event:
        case TimerFired() if draft.has_signal():
            _stay_suspended(draft)  # a signal that was accepted before this commit has won
        case Signalled(id, payload, route):
            draft.uses = (id,)
            draft.note(Kind.STEP_RESUMED, ref=id, payload=payload, route=route)
            _follow(draft, route)
        case TimerFired():
            draft.guards_signals = True
            draft.note(Kind.STEP_RESUMED, route="timeout")
            _follow(draft, "timeout")
        case ChildEnded(status, outcome):
            child = draft.history.child if draft.history else None
            draft.note(Kind.STEP_RESUMED, ref=child, payload=outcome, route=status)
            _follow(draft, status)
        case _:
            assert_never(event)


def _lease_given_up(draft: Draft, event: Lost | Drained | HandedBack | StillSuspended | Opened | Halted) -> None:
    match event:
        case Lost():
            _suspect_or_crash(draft)
        case Drained(reason):
            draft.note(Kind.STEP_INTERRUPTED, ref=reason)
            draft.stand(Status.QUEUED, NOW)
            if draft.pausing:
                _pause_at(draft, Status.QUEUED)
        case HandedBack(_, delay):
            _hand_back(draft, delay)
        case StillSuspended():
            _stay_suspended(draft)
        case Opened():
            _open_wait(draft, draft.definition)
        case Halted():
            _halt(draft)
        case _:
            assert_never(event)


def _client_asked(draft: Draft, event: Paused | Resumed | Cancelled) -> None:
    match event:
        case Paused(reason):
            if draft.status is Status.RUNNING:
                draft.pausing = True
                draft.note(Kind.PAUSING, payload=_text(reason))
            else:
                _pause_at(draft, draft.status, reason)
        case Resumed(attempts):
            _resume(draft, attempts)
        case Cancelled(reason, by_parent):
            if draft.status is Status.RUNNING:
                draft.token += 1  # whoever runs it drops it
            token = draft.token if draft.status is Status.RUNNING else 0
            draft.note(Kind.CANCELLED, payload=_text(reason), token=token)
            draft.end(Status.CANCELLED)
            if not by_parent:
                draft.wake_parent()
        case _:
            assert_never(event)


# -- going on ----------------------------------------------------------------------------------------------------------


def _follow(draft: Draft, route: str) -> None:
    """Take the edge of that label."""
    _arrive(draft, draft.workflow.routes[draft.step or ""][route])


def _arrive(draft: Draft, step: Step[Any, Any]) -> None:
    """Stand at *step*, one visit further: begin it, queue it, open it, or fail where it was visited too often."""
    known = draft.state.history.steps.get(step.name)
    draft.step, draft.visit, draft.attempt = step.name, (known.visits if known else 0) + 1, 0
    draft.timer = NEVER
    if draft.visit > step.max_visits:
        error = VisitsExceeded(draft.workflow.name, step.name, step.max_visits)
        _fail_step(draft, _failure(error, "visits_exceeded"), None)  # no catch: the bound of a loop is not to be got round
    elif step.kind == "wait":
        draft.attempt = 1
        _open_wait(draft, step)
    elif draft.pausing:
        _pause_at(draft, Status.QUEUED)
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


def _open_wait(draft: Draft, step: Step[Any, Any]) -> None:
    """Suspend at a wait; where its signal lies there already, someone looks at once."""
    wait: Wait[Any, Any, Any] = step  # type: ignore[assignment]
    draft.timer = NEVER if wait.timeout is None else Moment(after=wait.timeout)
    draft.guards_signals = True
    draft.note(Kind.STEP_SUSPENDED)
    draft.stand(Status.SUSPENDED, NOW if draft.has_signal() else draft.timer)
    if draft.pausing:
        _pause_at(draft, Status.SUSPENDED)


def _start_child(draft: Draft, child_input: str) -> None:
    """Create the child and suspend until it ends; a pause that is due by now comes first, and asks again later."""
    if draft.pausing:
        draft.note(Kind.STEP_INTERRUPTED, ref="pause")
        _pause_at(draft, Status.QUEUED)
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


def _pause_at(draft: Draft, back: Status, reason: str = "") -> None:
    draft.pausing = False
    draft.note(Kind.PAUSED, ref=back, payload=_text(reason))
    draft.stand(Status.PAUSED, NEVER)


# -- coming to an end --------------------------------------------------------------------------------------------------


def _finish(draft: Draft, value: str) -> None:
    """End as the terminal step says."""
    step = draft.definition
    if step.kind == "succeed":
        draft.output = value
        draft.note(Kind.SUCCEEDED, payload=value)
        draft.end(Status.SUCCEEDED)
    else:
        draft.error = f'{{"step":"{step.name}","value":{value}}}'
        draft.note(Kind.FAILED, payload=value)
        draft.end(Status.FAILED)
    draft.wake_parent()


def _retry_or_fail(draft: Draft, event: Raised) -> None:
    step = draft.definition
    spent = (draft.history.spent if draft.history else 0) + 1
    allowance = draft.history.allowance if draft.history else None
    if event.is_final or spent >= (step.retry.max_attempts if allowance is None else allowance):
        _fail_step(draft, event.failure, event.route)
        return
    delay = step.retry.delay(spent, draft.terms.random)
    draft.note(Kind.STEP_RETRY, payload=event.failure, ref=repr(delay))
    draft.timer = Moment(after=delay)
    if draft.pausing:
        _pause_at(draft, Status.WAITING)
    elif delay == 0 and draft.terms.keep_lease:
        _begin_attempt(draft)
    else:
        draft.stand(Status.WAITING, draft.timer)


def _fail_step(draft: Draft, failure: str, route: str | None) -> None:
    """Fail the step for good: to the step that catches the error, or else to the end."""
    draft.note(Kind.STEP_FAILED, payload=failure, route=route)
    if route is not None:
        _follow(draft, route)
        return
    draft.error = f'{{"step":"{draft.step}","failure":{failure}}}'
    draft.note(Kind.FAILED)
    draft.end(Status.FAILED)
    draft.wake_parent()


# -- giving the lease up -----------------------------------------------------------------------------------------------


def _is_open(draft: Draft) -> bool:
    return draft.history is not None and draft.history.is_open


def _take_back_attempt(draft: Draft) -> None:
    """The claimed attempt did not begin: the next claim gets its number."""
    if draft.state.history.found is not Status.SUSPENDED:
        draft.attempt -= 1


def _back(draft: Draft) -> Status:
    """Return where an execution stands whose claim comes to nothing."""
    return Status.SUSPENDED if _is_open(draft) else Status.QUEUED


def _hand_back(draft: Draft, delay: float) -> None:
    """Give the claim up: to be looked at again at once or, after a *delay*, by whoever comes then."""
    _take_back_attempt(draft)
    if draft.pausing:
        _pause_at(draft, _back(draft))
        return
    back, due = (Status.WAITING, Moment(after=delay)) if delay > 0 else (_back(draft), NOW)
    draft.note(Kind.RELEASED, ref=back)
    draft.stand(back, due)


def _stay_suspended(draft: Draft) -> None:
    """Go on waiting; at once due again where a signal or the child's end came while the worker looked."""
    _take_back_attempt(draft)
    if draft.pausing:
        _pause_at(draft, Status.SUSPENDED)
        return
    draft.note(Kind.RELEASED, ref=Status.SUSPENDED)
    draft.guards_signals = True
    has_news = draft.has_signal() or draft.state.history.is_woken
    draft.stand(Status.SUSPENDED, NOW if has_news else draft.back_to_timer())


def _halt(draft: Draft) -> None:
    """Pause before the attempt begins; where the pause was taken back meanwhile, see to what the claim was for."""
    if draft.state.history.found is Status.RUNNING and not draft.pausing:
        _suspect_or_crash(draft)
    else:
        _hand_back(draft, 0)


def _suspect_or_crash(draft: Draft) -> None:
    """An attempt was lost: try again after a while, unless it was lost as a suspect too often.

    The first loss makes the execution a suspect and counts for nothing: it may have been the neighbour of the step that
    took the worker down. Only with `max_crashes=0` is the first the last.
    """
    lost = draft.history.lost if draft.history else 0
    if lost <= draft.terms.max_crashes:
        _hand_back(draft, _SUSPECT_BACKOFF.delay(lost, draft.terms.random))
        return
    _take_back_attempt(draft)
    error = StepCrashed(draft.workflow.name, draft.step or "", lost)
    _fail_step(draft, _failure(error, "crashed"), catch_route(draft.workflow, draft.step or "", type(error)))


def _failure(error: Exception, code: str) -> str:
    """Return a failure of the engine's own making as JSON text."""
    return msgspec.json.encode(failure_of(error, code=code)).decode()


# -- what clients ask for ----------------------------------------------------------------------------------------------


def _resume(draft: Draft, attempts: int) -> None:
    history = draft.state.history
    if draft.status is Status.RUNNING and draft.pausing:
        draft.pausing = False
        draft.note(Kind.RESUMED, ref=Status.RUNNING)
    elif draft.status is Status.FAILED and history.failed_step is not None:
        _resume_failed(draft, history.failed_step, attempts)
    elif draft.status is Status.PAUSED:
        back = history.found or Status.QUEUED
        draft.note(Kind.RESUMED, ref=back)
        draft.stand(back, _due_after_pause(draft, back))
    else:
        raise IllegalTransition(draft.state.row.id, draft.status, "resumed")


def _resume_failed(draft: Draft, step: str, attempts: int) -> None:
    known = draft.state.history.steps[step]
    draft.step, draft.visit, draft.attempt = step, known.visits, known.attempts
    draft.error = None
    definition = draft.definition
    if definition.kind == "wait":
        wait: Wait[Any, Any, Any] = definition  # type: ignore[assignment]
        draft.attempt += 1
        draft.timer = NEVER if wait.timeout is None else Moment(after=wait.timeout)
        draft.note(Kind.RESUMED, ref=Status.SUSPENDED, payload=str(attempts))
        draft.stand(Status.SUSPENDED, draft.timer)
    else:
        draft.note(Kind.RESUMED, ref=Status.QUEUED, payload=str(attempts))
        draft.stand(Status.QUEUED, NOW)


def _due_after_pause(draft: Draft, back: Status) -> Moment:
    """Return when a resumed execution is due: the time left of its wait or retry ran on during the pause."""
    timer = draft.back_to_timer()
    if back is Status.SUSPENDED:
        draft.guards_signals = True
        kind = draft.definition.kind
        return NOW if kind == "subworkflow" or draft.has_signal() else timer
    if timer == NEVER or _is_open(draft):
        return NOW
    return timer


def _text(reason: str) -> str | None:
    return msgspec.json.encode(reason).decode() if reason else None


