"""Commits units: what is one Change goes in one statement; what has more parts is decided under lock, in a transaction.

Nobody waits here for a row that somebody else has locked: such a unit comes back as None, to be sent again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import anyio
import asyncpg
from msgspec import UNSET, Struct, UnsetType

from stepwell._model import Change, Entry, Unit
from stepwell.storage._postgres._plan import Plan, Standing, ids_of, signals_of
from stepwell.storage._postgres._rows import json
from stepwell.storage._postgres._times import microseconds, within
from stepwell.storage._protocol import StorageError

if TYPE_CHECKING:
    from stepwell.storage._postgres._database import Connection
    from stepwell.storage._postgres._sql import Statements

__all__ = ["Raced", "commit_changes", "commit_parts", "is_one_change"]


_ONE_BY_ONE_LIMIT: Final = 2.0
"""seconds for which those behind may have to wait for those that others hold up"""


class _Sent(Struct, frozen=True, omit_defaults=True, gc=False):
    """A Change as the statement takes it. What is left out is null there."""

    id: str
    expects: int
    change: str
    status: str
    visit: int
    attempt: int
    revision: int
    token: int
    pausing: bool
    entries: tuple[Entry, ...]
    moves: bool
    times: bool
    step: str | None = None
    worker: str | None = None
    due_after: int | None = None
    due_at: int | None = None
    timer_after: int | None = None
    timer_at: int | None = None
    signals: int | None = None
    output: str | None = None
    error: str | None = None
    workflow: str | None = None
    version: str | None = None
    parent: str | None = None
    tags: tuple[str, ...] | UnsetType = UNSET
    metadata: dict[str, Any] | UnsetType = UNSET
    input: str | None = None


def is_one_change(unit: Unit) -> bool:
    """Tell whether the unit can go with others in one statement."""
    if len(unit) != 1:
        return False
    change = unit[0]
    return isinstance(change, Change) and not change.uses and not change.discards


async def commit_changes(
    connection: Connection, sql: Statements, changes: Sequence[Change], now: int | None
) -> list[bool | None]:
    """Commit each Change by itself, in one statement; None for those whose row somebody else has locked.

    Where another transaction is creating an id of theirs, they are committed one by one, so that the others go through.
    """
    try:
        left = await connection.fetch(sql.commit, now, json([_sent(change) for change in changes]))
    except asyncpg.LockNotAvailableError:
        return [None] if len(changes) == 1 else await _one_by_one(connection, sql, changes, now)
    if not left:
        return [True] * len(changes)
    refused = {id: None if is_locked else False for id, is_locked in left}
    return [refused.get(change.row.id, True) for change in changes]


async def _one_by_one(
    connection: Connection, sql: Statements, changes: Sequence[Change], now: int | None
) -> list[bool | None]:
    """Commit Changes one after the other; None also for those that nobody came to in time."""
    results: list[bool | None] = [None] * len(changes)
    end = anyio.current_time() + _ONE_BY_ONE_LIMIT
    for place, change in enumerate(changes):
        if anyio.current_time() > end:
            break
        (results[place],) = await commit_changes(connection, sql, [change], now)
    return results


def _sent(change: Change) -> _Sent:
    row, due, timer = change.row, change.due, change.timer
    is_new = not change.expects
    return _Sent(
        id=row.id,
        expects=change.expects,
        change=change.id,
        status=row.status.value,
        visit=row.visit,
        attempt=row.attempt,
        revision=change.expects + len(change.entries),
        token=row.token,
        pausing=row.pausing,
        entries=change.entries,
        moves=due is not None,
        times=timer is not None,
        step=row.step,
        worker=row.worker,
        due_after=None if due is None or due.after is None else microseconds(due.after),
        due_at=None if due is None or due.at is None else within(due.at),
        timer_after=None if timer is None or timer.after is None else microseconds(timer.after),
        timer_at=None if timer is None or timer.at is None else within(timer.at),
        signals=change.signals,
        output=row.output,
        error=row.error,
        workflow=row.workflow if is_new else None,
        version=row.version if is_new else None,
        parent=row.parent if is_new else None,
        tags=row.tags if is_new else UNSET,
        metadata=row.metadata if is_new else UNSET,
        input=row.input if is_new else None,
    )


class Raced(Exception):  # not an error: the way out of a transaction that is to be begun again
    """Somebody else has created meanwhile what was about to be created here."""


async def commit_parts(
    connection: Connection, sql: Statements, units: Sequence[Unit], now: int | None
) -> list[bool | None]:
    """Commit units of any parts, in one transaction; None for those of which a row is locked by somebody else."""
    while True:
        try:
            async with connection.transaction(isolation="read_committed"):
                return await decide_and_write(connection, sql, units, now)
        except Raced:
            continue


async def decide_and_write(
    connection: Connection, sql: Statements, units: Sequence[Unit], now: int | None
) -> list[bool | None]:
    """Do it in the transaction that is open. Raises Raced, and then some of it may be written in there."""
    ids = [id for unit in units for id in ids_of(unit)]
    sent = [signal for unit in units for signal in signals_of(unit)]
    standings = {
        record["id"]: Standing(**dict(record.items())) for record in await connection.fetch(sql.standings, ids)
    }
    missing = [id for id in ids if id not in standings]
    seen: Any = await connection.fetchrow(
        sql.clock_and_locked, now, missing, [execution for execution, _ in sent], [id for _, id in sent]
    )
    plan = Plan(standings, {(execution, id) for execution, id in seen["taken"]}, seen["now"])
    locked: set[str] = set(seen["locked"])
    results = [None if not locked.isdisjoint(ids_of(unit)) else plan.add(unit) for unit in units]
    if any(results):
        await _write(connection, sql, plan)
    return results


async def _write(connection: Connection, sql: Statements, plan: Plan) -> None:
    new, rows = plan.created, plan.changed
    try:
        written: Any = await connection.fetchrow(
            sql.write, json(new), json(rows), json(plan.lines), json(plan.signals), json(plan.marks)
        )
    except asyncpg.UniqueViolationError as error:  # of the journal, if that is looked at first
        if not new:
            raise
        raise Raced from error
    if written["created"] != len(new):
        raise Raced
    if written["changed"] != len(rows):
        msg = f"{written['changed']} rows were written, {len(rows)} were locked: another program writes to these tables"
        raise StorageError(msg)
