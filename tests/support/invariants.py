"""What must hold after every commit, read from the rows and journals alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepwell._history import History
from stepwell._model import LEGAL, Entry, Kind, Row, SignalState, Status

if TYPE_CHECKING:
    from tests.support.driver import Driver

__all__ = ["check"]

_ENDS = frozenset({Kind.SUCCEEDED, Kind.FAILED, Kind.CANCELLED})
_ENDED_ATTEMPT = frozenset(
    {Kind.STEP_SUCCEEDED, Kind.STEP_ROUTED, Kind.STEP_RETRY, Kind.STEP_FAILED, Kind.STEP_SUSPENDED}
    | {Kind.STEP_RESUMED, Kind.STEP_INTERRUPTED}
)
_SUCCESSES = frozenset({Kind.STEP_SUCCEEDED, Kind.STEP_ROUTED, Kind.STEP_RESUMED})


def check(driver: Driver, id: str) -> None:
    """Raise AssertionError where a promise about this execution is broken."""
    row, journal = driver.rows[id], driver.journals[id]
    assert all(after in LEGAL[before] for before, after in driver.pairs), driver.pairs
    _check_journal(row, journal)
    history = History.of(journal)
    assert history.matches(row), (history, row)
    assert history == driver.histories[id], "folding on is folding from the first entry"
    _check_attempts(journal)
    _check_standing(driver, row)
    _check_signals(driver, row, journal)


def _check_journal(row: Row, journal: list[Entry]) -> None:
    assert [entry.seq for entry in journal] == list(range(1, len(journal) + 1)), "gapless"
    assert row.revision == len(journal), "the revision is the last entry's seq"
    assert journal[0].kind is Kind.CREATED
    assert row.status.is_terminal == (row.step is None)
    ends = 0
    for entry in journal:
        if entry.kind is Kind.RESUMED:
            ends = 0
        ends += entry.kind in _ENDS
    assert ends == row.status.is_terminal, "one terminal entry since the last resume"
    successes = [(entry.step, entry.visit) for entry in journal if entry.kind in _SUCCESSES]
    assert len(successes) == len(set(successes)), "a visit succeeds once"
    children = [entry.ref for entry in journal if entry.kind is Kind.STEP_SUSPENDED and entry.ref]
    assert len(children) == len(set(children)), "one child per visit"


def _check_attempts(journal: list[Entry]) -> None:
    """The attempts of a visit that began are numbered from 1, without gaps."""
    last: dict[tuple[str | None, int], int] = {}
    current: tuple[tuple[str | None, int], int] | None = None
    for entry in journal:
        visit = (entry.step, entry.visit)
        if entry.kind is Kind.STEP_STARTED or (entry.kind is Kind.CLAIMED and entry.ref != Status.SUSPENDED):
            if current is not None:  # lost
                last[current[0]] = current[1]
            assert entry.attempt == last.get(visit, 0) + 1, _shown(journal)
            current = (visit, entry.attempt)
        elif entry.kind is Kind.RESUMED and entry.payload is not None and entry.ref == Status.SUSPENDED:
            last[visit] = entry.attempt  # a wait that failed is open again, which is its next attempt
        elif entry.kind in {Kind.RELEASED, Kind.PAUSED}:
            current = None  # taken back, or ended before
        elif entry.kind in _ENDED_ATTEMPT:
            assert entry.attempt - last.get(visit, 0) in {0, 1}, _shown(journal)
            last[visit], current = entry.attempt, None


def _check_standing(driver: Driver, row: Row) -> None:
    """Nobody is forgotten: what lives is due, leased, paused, or has somebody who will wake it."""
    assert (row.worker is not None) == (row.status is Status.RUNNING)
    assert not row.pausing or row.status is Status.RUNNING
    match row.status:
        case Status.QUEUED | Status.WAITING | Status.RUNNING:
            assert row.due_at is not None, row
        case Status.SUSPENDED:
            _check_suspended(driver, row)
        case _:
            assert row.due_at is None, row


def _check_suspended(driver: Driver, row: Row) -> None:
    step = driver.histories[row.id].steps[row.step or ""]
    assert step.is_open
    is_due = row.due_at is not None and row.due_at <= driver.now
    if step.child is not None:
        child = driver.rows[step.child]
        assert child.parent == row.id
        assert is_due or not child.status.is_terminal, "whose child has ended is due"
        return
    is_timed = row.timer_at is None or (row.due_at is not None and row.due_at <= max(row.timer_at, driver.now))
    assert is_timed, (row, driver.now)
    waiting = [s for s in driver.signals[row.id].values() if s.state is SignalState.PENDING and s.step == row.step]
    assert is_due or not waiting, "whose signal lies there is due"


def _check_signals(driver: Driver, row: Row, journal: list[Entry]) -> None:
    signals = driver.signals[row.id]
    assert row.signals == len(signals)
    waits = {step.name for step in driver.workflow_of(row.id).steps.values() if step.kind == "wait"}
    used = [entry.ref for entry in journal if entry.kind is Kind.STEP_RESUMED and entry.step in waits and entry.ref]
    discarded = [entry.ref for entry in journal if entry.kind is Kind.SIGNAL_DISCARDED]
    assert sorted(used) == sorted(s.id for s in signals.values() if s.state is SignalState.USED)
    assert sorted(map(str, discarded)) == sorted(s.id for s in signals.values() if s.state is SignalState.DISCARDED)
    if row.status.is_terminal:
        assert all(s.state is not SignalState.PENDING for s in signals.values()), "what is left over is discarded"


def _shown(journal: list[Entry]) -> str:
    return "\n".join(
        f"{e.seq} {e.kind.value} {e.step} visit {e.visit} attempt {e.attempt} {e.ref or ''}" for e in journal
    )
