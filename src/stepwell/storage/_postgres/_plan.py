"""Units of more than one part, decided under lock: which of them go through, and what each row becomes.

Every part is applied to the row as the parts before it leave it; guards look at the row as it was before the unit. What
is written is each row once, as the last part that touched it left it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, assert_never

from msgspec import Struct
from msgspec.structs import replace

from stepwell._model import Change, Deposit, Entry, SignalState, Status, Unit, Wake
from stepwell.storage._postgres._times import time_of

__all__ = ["Plan", "Standing", "ids_of", "signals_of"]


class Standing(Struct, frozen=True, gc=False):
    """What of a row may change, and what its guards look at."""

    id: str
    revision: int
    signals: int
    status: str
    step: str | None
    visit: int
    attempt: int
    token: int
    due_at: int | None
    timer_at: int | None
    worker: str | None
    pausing: bool
    output: str | None
    error: str | None
    updated_at: int
    ended_at: int | None

    @property
    def is_ended(self) -> bool:
        """Whether it is terminal."""
        return self.ended_at is not None


class _Refused(Exception):  # not an error: the way out of a unit whose guard doesn't hold
    pass


class _Effects:
    """What one unit writes, or all of them."""

    def __init__(self) -> None:
        self.rows: dict[str, Standing] = {}
        self.created: dict[str, Change] = {}
        self.lines: list[dict[str, Any]] = []
        self.signals: list[dict[str, Any]] = []
        self.marks: list[dict[str, Any]] = []

    def mark(self, execution: str, id: str, state: SignalState) -> None:
        """Mark a signal; one that this unit lays down is written so: an update in the same statement misses it."""
        for laid in self.signals:
            if (laid["execution_id"], laid["id"]) == (execution, id):
                laid["state"] = state.value
                return
        self.marks.append({"execution_id": execution, "id": id, "state": state.value})

    def add(self, other: _Effects) -> None:
        """Take in what an accepted unit writes."""
        self.rows.update(other.rows)
        self.created.update(other.created)
        self.lines += other.lines
        self.signals += other.signals
        self.marks += other.marks


class Plan:
    """Built unit by unit; no two of them touch the same execution."""

    def __init__(self, standings: dict[str, Standing], taken: Collection[tuple[str, str]], now: int) -> None:
        """Decide on rows as they stand, locked, and on signal ids that are *taken*; *now* is the storage's time."""
        self._standings = standings
        self._taken = taken
        self._now = now
        self._all = _Effects()

    def add(self, unit: Unit) -> bool:
        """Take in *unit*, unless one of its guards doesn't hold."""
        effects = _Effects()
        try:
            for part in unit:
                match part:
                    case Change():
                        self._change(part, effects)
                    case Wake():
                        self._wake(part, effects)
                    case Deposit():
                        self._deposit(part, effects)
                    case _:
                        assert_never(part)
        except _Refused:
            return False
        self._all.add(effects)
        return True

    def _now_of(self, id: str, effects: _Effects) -> Standing | None:
        return effects.rows.get(id) or self._standings.get(id)

    def _change(self, change: Change, effects: _Effects) -> None:
        row = change.row
        guarded, before = self._standings.get(row.id), self._now_of(row.id, effects)
        revision, signals = (0, 0) if guarded is None else (guarded.revision, guarded.signals)
        if change.expects != revision or change.signals not in (None, signals):
            raise _Refused
        due_at, timer_at = (None, None) if before is None else (before.due_at, before.timer_at)
        if before is None:
            effects.created[row.id] = change
        effects.rows[row.id] = Standing(
            id=row.id,
            revision=revision + len(change.entries),
            signals=0 if before is None else before.signals,
            status=row.status.value,
            step=row.step,
            visit=row.visit,
            attempt=row.attempt,
            token=row.token,
            due_at=due_at if change.due is None else time_of(change.due, self._now),
            timer_at=timer_at if change.timer is None else time_of(change.timer, self._now),
            worker=row.worker,
            pausing=row.pausing,
            output=row.output,
            error=row.error,
            updated_at=self._now,
            ended_at=self._now if row.status.is_terminal else None,
        )
        effects.lines += [
            self._line(row.id, seq, one, change.id) for seq, one in enumerate(change.entries, revision + 1)
        ]
        for ids, state in ((change.uses, SignalState.USED), (change.discards, SignalState.DISCARDED)):
            for id in ids:
                effects.mark(row.id, id, state)

    def _wake(self, wake: Wake, effects: _Effects) -> None:
        before = self._now_of(wake.id, effects)
        if before is None or before.is_ended:
            return
        revision = before.revision + 1
        due_at = self._now if before.status == Status.SUSPENDED.value else before.due_at
        effects.rows[wake.id] = replace(before, revision=revision, due_at=due_at, updated_at=self._now)
        effects.lines.append(self._line(wake.id, revision, wake.entry, wake.entry.change))

    def _deposit(self, deposit: Deposit, effects: _Effects) -> None:
        guarded, before = self._standings.get(deposit.id), self._now_of(deposit.id, effects)
        signal = deposit.signal
        if guarded is None or before is None or guarded.is_ended or guarded.signals != deposit.expects:
            raise _Refused
        if (deposit.id, signal.id) in self._taken:
            raise _Refused
        is_awaited = before.status == Status.SUSPENDED.value and before.step == signal.step
        signals = before.signals + 1
        effects.rows[deposit.id] = replace(before, signals=signals, due_at=self._now if is_awaited else before.due_at)
        effects.signals.append(
            {
                "execution_id": deposit.id,
                "id": signal.id,
                "position": signals,
                "at": self._now,
                "step": signal.step,
                "state": SignalState.PENDING.value,
                "payload": signal.payload,
            }
        )

    def _line(self, id: str, seq: int, entry: Entry, change: str) -> dict[str, Any]:
        return {
            "execution_id": id,
            "seq": seq,
            "at": self._now,
            "change": change,
            "kind": entry.kind.value,
            "step": entry.step,
            "visit": entry.visit,
            "attempt": entry.attempt,
            "worker": entry.worker,
            "token": entry.token,
            "route": entry.route,
            "ref": entry.ref,
            "payload": entry.payload,
        }

    @property
    def created(self) -> list[dict[str, Any]]:
        """Rows to insert."""
        return [_new_row(change, self._all.rows[id]) for id, change in self._all.created.items()]

    @property
    def changed(self) -> list[Standing]:
        """Rows to update."""
        return [standing for id, standing in self._all.rows.items() if id not in self._all.created]

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Journal entries to insert."""
        return self._all.lines

    @property
    def signals(self) -> list[dict[str, Any]]:
        """Signals to insert."""
        return self._all.signals

    @property
    def marks(self) -> list[dict[str, Any]]:
        """Signals that are used up."""
        return self._all.marks


def _new_row(change: Change, standing: Standing) -> dict[str, Any]:
    row = change.row
    identity = {
        "workflow": row.workflow,
        "version": row.version,
        "parent": row.parent,
        "tags": row.tags,
        "metadata": row.metadata,
        "input": row.input,
    }
    return {**{name: getattr(standing, name) for name in Standing.__struct_fields__}, **identity}


def ids_of(unit: Unit) -> list[str]:
    """Return the executions that a unit touches."""
    return [part.row.id if isinstance(part, Change) else part.id for part in unit]


def signals_of(unit: Unit) -> list[tuple[str, str]]:
    """Return the signals that a unit lays down: execution and id."""
    return [(part.id, part.signal.id) for part in unit if isinstance(part, Deposit)]
