"""The protocol made obvious: executions in dictionaries, gone with the process.

Rule 1: every method is one checkpoint followed by one synchronous step under the lock, so each is atomic in itself, and
a call that was cancelled has changed nothing.
Rule 2: rows and entries are frozen, so they are handed out as they are; a new state is a new row.
Rule 3: all guards of a unit are looked at before any of it is applied.
"""

from __future__ import annotations

import heapq
import time
from collections import defaultdict
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Self, assert_never

import anyio
import anyio.lowlevel
import msgspec
from msgspec.structs import replace

from stepwell._model import (
    Change,
    Definition,
    Deposit,
    Entry,
    Kind,
    Moment,
    Page,
    Query,
    Row,
    Signal,
    SignalState,
    Status,
    Stored,
    Unit,
    Wake,
)
from stepwell.storage._families import Families, check_purge
from stepwell.storage._protocol import Capability, Claims, Lease, Lifeline, Renewal
from stepwell.storage._queues import DueQueues

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

__all__ = ["MemoryStorage"]

_MAX_PAGE: Final = 1_000


class MemoryStorage:
    """Keeps everything in this process. What it held is still there when it is opened again.

    *clock* tells seconds since the epoch. One object may serve several engines of one event loop.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = Lock()
        self._rows: dict[str, Row] = {}
        self._journals: defaultdict[str, list[Entry]] = defaultdict(list)
        self._signals: defaultdict[str, dict[str, Signal]] = defaultdict(dict)
        self._definitions: dict[Capability, Definition] = {}
        self._queues = DueQueues(lambda place: place[1] in self._rows and self._rows[place[1]].due_at == place[0])
        self._families = Families(self._rows)
        self._held: defaultdict[str, dict[str, None]] = defaultdict(dict)
        self._waiting: dict[anyio.Event, None] = {}

    async def __aenter__(self) -> Self:
        await anyio.lowlevel.checkpoint()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        await anyio.lowlevel.checkpoint()

    async def define(self, definitions: Sequence[Definition], /) -> tuple[Definition, ...]:
        """Make workflows known; return those stored ones that contradict."""
        await anyio.lowlevel.checkpoint()
        with self._lock:
            return tuple(stored for definition in definitions if (stored := self._define(definition)) is not None)

    async def commit(self, units: Sequence[Unit], /) -> list[bool]:
        """Commit each unit whole or not at all; return for each whether it was committed."""
        await anyio.lowlevel.checkpoint()
        with self._lock:
            now = self._now()
            return [self._commit(unit, now) for unit in units]

    async def claim(
        self,
        worker: str,
        capabilities: Sequence[Capability],
        /,
        *,
        limit: int,
        lease: float,
        held: Sequence[Lease] = (),
    ) -> Claims:
        """Lease up to *limit* due executions of these workflows to *worker*, longest due first."""
        await anyio.lowlevel.checkpoint()
        with self._lock:
            now = self._now()
            ids = self._take(capabilities, limit, now)
            claimed = tuple(self._lease(id, worker, now + _microseconds(lease), now) for id in ids)
            return Claims(claimed, tuple(one for one in held if not self._holds_lease(worker, one)))

    async def renew(self, worker: str, leases: Sequence[Lease], /, *, lease: float) -> Renewal:
        """Move the end of the worker's *leases* to *lease* seconds from now."""
        await anyio.lowlevel.checkpoint()
        return self._renew(worker, leases, lease)

    async def load(self, id: str, /) -> Stored | None:
        """Return the execution with its whole journal and its signals, as of one moment; None if there is none."""
        await anyio.lowlevel.checkpoint()
        with self._lock:
            return self._stored(id, self._now()) if id in self._rows else None

    async def journal(self, id: str, /, *, after: int = 0, limit: int = 1000) -> list[Entry]:
        """Return up to *limit* entries with a `seq` above *after*, in order; empty if there is no such execution."""
        await anyio.lowlevel.checkpoint()
        with self._lock:
            return self._journals[id][after : after + limit] if id in self._rows else []

    async def find(self, query: Query, /) -> Page:
        """Return one page of rows that match, newest first. Raises ValueError unless its limit is from 1 to 1,000."""
        if not 1 <= query.limit <= _MAX_PAGE:
            raise ValueError(f"limit must be from 1 to {_MAX_PAGE}, not {query.limit}")
        await anyio.lowlevel.checkpoint()
        metadata = {key: _json(value) for key, value in query.metadata.items()}
        with self._lock:
            rows = [self._rows[id] for id in {*query.ids} & self._rows.keys()] if query.ids else self._rows.values()
            matching = (row for row in rows if _matches(query, metadata, row))
            found = heapq.nlargest(query.limit + 1, matching, key=_age)
        return Page(tuple(found[: query.limit]), more=len(found) > query.limit)

    async def purge(self, age: float, /, *, limit: int) -> int:
        """Delete up to *limit* executions that ended *age* seconds ago or earlier; return how many."""
        check_purge(age, limit)
        await anyio.lowlevel.checkpoint()
        with self._lock:
            ids = self._families.take(self._now() - _microseconds(age), limit)
            for id in ids:
                self._forget(id)
            return len(ids)

    async def wakeup(self) -> None:
        """Return when any user of this object has committed something that a worker may want to look at.

        That is a Change which settles `due` (not one under a lease that runs on), a Wake or a Deposit.
        """
        event = anyio.Event()
        self._waiting[event] = None
        try:
            await event.wait()
        finally:
            self._waiting.pop(event, None)

    def lifeline(self) -> Lifeline:
        """Open a synchronous renewer."""
        return _MemoryLifeline(self._renew)

    def _now(self) -> int:
        return _microseconds(self._clock())

    def _stored(self, id: str, now: int) -> Stored:
        return Stored(self._rows[id], tuple(self._journals[id]), tuple(self._signals[id].values()), now)

    def _define(self, definition: Definition) -> Definition | None:
        pair = (definition.workflow, definition.version)
        stored = self._definitions.get(pair, definition)
        if stored.digest != definition.digest and self._is_used(pair):
            return stored
        self._definitions[pair] = definition
        return None

    def _is_used(self, pair: Capability) -> bool:
        return any((row.workflow, row.version) == pair and not row.status.is_terminal for row in self._rows.values())

    def _commit(self, unit: Unit, now: int) -> bool:
        if not all(self._permits(part) for part in unit):
            return False
        for part in unit:
            match part:
                case Change():
                    self._change(part, now)
                case Wake():
                    self._wake(part, now)
                case Deposit():
                    self._deposit(part, now)
                case _:
                    assert_never(part)
        return True

    def _permits(self, part: Change | Wake | Deposit) -> bool:
        row = self._rows.get(part.id if not isinstance(part, Change) else part.row.id)
        match part:
            case Change():
                revision, signals = (row.revision, row.signals) if row is not None else (0, 0)
                return part.expects == revision and part.signals in (None, signals)
            case Wake():
                return True
            case Deposit():
                return (
                    row is not None
                    and not row.status.is_terminal
                    and row.signals == part.expects
                    and part.signal.id not in self._signals[part.id]
                )

    def _change(self, change: Change, now: int) -> None:
        id = change.row.id
        before = self._rows.get(id)
        row = _changed(change, before, now)
        self._journals[id].extend(
            replace(entry, change=change.id, seq=seq, at=now)
            for seq, entry in enumerate(change.entries, change.expects + 1)
        )
        for signals, state in ((change.uses, SignalState.USED), (change.discards, SignalState.DISCARDED)):
            for signal in signals:
                self._mark(id, signal, state)
        self._store(row, moved=change.due is not None)
        if change.due is not None:
            self._hint()

    def _mark(self, id: str, signal: str, state: SignalState) -> None:
        accepted = self._signals[id]
        if signal in accepted:
            accepted[signal] = replace(accepted[signal], state=state)

    def _wake(self, wake: Wake, now: int) -> None:
        row = self._rows.get(wake.id)
        if row is None or row.status.is_terminal:
            return
        suspended = row.status is Status.SUSPENDED
        due_at = now if suspended else row.due_at
        seq = row.revision + 1
        self._journals[wake.id].append(replace(wake.entry, seq=seq, at=now))
        self._store(replace(row, revision=seq, due_at=due_at, updated_at=now), moved=suspended)
        self._hint()

    def _deposit(self, deposit: Deposit, now: int) -> None:
        row = self._rows[deposit.id]
        awaited = row.status is Status.SUSPENDED and row.step == deposit.signal.step
        due_at = now if awaited else row.due_at
        self._signals[deposit.id][deposit.signal.id] = replace(deposit.signal, state=SignalState.PENDING, at=now)
        self._store(replace(row, signals=row.signals + 1, due_at=due_at), moved=awaited)
        self._hint()

    def _store(self, row: Row, *, moved: bool) -> None:
        """Keep *row*; a row whose `due_at` *moved* gets a place in its queue."""
        before = self._rows.get(row.id)
        self._rows[row.id] = row
        if before is None or row.ended_at is not None:
            self._families.note(before, row)
        if before is not None and before.worker is not None:
            self._held[before.worker].pop(row.id, None)
        if row.worker is not None and row.status is Status.RUNNING:
            self._held[row.worker][row.id] = None
        if moved and row.due_at is not None:
            self._queues.add((row.workflow, row.version), (row.due_at, row.id))

    def _forget(self, id: str) -> None:
        del self._rows[id]
        self._journals.pop(id, None)
        self._signals.pop(id, None)

    def _hint(self) -> None:
        while self._waiting:
            self._waiting.popitem()[0].set()

    def _take(self, capabilities: Sequence[Capability], limit: int, now: int) -> list[str]:
        """Take due executions out of their queues, the longest due first."""
        return [id for _, id in self._queues.take(capabilities, limit, now)]

    def _lease(self, id: str, worker: str, end: int, now: int) -> Stored:
        before = self._rows[id]
        row = _leased(before, worker, end, now)
        self._journals[id].append(_claimed(before.status, row))
        self._store(row, moved=True)
        return self._stored(id, now)

    def _holds_lease(self, worker: str, lease: Lease) -> bool:
        row = self._rows.get(lease.id)
        return row is not None and row.worker == worker and row.token == lease.token and row.status is Status.RUNNING

    def _renew(self, worker: str, leases: Sequence[Lease], lease: float) -> Renewal:
        with self._lock:
            end = self._now() + _microseconds(lease)
            held = [Lease(id, self._rows[id].token) for id in self._held.get(worker, ())]
            named = frozenset(leases)
            for one in held:
                if one in named:
                    self._store(replace(self._rows[one.id], due_at=end), moved=True)
            valid = frozenset(held)
            return Renewal(
                lost=tuple(one for one in leases if one not in valid),
                unknown=tuple(one for one in held if one not in named),
            )


