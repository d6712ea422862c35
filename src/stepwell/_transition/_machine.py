"""What follows what. Each function here writes one event's consequences on the sheet of one decision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, assert_never

import msgspec

from stepwell._errors import IllegalTransition, StepCrashed
from stepwell._history import SUSPECT_FROM
from stepwell._model import NEVER, NOW, Change, Kind, Moment, Status
from stepwell._retry import Retry
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
from stepwell._transition._progress import (
    fail_step,
    failure_text,
    finish,
    follow,
    open_wait,
    pause_at,
    retry_or_fail,
    start_child,
    text,
)

if TYPE_CHECKING:
    from stepwell._definition import Wait, Workflow

__all__ = ["catch_route", "ride", "transition"]

_SUSPECT_BACKOFF: Final = Retry(max_attempts=2, backoff=0.7, multiplier=2.0, max_backoff=60.0, jitter=0.25)
"""How long an execution whose worker disappeared is left alone: a step that kills its worker shouldn't kill the next
one at once. After the first loss that is 0.88 s at most, since its work is promised to go on within a second.
"""


def transition(workflow: Workflow[Any, Any], state: State, event: Event, terms: Terms) -> Move:
    """Return all that *event* implies for an execution in *state*. Raises IllegalTransition where it can't happen."""
    draft = Draft.of(workflow, state, terms)
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

    *ahead* is `first.ahead(state)`. The rider has no start of its own in the journal: the entry that arrived at it
    gives way to the entry that says how it ended.
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
    if status is Status.RUNNING:
        return True
    match event:
        case Paused() | Resumed() | Cancelled():
            return True  # the table has the last word
        case Signalled():
            return status is Status.SUSPENDED
        case _:
            return False


def _attempt_ended(draft: Draft, event: Returned | Chose | Ended | Asked | Raised) -> None:
    match event:
        case Returned(output):
            draft.note(Kind.STEP_SUCCEEDED, payload=output)
            follow(draft, "next")
        case Chose(route):
            draft.note(Kind.STEP_ROUTED, route=route)
            follow(draft, route)
        case Ended(value):
            finish(draft, value)
        case Asked(child_input):
            start_child(draft, child_input)
        case Raised():
            retry_or_fail(draft, event)
        case _:
            assert_never(event)


def _suspension_ended(draft: Draft, event: Signalled | TimerFired | ChildEnded) -> None:
    match event:
        case TimerFired() if draft.has_signal():
            _stay_suspended(draft)  # a signal that was accepted before this commit has won
        case Signalled(id, payload, route):
            draft.uses = (id,)
            draft.note(Kind.STEP_RESUMED, ref=id, payload=payload, route=route)
            follow(draft, route)
        case TimerFired():
            draft.guards_signals = True
            draft.note(Kind.STEP_RESUMED, route="timeout")
            follow(draft, "timeout")
        case ChildEnded(status, outcome):
            child = draft.history.child if draft.history else None
            draft.note(Kind.STEP_RESUMED, ref=child, payload=outcome, route=status)
            follow(draft, status)
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
                pause_at(draft, Status.QUEUED)
        case HandedBack(_, delay):
            _give_back(draft, delay)
        case StillSuspended():
            _stay_suspended(draft)
        case Opened():
            open_wait(draft, draft.definition)
        case Halted():
            _give_back(draft, 0)
        case _:
            assert_never(event)


def _client_asked(draft: Draft, event: Paused | Resumed | Cancelled) -> None:
    match event:
        case Paused(reason):
            if draft.status is Status.RUNNING:
                draft.pausing = True
                draft.note(Kind.PAUSING, payload=text(reason))
            else:
                pause_at(draft, draft.status, reason)
        case Resumed(attempts):
            _resume(draft, attempts)
        case Cancelled(reason, by_parent):
            if draft.status is Status.RUNNING:
                draft.token += 1  # whoever runs it drops it
            token = draft.token if draft.status is Status.RUNNING else 0
            draft.note(Kind.CANCELLED, payload=text(reason), token=token)
            draft.end(Status.CANCELLED)
            if not by_parent:
                draft.wake_parent()
        case _:
            assert_never(event)


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
        pause_at(draft, _back(draft))
        return
    back, due = (Status.WAITING, Moment(after=delay)) if delay > 0 else (_back(draft), NOW)
    draft.note(Kind.RELEASED, ref=back)
    draft.stand(back, due)


def _stay_suspended(draft: Draft) -> None:
    """Go on waiting; at once due again where a signal or the child's end came while the worker looked."""
    _take_back_attempt(draft)
    if draft.pausing:
        pause_at(draft, Status.SUSPENDED)
        return
    draft.note(Kind.RELEASED, ref=Status.SUSPENDED)
    draft.guards_signals = True
    has_news = draft.has_signal() or draft.state.history.is_woken
    draft.stand(Status.SUSPENDED, NOW if has_news else draft.back_to_timer())


def _give_back(draft: Draft, delay: float) -> None:
    """Give the claim up, for a drain or a pause; a lost attempt that the claim found is seen to all the same."""
    if draft.state.history.found is Status.RUNNING:
        _suspect_or_crash(draft)
    else:
        _hand_back(draft, delay)


def _suspect_or_crash(draft: Draft) -> None:
    """An attempt was lost: try again after a while, unless it was lost as a suspect too often.

    The first two losses count for nothing: it may have been the neighbour of the step that took the worker down. Only
    with `max_crashes=0` is the first the last.
    """
    lost = draft.history.lost if draft.history else 0
    most = draft.terms.max_crashes
    if most and lost < SUSPECT_FROM + most:
        _hand_back(draft, _SUSPECT_BACKOFF.delay(lost, draft.terms.random))
        return
    _take_back_attempt(draft)
    error = StepCrashed(draft.workflow.name, draft.step or "", lost)
    fail_step(draft, failure_text(error, "crashed"), catch_route(draft.workflow, draft.step or "", type(error)))


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
