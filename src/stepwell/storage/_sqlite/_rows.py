"""Rows of the tables as values of the model. Payloads stay the text that they are."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from operator import attrgetter, itemgetter
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from stepwell._model import Entry, Kind, Row, Signal, SignalState, Status, Stored
from stepwell.storage._unreadable import UNREADABLE, Unreadable, unreadable, why

__all__ = [
    "ENTRY",
    "EXECUTION",
    "JOURNAL",
    "NOT_UTF8",
    "STORED",
    "Text",
    "entry",
    "json",
    "row",
    "stored_all",
    "stored_by_id",
]

_EXECUTION: Final = (
    *("id", "workflow", "version", "status", "step", "visit", "attempt", "revision", "token", "due_at", "timer_at"),
    *("worker", "pausing", "signals", "parent", "tags", "metadata", "output", "error"),
    *("created_at", "updated_at", "ended_at"),
)
_ENTRY: Final = (
    *("kind", "step", "visit", "attempt", "worker", "token", "route", "ref", "payload", "change", "seq", "at"),
)
_SIGNAL: Final = ("id", "step", "payload", "state", "at")

EXECUTION: Final = ", ".join((*(f"executions.{column}" for column in _EXECUTION), "inputs.input"))
"""The columns that `row` takes, of `executions` joined with `inputs`."""

ENTRY: Final = ", ".join(_ENTRY)
"""The columns that `entry` takes, of `journal`."""

_WIDTH: Final = len(_EXECUTION) + 1


def _padded(columns: Sequence[str]) -> str:
    return ", ".join((*columns, *["NULL"] * (_WIDTH - len(columns))))


STORED: Final = f"""
    SELECT 'row', executions.id, {EXECUTION}
      FROM executions LEFT JOIN inputs ON inputs.execution_id = executions.id
     WHERE executions.id IN (SELECT value FROM json_each(?))
    UNION ALL
    SELECT 'entry', execution_id, {_padded(_ENTRY)}
      FROM journal WHERE execution_id IN (SELECT value FROM json_each(?))
    UNION ALL
    SELECT 'signal', execution_id, {_padded((*_SIGNAL, "position"))}
      FROM signals WHERE execution_id IN (SELECT value FROM json_each(?))
"""  # noqa: S608 (made of the constants above)
"""All that is stored of the executions whose ids are given, thrice, as JSON: one statement, so as of one moment."""

_MANY: Final = f"""
    SELECT (SELECT json_group_array(json_array({EXECUTION}))
              FROM executions INDEXED BY executions_id LEFT JOIN inputs ON inputs.execution_id = executions.id
             WHERE executions.id IN (SELECT value FROM json_each(:ids))),
           (SELECT json_group_array(json_array(execution_id, {ENTRY}))
              FROM journal WHERE execution_id IN (SELECT value FROM json_each(:ids))),
           (SELECT json_group_array(json_array(execution_id, {", ".join((*_SIGNAL, "position"))}))
              FROM signals WHERE execution_id IN (SELECT value FROM json_each(:ids)))
"""  # noqa: S608 (made of the constants above)
"""The same in one row: the thread gives the interpreter away before each row, and waits to get it back."""

JOURNAL: Final = f"""
    SELECT {ENTRY} FROM journal WHERE execution_id = ? AND seq > ? AND seq <= ? ORDER BY seq
"""  # noqa: S608 (made of the constants above)
"""The entries of one execution within a range; their seq has no gaps, so the range bounds their number."""

NOT_UTF8: Final = "some of its text is no UTF-8"
_NO_INPUT: Final = "its input is gone"

_STATUS: Final = {status.value: status for status in Status}
_KIND: Final = {kind.value: kind for kind in Kind}
_SIGNAL_STATE: Final = {state.value: state for state in SignalState}
_TAGS: Final = msgspec.json.Decoder(tuple[str, ...])
_METADATA: Final = msgspec.json.Decoder(dict[str, Any])
_LISTS: Final = msgspec.json.Decoder(list[list[Any]])


class Text:
    """How a connection reads text: what is no UTF-8 as well as can be, and not without saying so."""

    def __init__(self) -> None:
        self.is_damaged = False
        """whether there was such text since this was last set to false"""

    def __call__(self, stored: bytes) -> str:
        """Return it as text."""
        try:
            return stored.decode()
        except UnicodeDecodeError:
            self.is_damaged = True
            return stored.decode(errors="replace")


def json(value: object) -> str:
    """Return *value* as JSON text, the same text for equal values."""
    return msgspec.json.encode(value, order="deterministic").decode()


def row(columns: Sequence[Any]) -> Row:
    """Return the row of an execution. Raises Unreadable where it can't be read."""
    if columns[22] is None:
        raise unreadable(columns[0], _NO_INPUT)
    try:
        return _row(columns, *columns[15:17])
    except UNREADABLE as error:
        raise unreadable(columns[0], why(error)) from error


