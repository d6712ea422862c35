"""Commits units: looks at every guard first, then writes what was accepted, in a handful of statements.

Runs under the database's write lock, so what was looked at stays true until it is written; nothing that is refused has
to be undone. The guard stands in each UPDATE all the same, and the number of rows that it found is compared.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, Final, assert_never

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from stepwell._model import TERMINAL, Change, Deposit, Entry, SignalState, Status, Unit, Wake
from stepwell.storage._protocol import StorageError
from stepwell.storage._sqlite._rows import json
from stepwell.storage._sqlite._statements import Many, insert, update
from stepwell.storage._sqlite._times import time_of

__all__ = ["commit"]

_CREATE: Final = insert(
    "executions",
    (
        *("id", "workflow", "version", "status", "step", "visit", "attempt", "revision", "token", "due_at"),
        *("timer_at", "worker", "pausing", "signals", "parent", "tags", "metadata", "output", "error"),
        *("created_at", "updated_at", "ended_at"),
    ),
)
_INPUT: Final = insert("inputs", ("execution_id", "input"))
_CHANGE: Final = update(
    "executions",
    (
        *("status", "step", "visit", "attempt", "revision", "token", "due_at", "timer_at", "worker", "pausing"),
        *("output", "error", "updated_at", "ended_at"),
    ),
    key=("id", "revision"),
    index="executions_id",
)
_GO_ON: Final = update(
    "executions",
    ("step", "visit", "attempt", "revision", "timer_at", "pausing", "output", "error", "updated_at"),
    key=("id", "revision"),
    index="executions_id",
)
"""For a Change that goes on under its lease: it names no column of an index, and each index that it spares is a page
less to rewrite."""
_WAKE: Final = update("executions", ("revision", "due_at", "updated_at"), key=("id", "revision"), index="executions_id")
_DEPOSIT: Final = update("executions", ("signals", "due_at"), key=("id", "signals"), index="executions_id")
_JOURNAL: Final = insert(
    "journal",
    (
        *("execution_id", "seq", "kind", "step", "visit", "attempt", "worker", "token", "route", "ref"),
        *("payload", "change", "at"),
    ),
)
_SIGNAL: Final = insert("signals", ("execution_id", "id", "position", "step", "payload", "state", "at"))
_MARK: Final = update("signals", ("state",), key=("execution_id", "id"))

_ORDER: Final = (_CREATE, _INPUT, _CHANGE, _GO_ON, _WAKE, _DEPOSIT, _JOURNAL, _SIGNAL, _MARK)

_STANDINGS: Final = """
    SELECT json_group_array(json_array(id, revision, signals, status, step, due_at, timer_at, token, worker))
      FROM executions INDEXED BY executions_id
     WHERE id IN (SELECT value FROM json_each(?))
"""
_TAKEN: Final = """
    SELECT signals.execution_id, signals.id
      FROM json_each(?) AS sent CROSS JOIN signals
     WHERE signals.execution_id = json_extract(sent.value, '$[0]') AND signals.id = json_extract(sent.value, '$[1]')
