"""What an execution's journal says when it is read from the first entry to the last.

The journal is the truth; the row only repeats where the execution stands. `History.of(journal)` must give exactly the
row's status, step, visit, attempt, revision, token, worker and pausing flag, and every step's state besides.

Two readings are not written down as entries of their own:

- a claim that found the execution running follows an attempt that nobody ended: that attempt was lost;
- a claim that found it suspended begins no attempt: the worker only looks whether the wait is over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Self

import msgspec
from msgspec import Struct

from stepwell._errors import ExecutionUnreadable
from stepwell._failure import failure_of
from stepwell._model import Entry, Kind, Row, Status, Stored

__all__ = ["History", "StepHistory", "folded"]

_fields: Final = msgspec.structs.astuple
_replace: Final = msgspec.structs.replace


SUSPECT_FROM: Final = 2
"""attempts of a visit that are lost before the step is suspected of taking its workers down"""


class StepHistory(Struct, frozen=True, kw_only=True, gc=False):
    """What became of one step so far. Counts are of the current visit."""

    name: str
    status: Status
    visits: int
    attempts: int = 0
    """number of the last attempt"""
    spent: int = 0
    """attempts that used up the retry budget: those that failed, not those that were lost or drained"""
    lost: int = 0
    """attempts whose worker disappeared"""
    allowance: int | None = None
    """attempts granted by a resume, in place of the step's own retry budget"""
    output: str | None = None
    """of the last visit that succeeded; a wait's is the signal, a subworkflow's the child's outcome"""
    error: str | None = None
    """the last attempt's failure, unless it succeeded"""
    route: str | None = None
    child: str | None = None
    is_open: bool = False
    """whether this visit was suspended before: a wait then has its timer, a subworkflow its child"""
    started_at: int | None = None
    ended_at: int | None = None
    succeeded: int = 0
    """`seq` of the entry that recorded the success; orders the outputs"""

    @property
    def is_suspect(self) -> bool:
        """Whether its workers may have disappeared because of it: one of those runs at a time."""
        return self.lost >= SUSPECT_FROM


class History(Struct, frozen=True, gc=False):
    """An execution's journal, folded."""

    status: Status = Status.QUEUED
    step: str | None = None
    visit: int = 0
    attempt: int = 0
    revision: int = 0
    token: int = 0
    worker: str | None = None
    pausing: bool = False
    found: Status | None = None
    """the status that the last claim found, or that the pause will go back to"""
    has_lost: bool = False
    """whether any attempt of this execution was ever lost"""
    is_woken: bool = False
    """whether a child ended since the last claim"""
    failed_step: str | None = None
    """the step whose failure ended it"""
    steps: dict[str, StepHistory] = {}

    @classmethod
    def of(cls, journal: Iterable[Entry]) -> Self:
        """Fold a journal from its first entry."""
        return cls().after(journal)

    def after(self, entries: Iterable[Entry]) -> Self:
        """Return the history with *entries* read on top. This one stays as it is."""
        fold = _Fold(*_fields(self))
        fold.steps = self.steps.copy()
        for entry in entries:
            fold.read(entry)
        return type(self)(*_fields(fold))

    def matches(self, row: Row) -> bool:
        """Tell whether *row* says exactly what the journal says."""
        return (
            self.status is row.status
            and self.step == row.step
            and self.visit == row.visit
            and self.attempt == row.attempt
            and self.revision == row.revision
            and self.token == row.token
            and self.worker == row.worker
            and self.pausing == row.pausing
        )

    def succeeded(self) -> list[StepHistory]:
        """Return the steps that have an output, in the order in which they last succeeded."""
        return sorted((s for s in self.steps.values() if s.output is not None), key=lambda s: s.succeeded)


def folded(stored: Stored) -> History:
    """Fold what a storage holds. Raises ExecutionUnreadable where the journal says what no journal can say."""
    try:
        return History.of(stored.journal)
    except (LookupError, TypeError, ValueError) as error:
        raise ExecutionUnreadable(stored.row.id, f"its journal: {failure_of(error).summary}") from error


