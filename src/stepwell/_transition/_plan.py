"""What a worker that holds the lease does next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from stepwell._model import Signal, Status
from stepwell._transition._events import Event, Halted, Lost, Opened, StillSuspended, TimerFired

if TYPE_CHECKING:
    from stepwell._definition import Step, Workflow
    from stepwell._transition._draft import State

__all__ = ["Action", "Call", "Decide", "Look", "Resolve", "plan"]


class Call(Struct, frozen=True, gc=False):
    """Run the step's function: an attempt."""

    step: Any


class Resolve(Struct, frozen=True, gc=False):
    """Run the wait's resolver on a signal that lies there."""

    step: Any
    signal: Signal


class Look(Struct, frozen=True, gc=False):
    """Look whether the child has ended."""

    child: str


class Decide(Struct, frozen=True, gc=False):
    """Run nothing: this has happened already."""

    event: Event


Action = Call | Resolve | Look | Decide


def plan(workflow: Workflow[Any, Any], state: State, now: int) -> Action:
    """Return what is to be done for an execution that this worker has just claimed or gone on with.

    *now* is the storage's clock at the claim, in microseconds.
    """
    history, known = state.history, state.step
    if state.row.pausing:
        return Decide(Halted())
    if history.found is Status.RUNNING:
        return Decide(Lost())
    step: Step[Any, Any] = workflow.steps[state.row.step or ""]
    is_open = known is not None and known.is_open
    if step.kind == "wait":
        signal = state.signal(step.name)
        if signal is not None:
            return Resolve(step, signal)
        if not is_open:
            return Decide(Opened())
        timer = state.row.timer_at
        return Decide(StillSuspended() if timer is None or timer > now else TimerFired())
    if step.kind == "subworkflow" and is_open and known is not None and known.child is not None:
        return Look(known.child)
    return Call(step)
