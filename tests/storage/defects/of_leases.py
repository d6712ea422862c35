"""Defects of renewals, of what they tell, and of lifelines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import get_ident

import anyio
from msgspec.structs import replace

from stepwell.storage import Entry, Kind, Lease, Lifeline, Renewal, Row
from tests.storage.defects.defective import Defective


class RenewalsDoNothing(Defective):
    """A renewal tells what is lost, but moves nothing."""

    caught_by = """
        a_renewal_moves_the_end_of_the_lease a_renewal_may_shorten_a_lease a_lease_is_valid_past_its_end
        a_lease_is_valid_under_later_revisions a_lost_lease_does_not_affect_the_others many_leases_are_renewed
        a_lifeline_renews a_lifeline_works_from_any_thread a_renewal_and_a_claim_exclude_each_other
    """

    def _renew(self, worker: str, leases: Sequence[Lease], lease: float) -> Renewal:
        before = dict(self._rows)
        renewal = super()._renew(worker, leases, lease)
        for named in leases:
            if named.id in before:
                self._store(before[named.id], moved=True)
        return renewal


class CreationsHoldNoLease(Defective):
    """What is created running is nobody's lease."""

    caught_by = "an_execution_may_be_leased_as_it_is_created"

    def _store(self, row: Row, *, moved: bool) -> None:
        is_new = row.id not in self._rows
        super()._store(row, moved=moved)
        if is_new and row.worker is not None:
            del self._held[row.worker][row.id]


class RenewalsOnlyExtend(Defective):
    """A renewal never moves the end of a lease to an earlier time."""

    caught_by = "a_renewal_may_shorten_a_lease a_lifeline_renews"

    def _renew(self, worker: str, leases: Sequence[Lease], lease: float) -> Renewal:
        return super()._renew(worker, leases, lease or 3600)


class RenewalsAddToTheEnd(Defective):
    """A renewal counts from the end of the lease."""

    caught_by = "a_renewal_moves_the_end_of_the_lease a_renewal_may_shorten_a_lease"

    def _renew(self, worker: str, leases: Sequence[Lease], lease: float) -> Renewal:
        before = dict(self._rows)
        renewal = super()._renew(worker, leases, lease)
        for named in set(leases) - set(renewal.lost):
            end = (before[named.id].due_at or 0) + round(lease * 2_000_000)
            self._store(replace(self._rows[named.id], due_at=end), moved=True)
        return renewal


class RenewalsAreWritten(Defective):
    """A renewal appends an entry and raises the revision."""

    caught_by = "a_renewal_changes_nothing_else"

    def _renew(self, worker: str, leases: Sequence[Lease], lease: float) -> Renewal:
        renewal = super()._renew(worker, leases, lease)
        for named in set(leases) - set(renewal.lost):
            row = self._rows[named.id]
            self._rows[named.id] = replace(row, revision=row.revision + 1)
            self._journals[named.id].append(Entry(Kind.CLAIMED, seq=row.revision + 1))
        return renewal


class LeasesEndInTime(Defective):
    """A lease past its end is lost though nobody claimed it."""

    caught_by = "a_lease_is_valid_past_its_end a_renewal_moves_the_end_of_the_lease"

    def _renew(self, worker: str, leases: Sequence[Lease], lease: float) -> Renewal:
        ended = tuple(one for one in leases if one.id in self._rows and (self._rows[one.id].due_at or 0) <= self._now())
        renewal = super()._renew(worker, [one for one in leases if one not in ended], lease)
        return replace(renewal, lost=(*renewal.lost, *ended))


class OneLostLeaseLosesAll(Defective):
    """A renewal that names a lost lease renews none."""

    caught_by = "a_lost_lease_does_not_affect_the_others a_lifeline_leaves_lost_leases_alone"

    def _renew(self, worker: str, leases: Sequence[Lease], lease: float) -> Renewal:
        if all(self._holds_lease(worker, one) for one in leases):
            return super()._renew(worker, leases, lease)
        return Renewal(tuple(one for one in leases if not self._holds_lease(worker, one)))


class RenewalsAreCut(Defective):
    """Leases after the hundredth aren't renewed."""

    caught_by = "many_leases_are_renewed"

    def _renew(self, worker: str, leases: Sequence[Lease], lease: float) -> Renewal:
        return replace(super()._renew(worker, leases[:100], lease), unknown=())


