"""Defects of commits as a whole: guards that don't guard, and units that come apart."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import anyio.lowlevel
from msgspec.structs import replace

from stepwell.storage import Change, Deposit, Unit, Wake
from tests.storage.defects.defective import Defective

Part = Change | Wake | Deposit


class AnyRevisionWillDo(Defective):
    """A Change is committed whatever revision it expects."""

    caught_by = """
        a_change_that_expects_another_revision_is_refused who_lost_its_lease_commits_nothing
        a_creation_of_what_exists_is_refused a_change_of_what_does_not_exist_is_refused one_of_many_changes_is_committed
        one_of_many_creations_is_committed a_parent_that_was_deciding_is_refused a_unit_is_refused_whole
        a_commit_and_a_claim_exclude_each_other units_at_once_do_not_block_each_other
    """

    def _permits(self, part: Part) -> bool:
        return isinstance(part, Change) or super()._permits(part)


class OlderRevisionsAreFine(Defective):
    """A Change is refused only where the stored revision is newer than it expects."""

    caught_by = "a_change_that_expects_another_revision_is_refused a_change_of_what_does_not_exist_is_refused"

    def _permits(self, part: Part) -> bool:
        row = self._rows.get(part.row.id) if isinstance(part, Change) else None
        if isinstance(part, Change) and (row is None or part.expects > row.revision):
            return True
        return super()._permits(part)


class SignalsAreNotGuarded(Defective):
    """A Change is committed whatever number of signals it counted."""

    caught_by = """
        a_change_that_counted_other_signals_is_refused a_refused_change_marks_no_signal
        a_signal_and_a_suspension_do_not_miss_each_other
    """

    def _permits(self, part: Part) -> bool:
        return super()._permits(replace(part, signals=None) if isinstance(part, Change) else part)

    def _deposit(self, deposit: Deposit, now: int) -> None:
        """Make nothing due, so that it is the guard alone that keeps a signal from being missed."""
        due_at = self._rows[deposit.id].due_at
        super()._deposit(deposit, now)
        self._rows[deposit.id] = replace(self._rows[deposit.id], due_at=due_at)


class UnitsAreHalfApplied(Defective):
    """The parts of a unit before the one that is refused stay committed."""

    caught_by = """
        a_unit_is_refused_whole many_refused_units_leave_the_others_whole a_long_unit_is_committed_whole
    """

    def _commit(self, unit: Unit, now: int) -> bool:
        return all(super(UnitsAreHalfApplied, self)._commit((part,), now) for part in unit)


class WakesAreAppliedFirst(Defective):
    """A Wake is applied though its unit is refused."""

    caught_by = "a_wake_goes_with_its_unit a_unit_is_refused_whole"

    def _commit(self, unit: Unit, now: int) -> bool:
        for part in unit:
            if isinstance(part, Wake):
                self._wake(part, now)
        return super()._commit(tuple(part for part in unit if not isinstance(part, Wake)), now)


class OneRefusedUnitRefusesAll(Defective):
    """All units of a call are refused where one is."""

    caught_by = """
        one_refused_unit_does_not_affect_the_others many_refused_units_leave_the_others_whole
        results_are_in_the_order_of_the_units
    """

    async def commit(self, units: Sequence[Unit], /) -> list[bool]:
        if not all(self._permits(part) for unit in units for part in unit):
            return [False] * len(units)
        return await super().commit(units)


class ResultsComeInAnotherOrder(Defective):
    """Results stand in the order of the units' ids."""

    caught_by = "results_are_in_the_order_of_the_units"

    async def commit(self, units: Sequence[Unit], /) -> list[bool]:
        results = await super().commit(units)
        return [done for _, done in sorted(zip(units, results, strict=True), key=lambda pair: _id(pair[0]))]


class NothingIsSomething(Defective):
    """A commit of no units has a result."""

    caught_by = "nothing_to_commit_is_no_error"

    async def commit(self, units: Sequence[Unit], /) -> list[bool]:
        return await super().commit(units) or [True]


class BatchesAreCut(Defective):
    """Units after the sixty-fourth of a call are told as committed, but aren't."""

    caught_by = "one_refused_unit_does_not_affect_the_others many_leases_are_renewed"

    async def commit(self, units: Sequence[Unit], /) -> list[bool]:
        return await super().commit(units[:64]) + [True] * len(units[64:])


class UnitsAreCut(Defective):
    """Parts of a unit after the third are not committed."""

    caught_by = "a_unit_is_committed_whole a_long_unit_is_committed_whole"

    def _commit(self, unit: Unit, now: int) -> bool:
        return super()._commit(unit[:3], now)


class GuardsAreLookedAtTooEarly(Defective):
    """Between the guards of a unit and its application others have their turn."""

    caught_by = """
        one_of_many_changes_is_committed one_of_many_creations_is_committed one_of_many_signals_is_accepted
        a_commit_and_a_claim_exclude_each_other a_signal_and_a_suspension_do_not_miss_each_other
        units_at_once_do_not_block_each_other
    """

    async def commit(self, units: Sequence[Unit], /) -> list[bool]:
        await anyio.lowlevel.checkpoint()
        permitted = [all(self._permits(part) for part in unit) for unit in units]
        await anyio.sleep(0.001)
        for unit, good in zip(units, permitted, strict=True):
            if good:
                self._apply(unit)
        return permitted

    def _apply(self, unit: Unit) -> None:
        now = self._now()
        for part in unit:
            match part:
                case Change():
                    self._change(part, now)
                case Wake():
                    self._wake(part, now)
                case Deposit():
                    self._deposit(part, now)


class CommitsOverwriteEachOther(Defective):
    """A commit writes back the executions as it read them, with its own units on top: what came between is lost."""

    caught_by = "commits_at_once_are_all_kept each_wake_at_once_counts"

    async def commit(self, units: Sequence[Unit], /) -> list[bool]:
        rows = dict(self._rows)
        journals = {id: list(journal) for id, journal in self._journals.items()}
        await anyio.lowlevel.checkpoint()
        self._rows = rows
        self._journals.clear()
        self._journals.update(journals)
        return [self._commit(unit, self._now()) for unit in units]


class UnitsLockInTheirOwnOrder(Defective):
    """A unit takes the locks of its executions one by one, in the order in which they stand in it."""

    caught_by = "units_at_once_do_not_block_each_other"

    async def commit(self, units: Sequence[Unit], /) -> list[bool]:
        locks: dict[str, anyio.Lock] = self.__dict__.setdefault("locks", {})
        taken: list[anyio.Lock] = []
        try:
            for unit in units:
                for part in unit:
                    lock = locks.setdefault(part.row.id if isinstance(part, Change) else part.id, anyio.Lock())
                    await lock.acquire()
                    taken.append(lock)
            return await super().commit(units)
        finally:
            for lock in taken:
                lock.release()


def _id(unit: Unit) -> str:
    part = unit[0]
    return part.row.id if isinstance(part, Change) else part.id
