"""Defects of purges: too much goes, or too little, or only a part of it."""

from __future__ import annotations

import anyio
import anyio.lowlevel

from stepwell.storage import Change, Deposit, Row, Status, Wake
from tests.storage.defects.defective import Defective


class PurgesDoNothing(Defective):
    """A purge deletes nothing."""

    caught_by = """
        what_has_ended_is_purged a_purge_leaves_nothing_of_an_execution a_purge_goes_by_the_time_since_the_end
        children_are_purged_with_their_parent many_are_purged
    """

    async def purge(self, age: float, /, *, limit: int) -> int:
        await anyio.lowlevel.checkpoint()
        return 0


class PurgesTellTooMuch(Defective):
    """A purge that deletes something tells its limit, and one that deletes nothing tells 1, once."""

    caught_by = "what_has_ended_is_purged a_purge_without_work_returns_zero"
    _asked = 0

    async def purge(self, age: float, /, *, limit: int) -> int:
        count = await super().purge(age, limit=limit)
        self._asked += 1
        return limit if count else int(self._asked == 2)


class Chooses(Defective):
    """A purge chooses for itself what it deletes."""

    caught_by = ""

    async def purge(self, age: float, /, *, limit: int) -> int:
        await anyio.lowlevel.checkpoint()
        ids = self.chosen(self._now() - round(age * 1_000_000), limit)
        for id in ids:
            self._forget(id)
        return len(ids)

    def chosen(self, until: int, limit: int) -> list[str]:
        """Return what goes: as it should be, but for what a defect changes."""
        chosen: list[str] = []
        for row in self.in_order([row for row in self._rows.values() if row.parent is None]):
            family = self.family(row)
            fits = not chosen or len(chosen) + len(family) <= limit
            if fits and all(self.is_over(each, until) for each in family):
                chosen += [each.id for each in family]
        return chosen

    def in_order(self, rows: list[Row]) -> list[Row]:
        return sorted(rows, key=lambda row: row.ended_at or 0)

    def family(self, row: Row) -> list[Row]:
        children = [child for child in self._rows.values() if child.parent == row.id]
        return [row, *(below for child in children for below in self.family(child))]

    def is_over(self, row: Row, until: int) -> bool:
        return row.ended_at is not None and row.ended_at <= until


class AgesAreMilliseconds(Defective):
    """An age is taken for milliseconds."""

    caught_by = "a_purge_goes_by_the_time_since_the_end"

    async def purge(self, age: float, /, *, limit: int) -> int:
        return await super().purge(age / 1_000, limit=limit)


class AgesAreIgnored(Defective):
    """A purge deletes what ended, whenever that was."""

    caught_by = "a_purge_goes_by_the_time_since_the_end a_family_is_as_old_as_its_last_end"

    async def purge(self, age: float, /, *, limit: int) -> int:
        return await super().purge(0, limit=limit)


class PurgesKeepTheRow(Defective):
    """A purge deletes the journal and the signals, and counts the row."""

    caught_by = "what_has_ended_is_purged a_purge_leaves_nothing_of_an_execution"

    def _forget(self, id: str) -> None:
        self._journals.pop(id, None)
        self._signals.pop(id, None)


class PurgesKeepTheJournal(Defective):
    """A purge deletes the row, and not its journal."""

    caught_by = "a_purged_id_is_free"

    def _forget(self, id: str) -> None:
        del self._rows[id]
        self._signals.pop(id, None)


class PurgesKeepTheSignals(Defective):
    """A purge deletes the row, and not its signals."""

    caught_by = "a_purged_id_is_free"

    def _forget(self, id: str) -> None:
        del self._rows[id]
        self._journals.pop(id, None)


class PurgedIdsAreTaken(Defective):
    """What was purged can't be created again."""

    caught_by = "a_purged_id_is_free"
    _gone: tuple[str, ...] = ()

    def _forget(self, id: str) -> None:
        super()._forget(id)
        self._gone += (id,)

    def _permits(self, part: Change | Wake | Deposit) -> bool:
        return super()._permits(part) and not (isinstance(part, Change) and part.row.id in self._gone)


class OnlyWorkIsSpared(Chooses):
    """A purge deletes what isn't queued and doesn't run."""

    caught_by = "what_has_not_ended_is_not_purged"

    def is_over(self, row: Row, until: int) -> bool:
        return row.status not in {Status.QUEUED, Status.RUNNING} and row.updated_at <= until


class ResumedIsStillEnded(Chooses):
    """A purge deletes what has ever ended."""

    caught_by = "what_was_resumed_is_not_purged a_purge_and_a_resume_exclude_each_other"
    _ends: tuple[str, ...] = ()

    def _store(self, row: Row, *, moved: bool) -> None:
        super()._store(row, moved=moved)
        if row.ended_at is not None:
            self._ends += (row.id,)

    def is_over(self, row: Row, until: int) -> bool:
        return row.id in self._ends