class _Fold(Struct, gc=False):
    """A history in the making: the one mutable thing here, and it never leaves this module. Its fields are the same."""

    status: Status
    at: str | None
    visit: int
    attempt: int
    revision: int
    token: int
    worker: str | None
    pausing: bool
    found: Status | None
    has_lost: bool
    is_woken: bool
    failed_step: str | None
    steps: dict[str, StepHistory]

    def read(self, entry: Entry) -> None:
        self.revision += 1
        if entry.token:
            self.token = entry.token
        _READ[entry.kind](self, entry)

    def stand(self, entry: Entry, status: Status, worker: str | None = None) -> None:
        """The execution now stands where the entry says."""
        self.status, self.at, self.visit, self.attempt = status, entry.step, entry.visit, entry.attempt
        if status is not Status.RUNNING:
            self.worker = None
        elif worker is not None:
            self.worker = worker

    def end(self, status: Status) -> None:
        """The execution has come to an end."""
        self.status, self.at, self.visit, self.attempt = status, None, 0, 0
        self.worker, self.pausing = None, False

    def known(self, entry: Entry, status: Status) -> StepHistory:
        """Return what is known of the entry's step; nothing, but for the output, where it is the first of a visit."""
        name = entry.step or ""
        known = self.steps.get(name)
        if known is None:
            return StepHistory(name=name, status=status, visits=entry.visit)
        if known.visits == entry.visit:
            return known
        return StepHistory(name=name, status=status, visits=entry.visit, output=known.output, succeeded=known.succeeded)

    def step(self, entry: Entry, status: Status, **more: object) -> None:
        """Bring the entry's step up to date."""
        known = self.known(entry, status)
        self.steps[known.name] = _replace(known, status=status, attempts=entry.attempt, **more)

    def begin(self, entry: Entry) -> None:
        """An attempt of the entry's step runs from now on: what `step` does, without a detour."""
        known = self.known(entry, Status.RUNNING)
        self.steps[known.name] = _replace(
            known, status=Status.RUNNING, attempts=entry.attempt, started_at=_begun(known, entry)
        )


def _read_created(fold: _Fold, entry: Entry) -> None:
    fold.stand(entry, Status.QUEUED)


def _read_claimed(fold: _Fold, entry: Entry) -> None:
    found = Status(entry.ref or "")
    fold.stand(entry, Status.RUNNING, entry.worker)
    fold.found = found
    fold.is_woken = False
    if found is Status.RUNNING:
        fold.has_lost = True
        fold.step(entry, Status.RUNNING, lost=fold.known(entry, Status.RUNNING).lost + 1)
    fold.begin(entry)


def _read_started(fold: _Fold, entry: Entry) -> None:
    fold.stand(entry, Status.RUNNING, entry.worker)
    fold.found = None
    fold.begin(entry)


def _begun(known: StepHistory, entry: Entry) -> int:
    return entry.at if known.started_at is None else known.started_at


def _read_released(fold: _Fold, entry: Entry) -> None:
    status = Status(entry.ref or "")
    fold.stand(entry, status)
    fold.step(entry, status)


def _read_queued(fold: _Fold, entry: Entry) -> None:
    fold.stand(entry, Status.QUEUED)
    fold.step(entry, Status.QUEUED)


def _read_pausing(fold: _Fold, _entry: Entry) -> None:
    fold.pausing = True


def _read_paused(fold: _Fold, entry: Entry) -> None:
    back = Status(entry.ref or "")
    fold.stand(entry, Status.PAUSED)
    fold.pausing = False
    fold.found = back
    fold.step(entry, back)


