"""Looks through a storage for broken promises: page by page, reading only, beside whoever works there.

The rules are `_invariants`. An execution, its journal and its signals come as of one moment. Of what belongs to two
executions a suspicion is looked at again until what was read first has stood still, so that work in progress is never
told as a breach.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from msgspec import Struct

from stepwell._execution import cursor, read_cursor
from stepwell._invariants import Breach, check_children, check_execution, check_parent, children_of
from stepwell._model import Page, Query, Row
from stepwell._settings import positive
from stepwell.storage._protocol import StorageError
from stepwell.storage._unreadable import Unreadable

if TYPE_CHECKING:
    from stepwell._definition import Workflow
    from stepwell._model import Stored
    from stepwell.storage._protocol import Storage

__all__ = ["Verified", "verify"]

_PAGE: Final = 500
"""rows that are found at a time"""
_MAX_BREACHES: Final = 20
"""of one execution; a journal that is damaged throughout would have thousands"""
_TRIES: Final = 100
"""how often two executions that never stand still are read again; then they are busy, and not stranded"""

_LAST: Final = 2**62
"""later than anything was created"""

Key: TypeAlias = tuple[str, str]
Place: TypeAlias = tuple[int, str]


class Verified(Struct, frozen=True, kw_only=True):
    """What a look through a part of a storage came to."""

    checked: int
    """how many executions were looked at"""
    breaches: tuple[Breach, ...]
    next: str | None
    """where to go on, for `after`; None where nothing is left"""


async def verify(
    storage: Storage,
    *,
    workflows: Sequence[Workflow[Any, Any]] = (),
    after: str | None = None,
    limit: int = 1000,
) -> Verified:
    """Check up to *limit* executions against the promises, newest first, and return every breach that was found.

    Reads only, and disturbs nobody who works there meanwhile. *after* is the `next` of an earlier call, also of another
    process. What is started after the first call may be left out. Of executions of *workflows*, and of the workflows of
    their subworkflows, it also checks that their steps are a path of the graph.

    Raises StorageError where the storage doesn't answer, and InvalidArgument. What is stored but can't be read is a
    breach.
    """
    left = positive(limit, "limit")
    place = None if after is None else read_cursor(after)
    walk = _Walk(storage, _by_key(workflows))
    while left:
        page, place = await walk.page(place, min(left, _PAGE))
        for row in page.rows:
            await walk.look(row.id)
        left -= max(len(page.rows), 1)
        if not page.more or place is None:
            place = None
            break
    return Verified(
        checked=walk.checked,
        breaches=tuple(walk.breaches),
        next=None if place is None else cursor(*place),
    )


def _by_key(workflows: Sequence[Workflow[Any, Any]]) -> dict[Key, Workflow[Any, Any]]:
    known: dict[Key, Workflow[Any, Any]] = {}
    ahead = list(workflows)
    while ahead:
        workflow = ahead.pop()
        if workflow.key not in known:
            known[workflow.key] = workflow
            ahead += workflow.children
    return known


class _Walk:
    """One call: what it was given, and what it has found."""

    def __init__(self, storage: Storage, workflows: Mapping[Key, Workflow[Any, Any]]) -> None:
        self._storage = storage
        self._workflows = workflows
        self._parents: dict[str, Stored] = {}
        """read on this page, and perhaps older than the child that is looked at"""
        self.breaches: list[Breach] = []
        self.checked = 0

    async def page(self, after: Place | None, limit: int) -> tuple[Page, Place | None]:
        """Return the next page, and the place behind it.

        Where a row can't be read, the page ends before it, and the place is behind it and behind what was created in
        the same microsecond. A page can be read from some time on: that time is looked for by halves.
        """
        self._parents.clear()
        fault: Unreadable
        try:
            return _with_place(await self._find(Query(after=after, limit=limit)))
        except Unreadable as error:
            fault = error
        unreadable, readable, page = -1, _LAST if after is None else after[0], Page((), more=False)
        while readable - unreadable > 1:
            middle = (readable + unreadable) // 2
            try:
                page = await self._find(Query(after=after, limit=limit, created_after=middle))
            except Unreadable as error:
                unreadable, fault = middle, error
            else:
                readable = middle
        found = f"one created {readable} µs after 1970 (what was created just then is left out): {fault}"
        self.breaches.append(Breach.of("readable", None, "rows that can be read", found))
        return Page(page.rows, more=True), (readable, "")

    async def look(self, id: str) -> None:
        """Check one execution, and how it stands with its children and its parent; nothing if it is gone."""
        try:
            stored = await self._load(id)
        except Unreadable as error:
            self.checked += 1
            self.breaches.append(Breach.of("readable", id, "an execution that can be read", str(error)))
            return
        if stored is None:
            return
        self.checked += 1
        found = check_execution(stored, self._workflows.get((stored.row.workflow, stored.row.version)))
        if not found:  # else its journal may be wrong about its family, too
            with suppress(Unreadable):  # which is told where that one is looked at
                found = await self._confirmed(stored, self._with_children)
                found += await self._confirmed(stored, self._with_parent)
        self.breaches += found[:_MAX_BREACHES]

    async def _confirmed(self, stored: Stored, check: Callable[[Stored], Awaitable[list[Breach]]]) -> list[Breach]:
        """Return what *check* finds of an execution that has not changed until it was through."""
        for _ in range(_TRIES):
            found = await check(stored)
            if not found:
                break
            again = await self._load(stored.row.id)
            if again is None:
                break
            if again.row == stored.row:
                return found
            stored = again
        return []

    async def _with_children(self, stored: Stored) -> list[Breach]:
        ids = children_of(stored)
        rows: dict[str, Row] = {}
        for start in range(0, len(ids), _PAGE):
            some = ids[start : start + _PAGE]
            rows |= {row.id: row for row in (await self._find(Query(ids=some, limit=len(some)))).rows}
        return check_children(stored, rows)

    async def _with_parent(self, stored: Stored) -> list[Breach]:
        id = stored.row.parent
        if id is None:
            return []
        known = self._parents.get(id)
        if known is not None and not check_parent(stored, known):
            return []
        parent = await self._load(id)
        if parent is not None:
            self._parents[id] = parent
        return check_parent(stored, parent)

    async def _find(self, query: Query) -> Page:
        try:
            return await self._storage.find(query)
        except StorageError:
            raise
        except Exception as error:  # whatever a damaged value makes the decoder of a storage raise
            raise _unreadable(error) from error

    async def _load(self, id: str) -> Stored | None:
        try:
            return await self._storage.load(id)
        except StorageError:
            raise
        except Exception as error:  # as above
            raise _unreadable(error) from error


def _unreadable(error: Exception) -> Unreadable:
    return Unreadable(f"{type(error).__name__}: {error}")


def _with_place(page: Page) -> tuple[Page, Place | None]:
    return page, (page.rows[-1].created_at, page.rows[-1].id) if page.rows else None
