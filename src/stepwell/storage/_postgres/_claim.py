"""Claims, renewals and definitions: one statement each, and one more where there is more to ask."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from stepwell._model import Definition, Entry, Kind, Stored
from stepwell.storage._postgres._errors import DRIVER
from stepwell.storage._postgres._horizon import BEGINNING, Horizon
from stepwell.storage._postgres._rows import stored
from stepwell.storage._postgres._times import LATEST, microseconds
from stepwell.storage._protocol import Capability, Claims, Lease, Renewal, StorageError

if TYPE_CHECKING:
    from stepwell.storage._postgres._database import Connection
    from stepwell.storage._postgres._sql import Statements

__all__ = ["Locked", "claim", "define", "renew"]


class Locked(StorageError):
    """Raised when somebody else has locked rows of leases that are to be renewed; all others were."""

    def __init__(self, renewal: Renewal) -> None:
        first = renewal.locked[0].id
        super().__init__(f"{len(renewal.locked)} leases could not be renewed, {first!r} first: their rows are locked")
        self.renewal = renewal


async def claim(
    connection: Connection,
    sql: Statements,
    worker: str,
    capabilities: Sequence[Capability],
    *,
    limit: int,
    lease: float,
    held: Sequence[Lease],
    now: int | None,
    horizon: Horizon,
) -> Claims:
    """Lease up to *limit* due executions to *worker*; tell which of *held* are lost."""
    claimed: tuple[Stored, ...] = ()
    if limit and capabilities:
        names, versions = [name for name, _ in capabilities], [version for _, version in capabilities]
        since = horizon.begin()
        ask = partial(connection.fetch, sql.claim, now, names, versions)
        found = await ask(limit, worker, microseconds(lease), since, LATEST)
        if len(found) < limit and since != BEGINNING:
            with suppress(*DRIVER):  # what was found is leased, and must not be lost; the next claim looks again
                found = await ask(limit - len(found), worker, microseconds(lease), BEGINNING, since) + found
        elif len(found) == limit:
            horizon.is_full(found[0]["was_due_at"])
        leased = [stored(record, _claimed(record)) for record in found]
        claimed = tuple([one if _is_whole(one) else await _whole(connection, sql, one, now) for one in leased])
    still_held = await _held(connection, sql, worker) if held else frozenset[Lease]()
    return Claims(claimed, tuple(one for one in held if one not in still_held))


def _claimed(record: Any) -> Entry:
    """Return the claim's own entry, which its statement has written but can't read."""
    return Entry(
        Kind.CLAIMED,
        record["step"],
        record["visit"],
        record["attempt"],
        record["worker"],
        record["token"],
        ref=record["found"],
        seq=record["revision"],
        at=record["updated_at"],
    )


def _is_whole(claimed: Stored) -> bool:
    if claimed.unreadable:  # reading it again helps nothing
        return True
    return len(claimed.journal) == claimed.row.revision and len(claimed.signals) == claimed.row.signals


async def _whole(connection: Connection, sql: Statements, claimed: Stored, now: int | None) -> Stored:
    """Return what was claimed with all of its journal and its signals.

    A row that somebody changed while the claim's statement ran is claimed as it has become; but entries and signals are
    read as they were when the statement began, so that those of the change are missing.
    """
    record = await connection.fetchrow(sql.load, now, claimed.row.id)
    if record is None:  # its lease is lost already, and the journal says nothing that could still be committed
        return claimed
    read = stored(record)
    if read.unreadable:
        return msgspec.structs.replace(claimed, unreadable=read.unreadable)
    row = claimed.row
    return Stored(row, read.journal[: row.revision], read.signals[: row.signals], claimed.now)


async def _held(connection: Connection, sql: Statements, worker: str) -> frozenset[Lease]:
    return frozenset(Lease(id, token) for id, token in await connection.fetch(sql.held, worker))


async def renew(
    connection: Connection, sql: Statements, worker: str, leases: Sequence[Lease], *, lease: float, now: int | None
) -> Renewal:
    """Move the end of those *leases* that are the worker's; tell which aren't, and which weren't named.

    Raises Locked where a row is locked by somebody else, after the others were renewed.
    """
    moved: set[str] = set()
    if leases:
        ids, tokens = [one.id for one in leases], [one.token for one in leases]
        renewed = await connection.fetch(sql.renew, now, worker, ids, tokens, microseconds(lease))
        moved = {id for (id,) in renewed}
    held = await _held(connection, sql, worker)
    found = Renewal(
        lost=tuple(one for one in leases if one not in held),
        unknown=tuple(sorted(held.difference(leases), key=_by_id)),
        locked=tuple(one for one in leases if one.id not in moved and one in held),
    )
    if found.locked:
        raise Locked(found)
    return found


def _by_id(lease: Lease) -> str:
    return lease.id


async def define(connection: Connection, sql: Statements, definitions: Sequence[Definition]) -> tuple[Definition, ...]:
    """Make *definitions* known; return those stored ones that contradict and are in use."""
    contradicting: list[Definition] = []
    for one in definitions:
        found = await connection.fetchrow(sql.define, one.workflow, one.version, one.digest, one.graph)
        if found is not None:
            contradicting.append(Definition(one.workflow, one.version, found["digest"], found["graph"]))
    return tuple(contradicting)