class _MemoryLifeline:
    """Renews under the storage's lock, from whatever thread."""

    def __init__(self, renew: Callable[[str, Sequence[Lease], float], Renewal]) -> None:
        self._renew = renew

    def renew(self, worker: str, leases: Sequence[Lease], *, lease: float) -> Renewal:
        """Renew *leases* for *lease* seconds."""
        return self._renew(worker, leases, lease)

    def close(self) -> None:
        """Give nothing back: there is no connection."""


def _changed(change: Change, before: Row | None, now: int) -> Row:
    due_at, timer_at = (before.due_at, before.timer_at) if before is not None else (None, None)
    return replace(
        change.row,
        revision=change.expects + len(change.entries),
        due_at=due_at if change.due is None else _time(change.due, now),
        timer_at=timer_at if change.timer is None else _time(change.timer, now),
        signals=before.signals if before is not None else 0,
        created_at=before.created_at if before is not None else now,
        updated_at=now,
        ended_at=now if change.row.status.is_terminal else None,
    )


def _leased(row: Row, worker: str, end: int, now: int) -> Row:
    return replace(
        row,
        status=Status.RUNNING,
        attempt=row.attempt + (row.status is not Status.SUSPENDED),
        revision=row.revision + 1,
        token=row.token + 1,
        worker=worker,
        due_at=end,
        updated_at=now,
    )