class ChildrenAreLeftBehind(Chooses):
    """A purge deletes what has no parent, and leaves the children."""

    caught_by = "children_are_purged_with_their_parent"

    def family(self, row: Row) -> list[Row]:
        return [row]


class OnlyChildrenAreLookedAt(Chooses):
    """A purge looks at children, and not at theirs."""

    caught_by = "children_are_purged_with_their_parent a_parent_stays_while_a_child_lives"

    def family(self, row: Row) -> list[Row]:
        return [row, *(child for child in self._rows.values() if child.parent == row.id)]


class EachGoesByItself(Chooses):
    """A purge deletes whatever has ended, children and parents."""

    caught_by = """
        a_child_stays_while_its_parent_is_there a_parent_stays_while_a_child_lives a_family_is_as_old_as_its_last_end
        a_family_beyond_the_limit_is_purged_alone
    """

    def chosen(self, until: int, limit: int) -> list[str]:
        ended = self.in_order([row for row in self._rows.values() if self.is_over(row, until)])
        return [row.id for row in ended][:limit]


class ParentsDecide(Chooses):
    """A purge deletes what lies below what has ended, however it stands."""

    caught_by = "a_parent_stays_while_a_child_lives a_family_is_as_old_as_its_last_end"

    def is_over(self, row: Row, until: int) -> bool:
        return row.parent is not None or super().is_over(row, until)


class AgesOfChildrenAreIgnored(Chooses):
    """A purge wants children to have ended, whenever that was."""

    caught_by = "a_family_is_as_old_as_its_last_end"

    def is_over(self, row: Row, until: int) -> bool:
        return row.ended_at is not None and (row.parent is not None or row.ended_at <= until)


class TheLastEndedGoesFirst(Chooses):
    """A purge begins with what ended last."""

    caught_by = "the_longest_ended_is_purged_first"

    def in_order(self, rows: list[Row]) -> list[Row]:
        return super().in_order(rows)[::-1]


class TheLastCreatedGoesFirst(Chooses):
    """A purge goes by when executions were created."""

    caught_by = "the_longest_ended_is_purged_first"

    def in_order(self, rows: list[Row]) -> list[Row]:
        return rows


class LimitsOfPurgesAreIgnored(Defective):
    """A purge deletes all there is."""

    caught_by = "a_purge_deletes_no_more_than_its_limit many_are_purged the_longest_ended_is_purged_first"

    async def purge(self, age: float, /, *, limit: int) -> int:
        return await super().purge(age, limit=limit * 1_000)


class LimitsCountParents(Chooses):
    """A purge counts what has no parent, and not what goes with it."""

    caught_by = "a_purge_deletes_no_more_than_its_limit"

    def chosen(self, until: int, limit: int) -> list[str]:
        roots = [row for row in self._rows.values() if row.parent is None and self.is_over(row, until)]
        return [each.id for row in roots[:limit] for each in self.family(row)]


class LargeFamiliesStay(Chooses):
    """A purge never deletes more than its limit."""

    caught_by = "a_family_beyond_the_limit_is_purged_alone"

    def chosen(self, until: int, limit: int) -> list[str]:
        chosen = super().chosen(until, limit)
        return chosen if len(chosen) <= limit else []


class PurgesAreCut(Defective):
    """A purge deletes a hundred at most."""

    caught_by = "many_are_purged"

    async def purge(self, age: float, /, *, limit: int) -> int:
        return await super().purge(age, limit=min(limit, 100))


class PurgesEmptyTheQueues(Defective):
    """After a purge nothing is due any more."""

    caught_by = "a_purge_leaves_claims_alone"

    async def purge(self, age: float, /, *, limit: int) -> int:
        if count := await super().purge(age, limit=limit):
            self._queues._queues.clear()  # pyright: ignore[reportPrivateUsage]
        return count


class PurgesWaitInTheWay(Defective):
    """A purge works for long."""

    caught_by = "a_purge_leaves_claims_alone"

    async def purge(self, age: float, /, *, limit: int) -> int:
        if age == 0 and limit == 100:
            await anyio.sleep(100)
        return await super().purge(age, limit=limit)


class ChoosingAndDeletingAreTwoSteps(Chooses):
    """Between finding what has ended and deleting it others have their turn."""

    caught_by = "purges_at_once_count_each_execution_once a_purge_and_a_resume_exclude_each_other"

    async def purge(self, age: float, /, *, limit: int) -> int:
        ids = self.chosen(self._now() - round(age * 1_000_000), limit)
        await anyio.sleep(0.001)
        for id in ids:
            if id in self._rows:
                self._forget(id)
        return len(ids)


class NonsenseMeansAll(Defective):
    """An age below 0 is taken for 0, and a limit below 1 for 100."""

    caught_by = "a_purge_refuses_what_makes_no_sense"

    async def purge(self, age: float, /, *, limit: int) -> int:
        return await super().purge(age if age > 0 else 0, limit=limit if limit > 0 else 100)
