"""The row: what the journal says, where the execution stands, and its signals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stepwell._invariants._breach import Breach
from stepwell._invariants._journal import ENDS
from stepwell._model import TERMINAL, Entry, Kind, Row, Signal, SignalState, Status, Stored
from stepwell._transition import failure_error, value_error

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stepwell._history import History

__all__ = ["check_row", "check_signals", "check_standing", "is_due"]

_MAX_SHOWN: Final = 80
"""characters of a value that are told"""
_DUE: Final = frozenset({Status.QUEUED, Status.RUNNING, Status.WAITING})


def check_row(stored: Stored, history: History) -> Iterator[Breach]:
    """The row says exactly what folding the journal gives."""
    row, status = stored.row, history.status
    end = next((e for e in reversed(stored.journal) if e.kind in ENDS), None) if status in TERMINAL else None
    told = {
        "status": status,
        "step": history.step,
        "visit": history.visit,
        "attempt": history.attempt,
        "token": history.token,
        "worker": history.worker,
        "pausing": history.pausing,
        "output": end.payload if end is not None and status is Status.SUCCEEDED else None,
        "error": _error(end, stored.journal) if end is not None and status is Status.FAILED else None,
        "created_at": stored.journal[0].at,
        "ended_at": None if end is None else end.at,
    }
    wrong = [name for name, value in told.items() if getattr(row, name) != value]
    if wrong:
        yield Breach.of(
            "row",
            row.id,
            f"what its journal comes to, {', '.join(f'{name}={_shown(told[name])}' for name in wrong)}",
            ", ".join(f"{name}={_shown(getattr(row, name))}" for name in wrong),
        )


def _error(end: Entry, journal: Sequence[Entry]) -> str | None:
    """Return the error of an execution that failed: a `fail` step's value, or what the last step failed with."""
    if end.payload is not None:
        return value_error(end.step or "", end.payload)
    failed = next((entry for entry in reversed(journal) if entry.kind is Kind.STEP_FAILED), None)
    return None if failed is None else failure_error(failed.step or "", failed.payload or "null")


def _shown(value: Any) -> str:
    text = repr(value.value if isinstance(value, Status) else value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


def is_due(row: Row, now: int) -> bool:
    """Tell whether a worker would look at it now."""
    return row.due_at is not None and row.due_at <= now


def check_standing(stored: Stored, history: History) -> Iterator[Breach]:
    """Nobody is forgotten: what lives is due, leased, paused, or has somebody in the store who will wake it."""
    row = stored.row
    if row.status in TERMINAL:
        if row.due_at is not None or row.timer_at is not None:
            yield Breach.of("final", row.id, f"no due time of what has {row.status}", f"{row.due_at}, {row.timer_at}")
    elif row.status is Status.PAUSED:
        if row.due_at is not None:
            yield Breach.of("paused", row.id, "no due time of what is paused", str(row.due_at))
    elif row.status in _DUE:
        if row.due_at is None:
            yield Breach.of("stranded", row.id, f"a due time of what is {row.status}", "none")
    elif not is_due(row, stored.now):
        yield from _suspended(stored, history)


def _suspended(stored: Stored, history: History) -> Iterator[Breach]:
    """A wait that isn't due has its timer, if it has a timeout, and no signal that it could use."""
    row = stored.row
    known = history.steps.get(row.step or "")
    if known is not None and known.child is not None:
        return  # its child wakes it
    if row.timer_at is not None and (row.due_at is None or row.due_at > max(row.timer_at, stored.now)):
        yield Breach.of("stranded", row.id, f"to be due at its timeout, {row.timer_at}", f"due {row.due_at}")
    for signal in stored.signals:
        if signal.step == row.step and signal.state is SignalState.PENDING:
            expected = f"to be due, for signal {signal.id!r} lies there for {row.step!r}"
            yield Breach.of("stranded", row.id, expected, f"due {row.due_at}, and it is {stored.now}")


def check_signals(stored: Stored) -> Iterator[Breach]:
    """Each accepted signal is pending, or used or discarded by exactly one entry; at the end none is pending."""
    row = stored.row
    if row.signals != len(stored.signals):
        yield Breach.of("counted", row.id, f"as many signals as were counted, {row.signals}", str(len(stored.signals)))
    children = {entry.ref for entry in stored.journal if entry.kind is Kind.STEP_SUSPENDED and entry.ref is not None}
    used = [e for e in stored.journal if e.kind is Kind.STEP_RESUMED and e.ref is not None and e.ref not in children]
    discarded = [entry for entry in stored.journal if entry.kind is Kind.SIGNAL_DISCARDED]
    signals = {signal.id: signal for signal in stored.signals}
    yield from _accounted(row, used, signals, SignalState.USED)
    yield from _accounted(row, discarded, signals, SignalState.DISCARDED)
    for signal in stored.signals:
        if signal.state is SignalState.PENDING and row.status in TERMINAL:
            expected = f"no signal to be left of what has {row.status}"
            yield Breach.of("pending", row.id, expected, f"{signal.id!r} for {signal.step!r}")


def _accounted(row: Row, entries: list[Entry], signals: dict[str, Signal], state: SignalState) -> Iterator[Breach]:
    """One entry for each signal in this state, about its step and, where it was used, with its payload."""
    rule = state.value
    told: set[str | None] = set()
    for entry in entries:
        signal = signals.get(entry.ref or "")
        if entry.ref in told:
            yield Breach.of(rule, row.id, f"one entry of signal {entry.ref!r}", "another", entry.seq)
        elif signal is None or signal.state is not state:
            found = "no such signal" if signal is None else signal.state.value
            yield Breach.of(rule, row.id, f"signal {entry.ref!r} to be {state}", found, entry.seq)
        elif signal.step != entry.step or (state is SignalState.USED and signal.payload != entry.payload):
            expected = f"signal {signal.id!r} for {signal.step!r} as it was sent"
            yield Breach.of(rule, row.id, expected, f"one for {entry.step!r}, or another payload", entry.seq)
        told.add(entry.ref)
    for signal in signals.values():
        if signal.state is state and signal.id not in told:
            yield Breach.of(rule, row.id, f"an entry that says so of signal {signal.id!r}, {state}", "none")