class Careless(Defective):
    """A renewal doesn't look at the token."""

    caught_by = """
        a_lease_with_another_token_is_lost a_lease_held_anew_is_unknown a_lifeline_leaves_lost_leases_alone
    """

    def _renew(self, worker: str, leases: Sequence[Lease], lease: float) -> Renewal:
        careless = [self._valid(worker, one) for one in leases]
        return super()._renew(worker, careless, lease)

    def _valid(self, worker: str, lease: Lease) -> Lease:
        row = self._rows.get(lease.id)
        return Lease(lease.id, row.token) if row is not None and row.worker == worker else lease


class AnyWorkerMayRenew(Defective):
    """A renewal doesn't look at the worker."""

    caught_by = "another_workers_lease_is_lost a_lifeline_leaves_lost_leases_alone"

    def _renew(self, worker: str, leases: Sequence[Lease], lease: float) -> Renewal:
        holders = {row.worker for one in leases if (row := self._rows.get(one.id)) is not None}
        for holder in holders - {None, worker}:
            super()._renew(holder or "", leases, lease)
        return super()._renew(worker, leases, lease)


class AnyStatusMayBeRenewed(Defective):
    """A renewal doesn't look at the status."""

    caught_by = "a_lease_of_what_no_longer_runs_is_lost"

    def _renew(self, worker: str, leases: Sequence[Lease], lease: float) -> Renewal:
        renewal = super()._renew(worker, leases, lease)
        return replace(renewal, lost=tuple(one for one in renewal.lost if not self._named(worker, one)))

    def _named(self, worker: str, lease: Lease) -> bool:
        row = self._rows.get(lease.id)
        return row is not None and (row.worker, row.token) == (worker, lease.token)


class UnknownLeasesAreNotTold(Defective):
    """A renewal doesn't tell the leases that weren't named."""

    caught_by = """
        unknown_leases_are_told naming_no_lease_tells_all a_lease_held_anew_is_unknown only_held_leases_are_unknown
    """

    def _renew(self, worker: str, leases: Sequence[Lease], lease: float) -> Renewal:
        return replace(super()._renew(worker, leases, lease), unknown=())


class UnknownLeasesAreRenewed(Defective):
    """A renewal moves the end of the leases that weren't named."""

    caught_by = "unknown_leases_are_told"

    def _renew(self, worker: str, leases: Sequence[Lease], lease: float) -> Renewal:
        renewal = super()._renew(worker, leases, lease)
        super()._renew(worker, renewal.unknown, lease)
        return renewal


class NobodyIsAskedForNothing(Defective):
    """A renewal that names no lease tells nothing."""

    caught_by = "naming_no_lease_tells_all only_held_leases_are_unknown"

    def _renew(self, worker: str, leases: Sequence[Lease], lease: float) -> Renewal:
        return super()._renew(worker, leases, lease) if leases else Renewal()


class UnknownLeasesAreRememberedForever(Defective):
    """A renewal tells leases as unknown that were given back or taken away."""

    caught_by = "only_held_leases_are_unknown"

    def _store(self, row: Row, *, moved: bool) -> None:
        before = self._rows.get(row.id)
        super()._store(row, moved=moved)
        if before is not None and before.worker is not None:
            self._held[before.worker][row.id] = None


class RenewalsTakeTwoSteps(Defective):
    """Between looking at the leases and moving their ends others have their turn."""

    caught_by = "a_renewal_and_a_claim_exclude_each_other"

    async def renew(self, worker: str, leases: Sequence[Lease], /, *, lease: float) -> Renewal:
        lost = tuple(one for one in leases if not self._holds_lease(worker, one))
        await anyio.sleep(0.001)
        await super().renew(worker, leases, lease=lease)
        return Renewal(lost)


@dataclass
class _SelectiveLifeline:
    inner: Lifeline
    thread: int

    def renew(self, worker: str, leases: Sequence[Lease], *, lease: float) -> Renewal:
        return self.inner.renew(worker, leases, lease=lease) if self.thread == get_ident() else Renewal()

    def close(self) -> None:
        self.inner.close()


class LifelinesAreBoundToTheirThread(Defective):
    """A lifeline does nothing in a thread other than the one it was opened in."""

    caught_by = "a_lifeline_works_from_any_thread"

    def lifeline(self) -> Lifeline:
        return _SelectiveLifeline(super().lifeline(), thread=get_ident())
