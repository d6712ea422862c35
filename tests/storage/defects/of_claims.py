"""Defects of claims: too many, the wrong ones, and without what a claim must do."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
from msgspec.structs import replace

from stepwell.storage import Capability, Claims, Kind, Lease, Row, Status, Stored
from tests.storage.defects.defective import Defective


class ClaimsAreUnlimited(Defective):
    """A claim ignores its limit."""

    caught_by = "a_claim_takes_no_more_than_its_limit a_limit_of_zero_only_asks each_workflow_gets_a_place"

    def _take(self, capabilities: Sequence[Capability], limit: int, now: int) -> list[str]:
        return super()._take(capabilities, 1_000, now)


class LimitsAreAtLeastOne(Defective):
    """A limit of 0 is taken for 1."""

    caught_by = "a_limit_of_zero_only_asks"

    def _take(self, capabilities: Sequence[Capability], limit: int, now: int) -> list[str]:
        return super()._take(capabilities, max(limit, 1), now)


class TheNewestComesFirst(Defective):
    """A claim takes what became due last."""

    caught_by = "the_longest_due_comes_first each_workflow_gets_a_place"

    def _take(self, capabilities: Sequence[Capability], limit: int, now: int) -> list[str]:
        return _due(self, capabilities, now)[::-1][:limit]


class ClaimsComeInAnyOrder(Defective):
    """A claim takes the longest due, but returns them in another order."""

    caught_by = "the_longest_due_comes_first"

    def _take(self, capabilities: Sequence[Capability], limit: int, now: int) -> list[str]:
        return super()._take(capabilities, limit, now)[::-1]


class BusyWorkflowsStarveOthers(Defective):
    """A claim takes the longest due of all workflows, and no thought for those that are busy a little less."""

    caught_by = "each_workflow_gets_a_place"

    def _take(self, capabilities: Sequence[Capability], limit: int, now: int) -> list[str]:
        return _due(self, capabilities, now)[:limit]


class VersionsAreIgnored(Defective):
    """A claim takes every version of a workflow that is named."""

    caught_by = "only_named_workflows_are_touched"

    def _take(self, capabilities: Sequence[Capability], limit: int, now: int) -> list[str]:
        names = {name for name, _ in capabilities}
        return super()._take([pair for pair in _pairs(self) if pair[0] in names], limit, now)


class CapabilitiesAreCrossed(Defective):
    """A claim takes each named version of each named workflow."""

    caught_by = "only_named_workflows_are_touched"

    def _take(self, capabilities: Sequence[Capability], limit: int, now: int) -> list[str]:
        names, versions = {name for name, _ in capabilities}, {version for _, version in capabilities}
        pairs = [pair for pair in _pairs(self) if pair[0] in names and (pair[1] in versions or pair[1] == "1")]
        return super()._take(pairs, limit, now)


class NoCapabilityMeansAll(Defective):
    """A claim without capabilities takes everything."""

    caught_by = "no_capability_claims_nothing"

    def _take(self, capabilities: Sequence[Capability], limit: int, now: int) -> list[str]:
        return super()._take(capabilities or _pairs(self), limit, now)


class CapabilitiesAreCut(Defective):
    """Capabilities after the hundredth aren't served."""

    caught_by = "many_capabilities_are_served"

    def _take(self, capabilities: Sequence[Capability], limit: int, now: int) -> list[str]:
        return super()._take(capabilities[:100], limit, now)


class TheFutureIsDue(Defective):
    """A claim takes what has any due time."""

    caught_by = """
        what_is_not_due_is_left_alone what_comes_due_is_claimed a_running_lease_is_not_claimed
        a_lease_ends_by_itself claims_at_once_share_no_execution a_renewal_moves_the_end_of_the_lease
        a_lease_is_valid_past_its_end a_lease_is_valid_under_later_revisions a_renewal_and_a_claim_exclude_each_other
    """

    def _take(self, capabilities: Sequence[Capability], limit: int, now: int) -> list[str]:
        return super()._take(capabilities, limit, 2**60)


class NothingComesDue(Defective):
    """A claim takes only what was due when it was stored."""

    caught_by = "what_comes_due_is_claimed a_lease_ends_by_itself"

    def _take(self, capabilities: Sequence[Capability], limit: int, now: int) -> list[str]:
        return [id for id in _due(self, capabilities, now) if self._was_due(self._rows[id])][:limit]

    def _was_due(self, row: Row) -> bool:
        return row.due_at is not None and row.due_at <= row.updated_at