def _claimed(found: Status, row: Row) -> Entry:
    return Entry(
        Kind.CLAIMED,
        row.step,
        row.visit,
        row.attempt,
        row.worker,
        row.token,
        ref=found.value,
        seq=row.revision,
        at=row.updated_at,
    )


def _microseconds(seconds: float) -> int:
    return round(seconds * 1_000_000)


def _time(moment: Moment, now: int) -> int | None:
    return moment.at if moment.after is None else now + _microseconds(moment.after)


def _age(row: Row) -> tuple[int, str]:
    return row.created_at, row.id


def _matches(query: Query, metadata: dict[str, bytes], row: Row) -> bool:
    return (
        query.workflow in (None, row.workflow)
        and query.version in (None, row.version)
        and (not query.status or row.status in query.status)
        and (query.tag is None or query.tag in row.tags)
        and query.parent in (None, row.parent)
        and (query.id_prefix is None or row.id.startswith(query.id_prefix))
        and (query.created_after is None or row.created_at > query.created_after)
        and (query.created_before is None or row.created_at < query.created_before)
        and (query.after is None or _age(row) < query.after)
        and all(key in row.metadata and _json(row.metadata[key]) == value for key, value in metadata.items())
    )


def _json(value: Any) -> bytes:
    """Encode *value* so that what differs in JSON differs: `True == 1` in Python."""
    return msgspec.json.encode(value, order="deterministic")
