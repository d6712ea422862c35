"""Defects of what is read: load, journal, find, wakeup."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.lowlevel
from msgspec.structs import replace

from stepwell.storage import Entry, Kind, Page, Query, Row, Stored
from tests.storage.defects.defective import Defective


class IdsAreGuessed(Defective):
    """Load finds an execution whose id matches a pattern."""

    caught_by = "load_of_an_unknown_execution_is_none"

    async def load(self, id: str, /) -> Stored | None:
        stored = await super().load(id)
        if stored is None and id.endswith("_"):
            return await super().load(next(known for known in self._rows if known.startswith(id[:-1])))
        return stored


class LongJournalsAreCut(Defective):
    """Load returns the first thousand entries."""

    caught_by = "load_returns_the_whole_journal"

    def _stored(self, id: str, now: int) -> Stored:
        stored = super()._stored(id, now)
        return replace(stored, journal=stored.journal[:1_000])


class ClocksAreForgotten(Defective):
    """Load doesn't tell the storage's clock."""

    caught_by = "load_tells_the_time a_claim_returns_the_execution_whole"

    async def load(self, id: str, /) -> Stored | None:
        stored = await super().load(id)
        return None if stored is None else replace(stored, now=0)


class LoadsAreOfTwoMoments(Defective):
    """Load reads the row first, and the journal a moment later."""

    caught_by = "load_is_of_one_moment"

    async def load(self, id: str, /) -> Stored | None:
        row = self._rows.get(id)
        await anyio.lowlevel.checkpoint()
        stored = await super().load(id)
        return None if stored is None or row is None else replace(stored, row=row)


class JournalsBeginAtAfter(Defective):
    """Journal returns the entry *after*, too."""

    caught_by = "journal_returns_entries_in_order journal_is_limited"

    async def journal(self, id: str, /, *, after: int = 0, limit: int = 1000) -> list[Entry]:
        return await super().journal(id, after=max(after - 1, 0), limit=limit)


class JournalsAreUnlimited(Defective):
    """Journal returns all entries."""

    caught_by = "journal_returns_entries_in_order journal_is_limited"

    async def journal(self, id: str, /, *, after: int = 0, limit: int = 1000) -> list[Entry]:
        return await super().journal(id, after=after, limit=10**9)


class JournalsOfTheUnknownHaveAnEntry(Defective):
    """Journal makes something up where there is no execution."""

    caught_by = "journal_of_an_unknown_execution_is_empty a_wake_of_an_unknown_parent_has_no_effect"

    async def journal(self, id: str, /, *, after: int = 0, limit: int = 1000) -> list[Entry]:
        known = id in self._rows
        return await super().journal(id, after=after, limit=limit) if known else [Entry(Kind.CREATED)]


class WakeupsHoldALock(Defective):
    """While someone waits for a wake-up nothing else can be done."""

    caught_by = "wakeup_holds_nobody_up"

    async def wakeup(self) -> None:
        self.__dict__["asleep"] = True
        await anyio.sleep_forever()

    async def load(self, id: str, /) -> Stored | None:
        if "asleep" in self.__dict__:
            await anyio.sleep_forever()
        return await super().load(id)


class Rewriting(Defective):
    """Find makes another query of the one it was asked."""

    caught_by = "find_by_status"

    async def find(self, query: Query, /) -> Page:
        return await super().find(self.rewritten(query))

    def rewritten(self, query: Query) -> Query:
        return replace(query, status=())


class OnlyTheFirstIdCounts(Rewriting):
    """Find looks at one id only."""

    caught_by = "find_by_ids"

    def rewritten(self, query: Query) -> Query:
        return replace(query, ids=query.ids[:1])


class VersionsDoNotNarrow(Rewriting):
    """Find ignores the version."""

    caught_by = "find_by_workflow_and_version"

    def rewritten(self, query: Query) -> Query:
        return replace(query, version=None)


class OnlyTheFirstStatusCounts(Rewriting):
    """Find looks at one status only."""

    caught_by = "find_by_status"

    def rewritten(self, query: Query) -> Query:
        return replace(query, status=query.status[:1])


class TimesAreInclusive(Rewriting):
    """Find takes the times for inclusive ones."""

    caught_by = "find_by_time"

    def rewritten(self, query: Query) -> Query:
        after, before = query.created_after, query.created_before
        return replace(
            query,
            created_after=None if after is None else after - 1,
            created_before=None if before is None else before + 1,
        )


class PagesAreByOffset(Rewriting):
    """A cursor is taken for a number of rows to skip."""

    caught_by = "pages_stand_still"

    async def find(self, query: Query, /) -> Page:
        if query.after is None:
            page = await super().find(query)
            self.__dict__["seen"] = len(page.rows)
            return page
        page = await super().find(replace(query, after=None, limit=1_000))
        return Page(page.rows[self.__dict__["seen"] :], more=False)

    def rewritten(self, query: Query) -> Query:
        return query


class CursorsAreTimes(Rewriting):
    """A cursor skips whatever was created at the same time."""

    caught_by = "pages_show_each_row_once pages_stand_still"

    def rewritten(self, query: Query) -> Query:
        return query if query.after is None else replace(query, after=(query.after[0], ""))


class PagesAreUnbounded(Rewriting):
    """A page holds as many rows as it is asked for."""

    caught_by = "a_page_is_never_unbounded"

    async def find(self, query: Query, /) -> Page:
        page = await super().find(replace(query, limit=min(query.limit, 1_000)))
        rows = page.rows
        while page.more and len(rows) < query.limit:
            last = rows[-1]
            page = await super().find(replace(query, after=(last.created_at, last.id), limit=1_000))
            rows += page.rows
        return Page(rows, more=page.more)

    def rewritten(self, query: Query) -> Query:
        return query


class Sifting(Defective):
    """Find looks at all rows by itself."""

    caught_by = "find_returns_the_newest_first pages_show_each_row_once"

    async def find(self, query: Query, /) -> Page:
        wide = replace(query, tag=None, metadata={}, id_prefix=None, parent=None, workflow=None, limit=1_000)
        page = await super().find(wide)
        rows = self.sorted([row for row in page.rows if self.matches(query, row)])
        return Page(tuple(rows[: query.limit]), more=len(rows) > query.limit)

    def sorted(self, rows: list[Row]) -> list[Row]:
        return rows[::-1] if type(self) is Sifting else rows

    def matches(self, query: Query, row: Row) -> bool:
        return (
            query.workflow in (None, row.workflow)
            and query.parent in (None, row.parent)
            and (query.tag is None or query.tag in row.tags)
            and (query.id_prefix is None or row.id.startswith(query.id_prefix))
            and all(key in row.metadata and _same(row.metadata[key], value) for key, value in query.metadata.items())
        )


class TiesAreAscending(Sifting):
    """Rows of the same time come by id, ascending."""

    caught_by = "find_returns_the_newest_first"

    def sorted(self, rows: list[Row]) -> list[Row]:
        return sorted(sorted(rows, key=lambda row: row.id), key=lambda row: row.created_at, reverse=True)


class WorkflowsMatchByPrefix(Sifting):
    """Find takes part of a workflow's name."""

    caught_by = "find_by_workflow_and_version"

    def matches(self, query: Query, row: Row) -> bool:
        return row.workflow.startswith(query.workflow or "") and super().matches(replace(query, workflow=None), row)


