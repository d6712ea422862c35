"""Storages full of executions, made and used through the storage's own protocol: no engine is in the way.

Nothing is claimed twice: what was claimed is ended, and others take its place, so that the amount that is there stays
the same and every journal that a claim reads has the same length.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final, Literal, get_args

from msgspec.structs import replace

from benchmarks._workload import Spent, Stopwatch
from stepwell.storage import NEVER, NOW, Change, Entry, Kind, Moment, Row, Status, Storage, Stored

__all__ = ["STATES", "Population", "State"]

State = Literal["due", "waiting", "suspended", "finished"]
STATES: Final[tuple[State, ...]] = get_args(State)

_WORKFLOW: Final = "orders"
_VERSION: Final = "1"
_WORKER: Final = "benchmark"
_LEASE: Final = 3_600.0
_TOGETHER: Final = 1_000
"""executions in one commit where a storage is filled"""
_INPUT: Final = '{"number":1,"customer":"ada"}'
_OUTPUT: Final = '{"number":1,"text":"reserved"}'

_HOUR: Final = Moment(after=3_600.0)
_WEEK: Final = Moment(after=7 * 86_400.0)
_STANDS: Final[dict[State, tuple[Status, Moment]]] = {
    "due": (Status.QUEUED, NOW),
    "waiting": (Status.WAITING, _HOUR),
    "suspended": (Status.SUSPENDED, _WEEK),
    "finished": (Status.SUCCEEDED, NEVER),
}
_TELLS: Final[dict[State, tuple[Entry, ...]]] = {
    "due": (),
    "waiting": (Entry(Kind.STEP_RETRY, "reserve", 1, 1, ref="3600"),),
    "suspended": (Entry(Kind.STEP_SUSPENDED, "reserve", 1, 1),),
    "finished": (
        Entry(Kind.STEP_SUCCEEDED, "reserve", 1, 1, payload=_OUTPUT),
        Entry(Kind.SUCCEEDED, "reserve", 1, 1),
    ),
}


class Population:
    """Executions that all stand in one state, and a few that are due, in a storage of their own."""

    def __init__(self, storage: Storage, state: State) -> None:
        self._storage = storage
        self._state: State = state
        self._numbers = itertools.count(1)
        self._size = 0

    async def grow(self, size: int, ready: int) -> None:
        """Add executions until there are *size* in the state, and *ready* that are due where that isn't the state."""
        await self._add(self._state, size - self._size)
        if not self._size and self._state != "due":
            await self._add("due", ready)
        self._size = size

    async def add_due(self, amount: int) -> None:
        """Add executions that are due."""
        await self._add("due", amount)

    async def find_nothing(self) -> Spent:
        """Claim where nothing is due; return what that took."""
        watch = Stopwatch()
        claims = await self._storage.claim(_WORKER, [(_WORKFLOW, _VERSION)], limit=1, lease=_LEASE)
        spent = watch.read()
        if claims.claimed:
            msg = "something was due"
            raise AssertionError(msg)
        return spent

    async def claim(self, limit: int) -> tuple[Spent, list[Stored]]:
        """Claim so many; return what the claim took, and what came."""
        watch = Stopwatch()
        claims = await self._storage.claim(_WORKER, [(_WORKFLOW, _VERSION)], limit=limit, lease=_LEASE)
        spent = watch.read()
        if len(claims.claimed) != limit:
            msg = f"{limit} executions were to be claimed, and {len(claims.claimed)} came"
            raise AssertionError(msg)
        return spent, list(claims.claimed)

    async def step(self, row: Row) -> tuple[Spent, Row]:
        """Commit the end of a step and the beginning of the next, as a worker does; return what that took."""
        after = replace(row, step="charge", attempt=1, revision=row.revision + 2)
        entries = (
            Entry(Kind.STEP_SUCCEEDED, "reserve", 1, 1, row.worker, row.token, payload=_OUTPUT),
            Entry(Kind.STEP_STARTED, "charge", 1, 1, row.worker, row.token),
        )
        change = Change(id=self._name("change"), row=after, expects=row.revision, entries=entries)
        watch = Stopwatch()
        results = await self._storage.commit([(change,)])
        spent = watch.read()
        _expect(results)
        return spent, after

    async def replace(self, rows: Sequence[Row]) -> None:
        """End executions that were claimed, and let as many new ones take their places."""
        await self.end(rows)
        await self._add("due", len(rows))

    async def end(self, rows: Sequence[Row]) -> None:
        """End executions that were claimed."""
        ended = [
            Change(
                id=self._name("change"),
                row=replace(row, status=Status.SUCCEEDED, step=None, worker=None, revision=row.revision + 1),
                expects=row.revision,
                entries=(Entry(Kind.SUCCEEDED, row.step, 1, 1),),
                due=NEVER,
                timer=NEVER,
            )
            for row in rows
        ]
        _expect(await self._storage.commit([(change,) for change in ended]))

    async def _add(self, state: State, amount: int) -> None:
        for start in range(0, amount, _TOGETHER):
            together = min(_TOGETHER, amount - start)
            _expect(await self._storage.commit([(self._new(state),) for _ in range(together)]))

    def _new(self, state: State) -> Change:
        status, due = _STANDS[state]
        entries = (Entry(Kind.CREATED, "reserve", 1), *_TELLS[state])
        row = Row(
            id=self._name("execution"),
            workflow=_WORKFLOW,
            version=_VERSION,
            status=status,
            step=None if status.is_terminal else "reserve",
            visit=1,
            attempt=0 if state == "due" else 1,
            revision=len(entries),
            input=_INPUT,
            output=_OUTPUT if status.is_terminal else None,
        )
        return Change(id=self._name("change"), row=row, expects=0, entries=entries, due=due, timer=due)

    def _name(self, what: str) -> str:
        return f"{what}-{next(self._numbers):012d}"


def _expect(results: Sequence[bool | None]) -> None:
    if not all(results):
        msg = f"{results.count(False)} of {len(results)} units were refused"
        raise AssertionError(msg)