"""


_ENDED: Final = frozenset(status.value for status in TERMINAL)
_RUNNING: Final = Status.RUNNING.value
_SUSPENDED: Final = Status.SUSPENDED.value

_Write = tuple[Many, tuple[Any, ...]]


class _Standing(Struct, frozen=True, array_like=True, gc=False):
    """What the guards look at, and what stays where a Change leaves it alone; read as `_STANDINGS` tells it."""

    id: str
    revision: int
    signals: int
    status: str
    step: str | None
    due_at: int | None
    timer_at: int | None
    token: int
    worker: str | None


_FOUND: Final = msgspec.json.Decoder(list[_Standing])


def commit(connection: sqlite3.Connection, units: Sequence[Unit], now: int) -> list[bool]:
    """Write those *units* whose guards hold; tell of each whether it did."""
    plan = _Plan(connection, units, now)
    results = [plan.add(unit) for unit in units]
    plan.write(connection)
    return results


class _Plan:
    """What will be written. Built unit by unit: each sees what the ones before it will have written."""

    def __init__(self, connection: sqlite3.Connection, units: Sequence[Unit], now: int) -> None:
        self._now = now
        self._standings = _standings(connection, units)
        self._taken = _taken(connection, units)
        self._at_once: dict[Many, list[tuple[Any, ...]]] = {statement: [] for statement in _ORDER}
        self._in_order: list[_Write] = []

    def add(self, unit: Unit) -> bool:
        """Plan *unit*, unless one of its guards doesn't hold."""
        after: dict[str, _Standing] = {}
        writes: list[_Write] = []
        touches = 0
        for part in unit:
            match part:
                case Change():
                    id = part.row.id
                    standing = self._change(part, after.get(id) or self._standings.get(id), writes)
                case Wake():
                    id = part.id
                    before = after.get(id) or self._standings.get(id)
                    if before is None or before.status in _ENDED:
                        continue
                    standing = self._wake(part, before, writes)
                case Deposit():
                    id = part.id
                    standing = self._deposit(part, after.get(id) or self._standings.get(id), writes)
                case _:
                    assert_never(part)
            if standing is None:
                return False
            after[id] = standing
            touches += 1
        self._standings.update(after)
        if len(after) == touches:
            for statement, row in writes:
                self._at_once[statement].append(row)
        else:  # two parts of it touch one execution: a later write depends on an earlier one
            self._in_order.extend(writes)
        return True

    def write(self, connection: sqlite3.Connection) -> None:
        """Write all that was planned."""
        for statement, rows in self._at_once.items():
            if rows:
                _write(connection, statement, rows)
        for statement, row in self._in_order:
            _write(connection, statement, [row])

    def _change(self, change: Change, before: _Standing | None, writes: list[_Write]) -> _Standing | None:
        row = change.row
        revision, signals = (0, 0) if before is None else (before.revision, before.signals)
        if change.expects != revision or change.signals not in (None, signals):
            return None
        now = self._now
        due_at, timer_at = (None, None) if before is None else (before.due_at, before.timer_at)
        if change.due is not None:
            due_at = time_of(change.due, now)
        if change.timer is not None:
            timer_at = time_of(change.timer, now)
        status = row.status.value
        ended_at = now if status in _ENDED else None
        after = revision + len(change.entries)
        pausing = int(row.pausing)
        stands = (status, row.step, row.visit, row.attempt, after, row.token, due_at, timer_at, row.worker, pausing)
        outcome = (row.output, row.error)
        if before is None:
            identity = (row.id, row.workflow, row.version)
            searched = (row.parent, json(row.tags), json(row.metadata))
            writes.append((_CREATE, (*identity, *stands, 0, *searched, *outcome, now, now, ended_at)))
            writes.append((_INPUT, (row.id, row.input)))
        elif _goes_on(change, before):
            goes_on = (row.step, row.visit, row.attempt, after, timer_at, pausing, *outcome, now)
            writes.append((_GO_ON, (*goes_on, row.id, revision)))
        else:
            writes.append((_CHANGE, (*stands, *outcome, now, ended_at, row.id, revision)))
        for seq, entry in enumerate(change.entries, revision + 1):
            writes.append((_JOURNAL, _line(row.id, seq, entry, change.id, now)))
        writes.extend((_MARK, (SignalState.USED.value, row.id, signal)) for signal in change.uses)
        writes.extend((_MARK, (SignalState.DISCARDED.value, row.id, signal)) for signal in change.discards)
        return _Standing(row.id, after, signals, status, row.step, due_at, timer_at, row.token, row.worker)

    def _wake(self, wake: Wake, before: _Standing, writes: list[_Write]) -> _Standing:
        revision = before.revision + 1
        due_at = self._now if before.status == _SUSPENDED else before.due_at
        writes.append((_WAKE, (revision, due_at, self._now, wake.id, before.revision)))
        writes.append((_JOURNAL, _line(wake.id, revision, wake.entry, wake.entry.change, self._now)))
        return replace(before, revision=revision, due_at=due_at)

    def _deposit(self, deposit: Deposit, before: _Standing | None, writes: list[_Write]) -> _Standing | None:
        if before is None or before.status in _ENDED or before.signals != deposit.expects:
            return None
        signal = deposit.signal
        if (deposit.id, signal.id) in self._taken:
            return None
        self._taken.add((deposit.id, signal.id))  # no other unit of this call touches the execution
        signals = before.signals + 1
        is_awaited = before.status == _SUSPENDED and before.step == signal.step
        due_at = self._now if is_awaited else before.due_at
        state = SignalState.PENDING.value
        writes.append((_DEPOSIT, (signals, due_at, deposit.id, before.signals)))
        writes.append((_SIGNAL, (deposit.id, signal.id, signals, signal.step, signal.payload, state, self._now)))
        return replace(before, signals=signals, due_at=due_at)


def _goes_on(change: Change, before: _Standing) -> bool:
    """Tell whether the row stays running, under the same lease. Whoever runs has no output and no error yet."""
    row = change.row
    return (
        change.due is None
        and row.status is Status.RUNNING
        and before.status == _RUNNING
        and (row.token, row.worker) == (before.token, before.worker)
        and row.output is None
        and row.error is None
    )


def _line(id: str, seq: int, entry: Entry, change: str, now: int) -> tuple[Any, ...]:
    return (
        id,
        seq,
        entry.kind.value,
        entry.step,
        entry.visit,
        entry.attempt,
        entry.worker,
        entry.token,
        entry.route,
        entry.ref,
        entry.payload,
        change,
        now,
    )


def _standings(connection: sqlite3.Connection, units: Iterable[Unit]) -> dict[str, _Standing]:
    ids = [part.row.id if isinstance(part, Change) else part.id for unit in units for part in unit]
    (found,) = connection.execute(_STANDINGS, (json(ids),)).fetchone()
    return {standing.id: standing for standing in _FOUND.decode(found)}


def _taken(connection: sqlite3.Connection, units: Iterable[Unit]) -> set[tuple[str, str]]:
    sent = [(part.id, part.signal.id) for unit in units for part in unit if isinstance(part, Deposit)]
    return set(connection.execute(_TAKEN, (json(sent),)).fetchall()) if sent else set()


def _write(connection: sqlite3.Connection, statement: Many, rows: list[tuple[Any, ...]]) -> None:
    touched = statement.run(connection, rows)
    if touched != len(rows) and statement is not _MARK:
        msg = f"{touched} rows were written where {len(rows)} were looked at: another program writes to this database"
        raise StorageError(msg)
