"""What a decision starts from, what it comes to, and the sheet on which it is worked out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self

import msgspec
from msgspec import Struct

from stepwell._definition import Workflow
from stepwell._errors import IllegalTransition
from stepwell._history import History, StepHistory, folded
from stepwell._model import (
    LEGAL,
    NEVER,
    Change,
    Entry,
    Kind,
    Moment,
    Row,
    Signal,
    SignalState,
    Status,
    Stored,
    Unit,
    Wake,
)

if TYPE_CHECKING:
    from stepwell._definition import Step

__all__ = ["Draft", "Move", "State", "Terms"]

_replace = msgspec.structs.replace
_STANDING: Final = ("status", "step", "visit", "attempt", "revision", "token", "worker", "pausing")


class State(Struct, frozen=True, gc=False):
    """An execution as a decision sees it."""

    row: Row
    history: History
    signals: tuple[Signal, ...] = ()
    """accepted and not yet used, oldest first"""

    @classmethod
    def of(cls, stored: Stored) -> Self:
        """Fold what the storage holds. Raises ExecutionUnreadable."""
        pending = tuple(s for s in stored.signals if s.state is SignalState.PENDING) if stored.signals else ()
        return cls(stored.row, folded(stored), pending)

    @classmethod
    def unread(cls, row: Row) -> Self:
        """Stand where the row says, for want of a journal that can be read."""
        standing = {field: getattr(row, field) for field in _STANDING}
        return cls(row, History(**standing))

    @property
    def step(self) -> StepHistory | None:
        """What became so far of the step where the execution stands."""
        return self.history.steps.get(self.row.step or "")

    def signal(self, step: str | None) -> Signal | None:
        """Return the oldest unused signal for *step*."""
        return next((s for s in self.signals if s.step == step), None)

    def after(self, change: Change) -> State:
        """Return the state once *change* is committed."""
        signals = self.signals
        if signals and (change.uses or change.discards):
            gone = {*change.uses, *change.discards}
            signals = tuple(s for s in signals if s.id not in gone)
        return State(change.row, self.history.after(change.entries), signals)


class Terms(Struct, frozen=True, gc=False):
    """What a decision needs to be told because it may not find out by itself."""

    change_id: str
    keep_lease: bool
    """whether the worker may go on to the next step under this lease"""
    max_crashes: int
    random: float
    """from 0 to 1, for jitter"""


class Move(Struct, frozen=True, gc=False):
    """What an event comes to: the Change, and what is committed with it in one unit."""

    change: Change
    along: tuple[Change | Wake, ...] = ()
    rides: bool = False
    """whether the step arrived at may be run at once and its outcome ride along in this commit"""

    @property
    def unit(self) -> Unit:
        """All of it, as the storage takes it."""
        return (self.change, *self.along)

    def ahead(self, state: State) -> State:
        """Return the state at the riding step, as if this had been committed and its attempt begun."""
        after = state.after(self.change)
        row = _replace(after.row, status=Status.RUNNING, attempt=1, worker=state.row.worker)
        return State(row, after.history, after.signals)


class Draft(Struct):
    """One decision being worked out. Mutable, and gone when it is sealed."""

    workflow: Workflow[Any, Any]
    state: State
    terms: Terms
    status: Status
    step: str | None
    visit: int
    attempt: int
    worker: str | None
    token: int
    pausing: bool
    output: str | None
    error: str | None
    entries: list[Entry] = []
    along: list[Change | Wake] = []
    due: Moment | None = None
    timer: Moment | None = None
    guards_signals: bool = False
    uses: tuple[str, ...] = ()
    discards: tuple[str, ...] = ()
    rides: bool = False

    @classmethod
    def of(cls, workflow: Workflow[Any, Any], state: State, terms: Terms) -> Self:
        """Begin where the execution stands."""
        row = state.row
        return cls(
            workflow,
            state,
            terms,
            row.status,
            row.step,
            row.visit,
            row.attempt,
            row.worker,
            row.token,
            row.pausing,
            row.output,
            row.error,
        )

    @property
    def definition(self) -> Step[Any, Any]:
        """The step where the execution stands, as the workflow defines it."""
        return self.workflow.steps[self.step or ""]

    @property
    def history(self) -> StepHistory | None:
        """What became of that step before this decision."""
        return self.state.step

    def note(
        self,
        kind: Kind,
        *,
        route: str | None = None,
        ref: str | None = None,
        payload: str | None = None,
        worker: str | None = None,
        token: int = 0,
    ) -> None:
        """Write an entry about the step where the execution stands."""
        self.entries.append(
            Entry(kind, self.step, self.visit, self.attempt, worker, token, route, ref, payload, self.terms.change_id)
        )

    def stand(self, status: Status, due: Moment | None) -> None:
        """Stand in *status* from now on, to be looked at when *due*; whoever runs nothing holds no lease."""
        self.status = status
        self.due = due
        if status is not Status.RUNNING:
            self.worker = None

    def back_to_timer(self) -> Moment:
        """Return when the execution is due by itself."""
        at = self.state.row.timer_at
        return NEVER if at is None else Moment(at=at)

    def has_signal(self) -> bool:
        """Tell whether a signal lies there, not used by this decision, for the step where the execution stands."""
        return any(s.step == self.step and s.id not in self.uses for s in self.state.signals)

    def end(self, status: Status) -> None:
        """Come to an end: nothing is due, nobody holds it, what signals are left are discarded, the parent is told."""
        left = [s for s in self.state.signals if s.id not in self.uses]
        terminal = self.entries.pop()
        for signal in left:
            self.entries.append(
                Entry(Kind.SIGNAL_DISCARDED, step=signal.step, ref=signal.id, change=self.terms.change_id)
            )
        self.entries.append(terminal)
        self.discards = tuple(s.id for s in left)
        self.guards_signals = True
        self.stand(status, NEVER)
        self.timer = NEVER
        self.step, self.visit, self.attempt, self.pausing = None, 0, 0, False

    def wake_parent(self) -> None:
        """Tell the parent, in the same commit, that its child has ended."""
        row = self.state.row
        if row.parent is not None:
            entry = Entry(Kind.WOKEN, ref=row.id, route=self.status, change=self.terms.change_id)
            self.along.append(Wake(id=row.parent, entry=entry))

    def seal(self) -> Move:
        """Return what was worked out. Raises IllegalTransition where the table of statuses forbids it."""
        before = self.state.row
        if self.status not in LEGAL[before.status]:
            raise IllegalTransition(before.id, before.status, self.status)
        # A client's signal lies in the same unit: its Deposit guards the counter, and raises it.
        is_with_deposit = bool(self.uses) and before.status is Status.SUSPENDED
        row = _replace(
            before,
            status=self.status,
            step=self.step,
            visit=self.visit,
            attempt=self.attempt,
            revision=before.revision + len(self.entries),
            token=self.token,
            worker=self.worker,
            pausing=self.pausing,
            output=self.output,
            error=self.error,
        )
        change = Change(
            id=self.terms.change_id,
            row=row,
            expects=before.revision,
            entries=tuple(self.entries),
            due=self.due,
            timer=self.timer,
            signals=before.signals if self.guards_signals and not is_with_deposit else None,
            uses=self.uses,
            discards=self.discards,
        )
        return Move(change, tuple(self.along), self.rides)