class ParentsMatchByPrefix(Sifting):
    """Find takes part of a parent's id."""

    caught_by = "find_by_parent"

    def matches(self, query: Query, row: Row) -> bool:
        ours = query.parent is None or (row.parent or "").startswith(query.parent)
        return ours and super().matches(replace(query, parent=None), row)


class TagsAreText(Sifting):
    """Find looks for a tag in the text of all tags."""

    caught_by = "find_by_tag"

    def matches(self, query: Query, row: Row) -> bool:
        ours = query.tag is None or query.tag in str(row.tags)
        return ours and super().matches(replace(query, tag=None), row)


class AnyMetadataWillDo(Sifting):
    """Find takes what has one of the values, not all."""

    caught_by = "find_by_metadata"

    def matches(self, query: Query, row: Row) -> bool:
        ours = not query.metadata or any(
            key in row.metadata and _same(row.metadata[key], value) for key, value in query.metadata.items()
        )
        return ours and super().matches(replace(query, metadata={}), row)


class MetadataIsComparedByPython(Sifting):
    """Find takes `1` for `true`, and a missing value for `null`."""

    caught_by = "find_by_metadata"

    def matches(self, query: Query, row: Row) -> bool:
        ours = all(row.metadata.get(key) == value for key, value in query.metadata.items())
        return ours and super().matches(replace(query, metadata={}), row)


class KeysArePaths(Sifting):
    """Find takes a dot in a key for a way into the value."""

    caught_by = "find_by_odd_metadata"

    def matches(self, query: Query, row: Row) -> bool:
        return all("." not in key for key in query.metadata) and super().matches(query, row)


class PrefixesArePatterns(Sifting):
    """Find takes `_` in a prefix for any character."""

    caught_by = "find_by_id_prefix"

    def matches(self, query: Query, row: Row) -> bool:
        prefix = query.id_prefix or ""
        ours = len(row.id) >= len(prefix) and all(p in ("_", c) for p, c in zip(prefix, row.id, strict=False))
        return ours and super().matches(replace(query, id_prefix=None), row)


class PrefixesHaveASuccessor(Sifting):
    """Find takes a prefix for a range that ends before the next code point; after the last one there is none."""

    caught_by = "find_by_the_highest_prefix find_by_id_prefix"

    def matches(self, query: Query, row: Row) -> bool:
        prefix = query.id_prefix
        return (prefix is None or prefix[-1] != "\U0010ffff") and super().matches(query, row)


class WhatIsEmptyNarrows(Sifting):
    """Find takes no parent for the parent of those that have none."""

    caught_by = "find_narrows_by_everything_at_once"

    def matches(self, query: Query, row: Row) -> bool:
        return row.parent == query.parent and super().matches(query, row)


class PagesAreOneTooLong(Rewriting):
    """A page holds one row more than its limit."""

    caught_by = "a_page_has_no_more_than_its_limit"

    def rewritten(self, query: Query) -> Query:
        return replace(query, limit=query.limit + 1)


class FullPagesTellOfMore(Defective):
    """A page tells of more whenever it is full."""

    caught_by = "a_page_has_no_more_than_its_limit"

    async def find(self, query: Query, /) -> Page:
        page = await super().find(query)
        return replace(page, more=len(page.rows) == query.limit)


class FoundRowsAreSlim(Defective):
    """Find returns rows without their inputs."""

    caught_by = "find_returns_rows_as_they_are inputs_and_results_come_back_exactly"

    async def find(self, query: Query, /) -> Page:
        page = await super().find(query)
        return replace(page, rows=tuple(replace(row, input="null") for row in page.rows))


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and one == other