class OnlyTheQueuedAreClaimed(Defective):
    """A claim takes only what is queued or was left running."""

    caught_by = "what_is_due_is_claimed a_claim_counts_an_attempt a_wake_makes_a_suspended_parent_due"

    def _take(self, capabilities: Sequence[Capability], limit: int, now: int) -> list[str]:
        wanted = {Status.QUEUED, Status.RUNNING}
        return [id for id in _due(self, capabilities, now) if self._rows[id].status in wanted][:limit]


class CrashesAreForGood(Defective):
    """A lease that has ended is never claimed."""

    caught_by = """
        an_ended_lease_is_claimed a_lease_ends_by_itself a_renewal_may_shorten_a_lease a_lifeline_renews
        one_claim_brings_an_execution_once a_lost_lease_does_not_affect_the_others
        a_lifeline_leaves_lost_leases_alone
    """

    def _take(self, capabilities: Sequence[Capability], limit: int, now: int) -> list[str]:
        return [id for id in super()._take(capabilities, limit, now) if self._rows[id].status is not Status.RUNNING]


class QueuesAreNeverSwept(Defective):
    """A claim goes by due times that were moved since."""

    caught_by = """
        what_was_moved_is_claimed_by_its_new_time due_never_clears_it many_leases_are_renewed
        a_lifeline_works_from_any_thread
    """

    def _take(self, capabilities: Sequence[Capability], limit: int, now: int) -> list[str]:
        stale = [
            id
            for pair in dict.fromkeys(capabilities)
            for due_at, id in list(self._queues._queues[pair].places())  # pyright: ignore[reportPrivateUsage]
            if due_at <= now and self._rows[id].due_at != due_at
        ]
        return [*super()._take(capabilities, limit, now), *stale][:limit]


class ExecutionsComeTwice(Defective):
    """A claim goes on with what it has just leased, where that lease has ended."""

    caught_by = "one_claim_brings_an_execution_once"

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
        first = await super().claim(worker, capabilities, limit=limit, lease=lease, held=held)
        again = await super().claim(worker, capabilities, limit=limit - len(first.claimed), lease=lease)
        return replace(first, claimed=first.claimed + again.claimed)


class TakingAndLeasingAreTwoSteps(Defective):
    """Between finding what is due and leasing it others have their turn."""

    caught_by = "claims_at_once_share_no_execution a_renewal_and_a_claim_exclude_each_other"

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
        now = self._now()
        ids = _due(self, capabilities, now)[:limit]
        await anyio.sleep(0.001)
        claimed = tuple(self._lease(id, worker, now + round(lease * 1_000_000), now) for id in ids)
        return Claims(claimed, tuple(one for one in held if not self._holds_lease(worker, one)))


class AfterClaim(Defective):
    """A claim does something else to the rows that it leases."""

    caught_by = "a_claim_leases_the_execution"

    def _lease(self, id: str, worker: str, end: int, now: int) -> Stored:
        before = self._rows[id]
        super()._lease(id, worker, end, now)
        self._store(self.spoilt(before, self._rows[id]), moved=True)
        return self._stored(id, now)

    def spoilt(self, before: Row, row: Row) -> Row:
        return replace(row, timer_at=None)


class TokensAreNotRaised(AfterClaim):
    """A claim leaves the token."""

    caught_by = """
        a_claim_leases_the_execution an_ended_lease_is_claimed a_lease_with_another_token_is_lost
        a_lease_held_anew_is_unknown a_lease_that_was_claimed_anew_is_lost
    """

    def spoilt(self, before: Row, row: Row) -> Row:
        return replace(row, token=before.token)


class ClaimsDoNotRaiseTheRevision(AfterClaim):
    """A claim leaves the revision."""

    caught_by = """
        a_claim_leases_the_execution who_lost_its_lease_commits_nothing a_commit_and_a_claim_exclude_each_other
    """

    def spoilt(self, before: Row, row: Row) -> Row:
        return replace(row, revision=before.revision)


class EveryClaimIsAnAttempt(AfterClaim):
    """A claim counts an attempt though it found the execution suspended."""

    caught_by = "a_claim_counts_an_attempt"

    def spoilt(self, before: Row, row: Row) -> Row:
        return replace(row, attempt=before.attempt + 1)