def _read_resumed(fold: _Fold, entry: Entry) -> None:
    status = Status(entry.ref or "")
    fold.stand(entry, status)
    fold.failed_step = None
    fold.pausing = False
    if entry.payload is None:
        fold.step(entry, status)
    else:
        is_open = fold.known(entry, status).is_open or status is Status.SUSPENDED
        fold.step(entry, status, allowance=int(entry.payload), spent=0, lost=0, ended_at=None, is_open=is_open)


def _read_ended(fold: _Fold, entry: Entry) -> None:
    status = Status.SUCCEEDED if entry.kind is Kind.SUCCEEDED else Status.FAILED
    if entry.payload is not None:  # a terminal step's own value; where a step failed, that step's entry has it
        fold.step(entry, Status.SUCCEEDED, ended_at=entry.at)
    fold.end(status)


def _read_cancelled(fold: _Fold, entry: Entry) -> None:
    fold.step(entry, Status.CANCELLED, ended_at=entry.at)
    fold.end(Status.CANCELLED)


def _read_succeeded(fold: _Fold, entry: Entry) -> None:
    fold.step(entry, Status.SUCCEEDED, output=entry.payload, error=None, ended_at=entry.at, succeeded=fold.revision)


def _read_routed(fold: _Fold, entry: Entry) -> None:
    fold.step(entry, Status.SUCCEEDED, route=entry.route, error=None, ended_at=entry.at)


def _read_retry(fold: _Fold, entry: Entry) -> None:
    spent = fold.known(entry, Status.WAITING).spent + 1
    fold.step(entry, Status.WAITING, error=entry.payload, spent=spent)
    fold.stand(entry, Status.WAITING)


def _read_failed(fold: _Fold, entry: Entry) -> None:
    spent = fold.known(entry, Status.FAILED).spent + 1
    fold.step(entry, Status.FAILED, error=entry.payload, route=entry.route, ended_at=entry.at, spent=spent)
    if entry.route is None:
        fold.failed_step = entry.step


def _read_suspended(fold: _Fold, entry: Entry) -> None:
    fold.stand(entry, Status.SUSPENDED)
    started = _begun(fold.known(entry, Status.SUSPENDED), entry)
    fold.step(entry, Status.SUSPENDED, child=entry.ref, is_open=True, started_at=started)


def _read_step_resumed(fold: _Fold, entry: Entry) -> None:
    more = {} if entry.payload is None else {"output": entry.payload, "succeeded": fold.revision}
    fold.step(entry, Status.SUCCEEDED, route=entry.route, error=None, ended_at=entry.at, **more)


def _read_interrupted(fold: _Fold, entry: Entry) -> None:
    fold.stand(entry, Status.QUEUED)
    fold.step(entry, Status.QUEUED)


def _read_woken(fold: _Fold, _entry: Entry) -> None:
    fold.is_woken = True


def _read_nothing(_fold: _Fold, _entry: Entry) -> None:
    """A discarded signal only raises the revision."""


_READ: Final[dict[Kind, Callable[[_Fold, Entry], None]]] = {
    Kind.CREATED: _read_created,
    Kind.CLAIMED: _read_claimed,
    Kind.RELEASED: _read_released,
    Kind.QUEUED: _read_queued,
    Kind.PAUSING: _read_pausing,
    Kind.PAUSED: _read_paused,
    Kind.RESUMED: _read_resumed,
    Kind.WOKEN: _read_woken,
    Kind.SUCCEEDED: _read_ended,
    Kind.FAILED: _read_ended,
    Kind.CANCELLED: _read_cancelled,
    Kind.SIGNAL_DISCARDED: _read_nothing,
    Kind.STEP_STARTED: _read_started,
    Kind.STEP_SUCCEEDED: _read_succeeded,
    Kind.STEP_ROUTED: _read_routed,
    Kind.STEP_RETRY: _read_retry,
    Kind.STEP_FAILED: _read_failed,
    Kind.STEP_SUSPENDED: _read_suspended,
    Kind.STEP_RESUMED: _read_step_resumed,
    Kind.STEP_INTERRUPTED: _read_interrupted,
}
