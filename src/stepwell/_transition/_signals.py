"""What becomes of a signal when it arrives: the rules, without the storage."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from stepwell._errors import (
    AlreadySignalled,
    ExecutionEnded,
    NotAWait,
    SignalConflict,
    TooManySignals,
    UnknownStep,
    WaitPassed,
)
from stepwell._model import Signal, SignalState, Status, Stored

if TYPE_CHECKING:
    from stepwell._definition import Workflow
    from stepwell._transition._draft import State

__all__ = ["Accepted", "accept"]


class Accepted(Enum):
    """How a signal is taken."""

    DUPLICATE = "duplicate"
    """the same was accepted before: nothing to do"""
    KEPT = "kept"
    """to lie there until its wait looks"""
    USABLE = "usable"
    """its wait is open: may be resolved at once"""


def accept(workflow: Workflow[Any, Any], stored: Stored, state: State, signal: Signal, *, max_pending: int) -> Accepted:
    """Decide how *signal* is taken, or raise the error that tells its sender why it is not.

    The same id with the same step and payload is harmless, also after its use and after the end; with other content it
    is a SignalConflict. A second signal for one visit of a wait is AlreadySignalled. One for a wait that can't
    be reached any more is WaitPassed.
    """
    row = stored.row
    step = workflow.steps.get(signal.step)
    if step is None:
        raise UnknownStep(workflow.name, signal.step, tuple(workflow.steps))
    if step.kind != "wait":
        waits = tuple(s.name for s in workflow.steps.values() if s.kind == "wait")
        raise NotAWait(workflow.name, signal.step, step.kind, waits)
    for known in stored.signals:
        if known.id == signal.id:
            if (known.step, known.payload) == (signal.step, signal.payload):
                return Accepted.DUPLICATE
            raise SignalConflict(row.id, signal.id)
    if row.status.is_terminal:
        raise ExecutionEnded(row.id, row.status, f"signal to {signal.step!r}")
    if any(s.step == signal.step for s in state.signals):
        raise AlreadySignalled(row.id, signal.step)
    if row.step == signal.step:
        return Accepted.USABLE if row.status is Status.SUSPENDED else Accepted.KEPT
    _check_reachable(workflow, stored, state, signal)
    if len(state.signals) >= max_pending:
        raise TooManySignals(row.id, len(state.signals), max_pending)
    return Accepted.KEPT


def _check_reachable(workflow: Workflow[Any, Any], stored: Stored, state: State, signal: Signal) -> None:
    """The wait lies ahead, and may be visited once more."""
    visits = state.history.steps[signal.step].visits if signal.step in state.history.steps else 0
    ahead = workflow.reachable(stored.row.step or "")
    if signal.step in ahead and visits < workflow.steps[signal.step].max_visits:
        return
    if any(s.step == signal.step and s.state is SignalState.USED for s in stored.signals):
        raise AlreadySignalled(stored.row.id, signal.step)
    raise WaitPassed(stored.row.id, signal.step)