class NoClaimIsAnAttempt(AfterClaim):
    """A claim counts no attempt."""

    caught_by = "a_claim_counts_an_attempt a_claim_leases_the_execution"

    def spoilt(self, before: Row, row: Row) -> Row:
        return replace(row, attempt=before.attempt)


class PausesAreForgotten(AfterClaim):
    """A claim clears the pausing flag."""

    caught_by = "a_claim_keeps_the_pausing_flag"

    def spoilt(self, before: Row, row: Row) -> Row:
        return replace(row, pausing=False)


class LeasesBeginAtTheEpoch(AfterClaim):
    """The end of a lease is counted from when the execution was due."""

    caught_by = "a_claim_leases_the_execution claims_at_once_share_no_execution"

    def spoilt(self, before: Row, row: Row) -> Row:
        return replace(row, due_at=before.due_at)


class ClaimsLeaveNoEntry(Defective):
    """A claim raises the revision without an entry."""

    caught_by = "a_claim_is_in_the_journal earlier_entries_stay"

    def _lease(self, id: str, worker: str, end: int, now: int) -> Stored:
        super()._lease(id, worker, end, now)
        self._journals[id].pop()
        return self._stored(id, now)


class ClaimsDoNotTellWhatTheyFound(Defective):
    """The claim's entry has the status that the execution is in now."""

    caught_by = "a_claim_is_in_the_journal"

    def _lease(self, id: str, worker: str, end: int, now: int) -> Stored:
        super()._lease(id, worker, end, now)
        self._journals[id][-1] = replace(self._journals[id][-1], ref=Status.RUNNING.value)
        return self._stored(id, now)


class ClaimsDoNotTellWhere(Defective):
    """The claim's entry has no step."""

    caught_by = "a_claim_is_in_the_journal"

    def _lease(self, id: str, worker: str, end: int, now: int) -> Stored:
        super()._lease(id, worker, end, now)
        self._journals[id][-1] = replace(self._journals[id][-1], step=None)
        return self._stored(id, now)


class ClaimsReturnWhatWas(Defective):
    """A claim returns the journal without its own entry."""

    caught_by = "a_claim_returns_the_execution_whole"

    def _lease(self, id: str, worker: str, end: int, now: int) -> Stored:
        stored = super()._lease(id, worker, end, now)
        journal = tuple(entry for entry in stored.journal if entry.kind is not Kind.CLAIMED)
        return replace(stored, journal=journal)


class LostLeasesAreNotTold(Defective):
    """A claim doesn't tell which of the held leases are lost."""

    caught_by = """
        claim_tells_which_held_leases_are_lost a_lease_that_was_claimed_anew_is_lost a_limit_of_zero_only_asks
    """

    def _holds_lease(self, worker: str, lease: Lease) -> bool:
        return True


class LeasesAreLostAtTheirEnd(Defective):
    """A held lease counts as lost when its end has passed."""

    caught_by = "a_lease_past_its_end_is_not_lost"

    def _holds_lease(self, worker: str, lease: Lease) -> bool:
        row = self._rows.get(lease.id)
        ended = row is not None and row.due_at is not None and row.due_at <= self._now()
        return not ended and super()._holds_lease(worker, lease)


class HeldLeasesAreLookedAtFirst(Defective):
    """Which leases are lost is told as it was before the claim."""

    caught_by = "a_lease_that_was_claimed_anew_is_lost"

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
        lost = tuple(one for one in held if not self._holds_lease(worker, one))
        return replace(await super().claim(worker, capabilities, limit=limit, lease=lease), lost=lost)


def _pairs(storage: Defective) -> list[Capability]:
    rows = storage._rows.values()  # pyright: ignore[reportPrivateUsage]
    return list({(row.workflow, row.version) for row in rows})


def _due(storage: Defective, capabilities: Sequence[Capability], now: int) -> list[str]:
    """What is due, longest first; it stays in its queue."""
    rows = storage._rows.values()  # pyright: ignore[reportPrivateUsage]
    due = [
        (row.due_at, row.id)
        for row in rows
        if (row.workflow, row.version) in capabilities and row.due_at is not None and row.due_at <= now
    ]
    return [id for _, id in sorted(due)]