def _row(columns: Sequence[Any], tags: str = "[]", metadata: str = "{}") -> Row:
    return Row(
        id=columns[0],
        workflow=columns[1],
        version=columns[2],
        status=_STATUS[columns[3]],
        step=columns[4],
        visit=columns[5],
        attempt=columns[6],
        revision=columns[7],
        token=columns[8],
        due_at=columns[9],
        timer_at=columns[10],
        worker=columns[11],
        pausing=bool(columns[12]),
        signals=columns[13],
        parent=columns[14],
        tags=() if tags == "[]" else _TAGS.decode(tags),
        metadata={} if metadata == "{}" else _METADATA.decode(metadata),
        output=columns[17],
        error=columns[18],
        created_at=columns[19],
        updated_at=columns[20],
        ended_at=columns[21],
        input=columns[22],
    )


def entry(columns: Sequence[Any]) -> Entry:
    """Return an entry of the journal. Raises Unreadable where it can't be read."""
    try:
        return _entry(columns)
    except UNREADABLE as error:
        raise Unreadable(f"entry {columns[10]} of a journal can't be read: {why(error)}") from error


def _entry(columns: Sequence[Any]) -> Entry:
    return Entry(_KIND[columns[0]], *columns[1:12])


def stored_by_id(records: Iterable[Sequence[Any]], now: int) -> dict[str, Stored]:
    """Return what `STORED` found, by id, as read at *now*; what can't be read is said to be so."""
    parts: defaultdict[str, defaultdict[str, list[Sequence[Any]]]] = defaultdict(lambda: defaultdict(list))
    for part, id, *columns in records:
        parts[id][part].append(columns)
    return {
        id: _stored(found["row"][0], found["entry"], found["signal"], now)
        for id, found in parts.items()
        if found["row"]
    }


def _signal(columns: Sequence[Any]) -> Signal:
    id, step, payload, state, at = columns[:5]
    return Signal(id, step, payload, _SIGNAL_STATE[state], at)


def _stored(
    columns: Sequence[Any], entries: Iterable[Sequence[Any]], signals: Iterable[Sequence[Any]], now: int
) -> Stored:
    if columns[22] is None:
        return _unread(columns, now, _NO_INPUT)
    try:
        journal = sorted(map(_entry, entries), key=attrgetter("seq"))
        accepted = sorted(signals, key=itemgetter(5))
        return Stored(_row(columns, *columns[15:17]), tuple(journal), tuple(map(_signal, accepted)), now)
    except UNREADABLE as error:
        return _unread(columns, now, why(error))


def _unread(columns: Sequence[Any], now: int, reason: str) -> Stored:
    """Return what is left of an execution that can't be read."""
    status = columns[3] if columns[3] in _STATUS else Status.FAILED.value
    row = _row([*columns[:3], status, *columns[4:22], columns[22] or "null"])
    return Stored(row, (), (), now, unreadable=reason)


def stored_all(connection: sqlite3.Connection, ids: Sequence[str], now: int) -> tuple[Stored, ...]:
    """Read the executions with these *ids*, in this order."""
    text = connection.text_factory
    if not isinstance(text, Text):
        return _stored_all(connection, ids, now)
    text.is_damaged = False
    found = _stored_all(connection, ids, now)
    if not text.is_damaged:
        return found
    return tuple(one for id in ids for one in _stored_one(connection, id, now, text))


def _stored_one(connection: sqlite3.Connection, id: str, now: int, text: Text) -> Iterable[Stored]:
    """Read one execution; one with text that is no UTF-8 is said to be unreadable."""
    text.is_damaged = False
    for stored in _stored_all(connection, [id], now):
        yield replace(stored, unreadable=NOT_UTF8, journal=(), signals=()) if text.is_damaged else stored


def _stored_all(connection: sqlite3.Connection, ids: Sequence[str], now: int) -> tuple[Stored, ...]:
    try:
        executions, journal, signals = connection.execute(_MANY, {"ids": json(ids)}).fetchone()
    except sqlite3.DataError:  # more text than fits into one value (a gigabyte, unless SQLite was built otherwise)
        found = stored_by_id(connection.execute(STORED, (json(ids),) * 3).fetchall(), now)
        return tuple(found[id] for id in ids if id in found)
    rows = {columns[0]: columns for columns in _LISTS.decode(executions)}
    entries: dict[str, list[Sequence[Any]]] = {id: [] for id in ids}
    for id, *columns in _LISTS.decode(journal):
        entries[id].append(columns)
    accepted: dict[str, list[Sequence[Any]]] = {id: [] for id in ids}
    for id, *columns in _LISTS.decode(signals):
        accepted[id].append(columns)
    return tuple(_stored(rows[id], entries[id], accepted[id], now) for id in ids if id in rows)
