"""Leases: renewed, lost, and those that a worker doesn't know it has. Also without an event loop."""

from __future__ import annotations

from threading import Thread
from typing import TYPE_CHECKING

from msgspec.structs import replace

from stepwell.storage import NEVER, Lease, Moment, Status
from stepwell.testing._scene import HOUR, Scene, change, expect, expect_equal, following, lease_of, unique

if TYPE_CHECKING:
    from stepwell.storage import Renewal, Row, Storage

_HOUR = 3_600_000_000


async def check_an_execution_may_be_leased_as_it_is_created(storage: Storage) -> None:
    """A Change may create an execution that runs, under a worker's token: it is that worker's lease as any other."""
    scene = Scene(storage)
    row = replace(scene.row(status=Status.RUNNING), attempt=1, token=1, worker=scene.worker)
    await scene.create(row, due=Moment(after=HOUR))
    expect_equal(await scene.claimed(worker=scene.rival), [], "what was created with a lease must keep others away")
    renewal = await storage.renew(scene.worker, [], lease=HOUR)
    expect_equal(renewal.unknown, (lease_of(row),), "the worker must hold what was created with a lease for it")
    await _renewed(scene, row, lease=0)
    expect_equal(await scene.claimed(worker=scene.rival), ["one"], "once that lease has ended it must be due")


async def check_a_renewal_moves_the_end_of_the_lease(storage: Storage) -> None:
    """Renew moves the end of a lease to *lease* seconds from now, by the storage's clock."""
    scene = Scene(storage)
    await scene.create()
    row = await scene.claim_one(lease=0)
    early = (await scene.stored(row.id)).now
    await _renewed(scene, row, lease=HOUR)
    stored = await scene.stored(row.id)
    due_at = stored.row.due_at
    expect(
        due_at is not None and early + _HOUR <= due_at <= stored.now + _HOUR,
        f"a renewed lease must end 1 h after the renewal, but `due_at` is {due_at}",
    )
    expect_equal(await scene.claimed(worker=scene.rival), [], "a renewed lease must keep others away")


async def check_a_renewal_may_shorten_a_lease(storage: Storage) -> None:
    """Renew moves the end to *lease* seconds from now, also where that is sooner."""
    scene = Scene(storage)
    await scene.create()
    row = await scene.claim_one(lease=HOUR)
    await _renewed(scene, row, lease=0)
    expect_equal(await scene.claimed(worker=scene.rival), ["one"], "a lease renewed for 0 s must have ended")


async def check_a_renewal_changes_nothing_else(storage: Storage) -> None:
    """Neither the revision nor the journal changes by a renewal, nor the token."""
    scene = Scene(storage)
    await scene.create()
    row = await scene.claim_one(lease=0)
    before = await scene.stored(row.id)
    await _renewed(scene, row, lease=HOUR)
    after = await scene.stored(row.id)
    expected = replace(before.row, due_at=after.row.due_at, updated_at=after.row.updated_at)
    expect_equal(after.row, expected, "a renewal must change the due time only")
    expect_equal(after.journal, before.journal, "a renewal must not write into the journal")
    await scene.committed(following(row, status=Status.SUCCEEDED))


async def check_a_lease_is_valid_past_its_end(storage: Storage) -> None:
    """A lease is valid while worker, token and the status running match, even past its end if nobody claimed it."""
    scene = Scene(storage)
    await scene.create()
    row = await scene.claim_one(lease=0)
    renewal = await storage.renew(scene.worker, [lease_of(row)], lease=HOUR)
    expect_equal(renewal.lost, (), "a lease past its end that nobody claimed must be renewed, not lost")
    expect_equal(await scene.claimed(worker=scene.rival), [], "a lease renewed past its end must keep others away")


async def check_a_lease_is_valid_under_later_revisions(storage: Storage) -> None:
    """A lease is valid while worker, token and status match: its holder's own commits don't matter."""
    scene = Scene(storage)
    await scene.create()
    row = await scene.claim_one(lease=0)
    await scene.committed(following(row, status=Status.RUNNING, step="next", due=None))
    await _renewed(scene, row, lease=HOUR)
    expect_equal(await scene.claimed(worker=scene.rival), [], "a lease held over several steps must be renewed")


async def check_a_lease_with_another_token_is_lost(storage: Storage) -> None:
    """Renew returns leases that are the worker's no more: the token doesn't match, older or newer."""
    scene = Scene(storage)
    await scene.create()
    first = await scene.claim_one(lease=0)
    second = await scene.claim_one(lease=0)
    for token in (first.token, second.token + 1):
        stale = Lease(first.id, token)
        renewal = await storage.renew(scene.worker, [stale], lease=HOUR)
        expect_equal(renewal.lost, (stale,), "a lease whose token was raised must be lost, even to the same worker")
    expect_equal(await scene.stored_row(second.id), second, "a lost lease must not be renewed")
    both = await storage.renew(scene.worker, [lease_of(first), lease_of(second)], lease=HOUR)
    expect_equal(both.lost, (lease_of(first),), "a lost lease must be told beside the valid one of the same execution")


async def check_another_workers_lease_is_lost(storage: Storage) -> None:
    """Renew returns leases that are the worker's no more: the worker doesn't match."""
    scene = Scene(storage)
    await scene.create()
    row = await scene.claim_one(lease=0)
    renewal = await storage.renew(scene.rival, [lease_of(row)], lease=HOUR)
    expect_equal(renewal.lost, (lease_of(row),), "a lease of another worker must be told as lost")
    expect_equal(await scene.stored_row(row.id), row, "a lease of another worker must not be renewed")


async def check_a_lease_of_what_no_longer_runs_is_lost(storage: Storage) -> None:
    """Renew returns leases that are the worker's no more: the status is no longer running, or nothing is there."""
    scene = Scene(storage)
    for status in (Status.QUEUED, Status.WAITING, Status.SUSPENDED, Status.PAUSED, Status.SUCCEEDED, Status.CANCELLED):
        await scene.create(scene.row(status))
        row = await scene.claim_one()
        # The worker's name is left in the row: a lease needs the status too.
        left = replace(row, status=status, step=None if status.is_terminal else "work")
        await scene.committed(change(left, expects=row.revision, due=NEVER))
        renewal = await storage.renew(scene.worker, [lease_of(row)], lease=HOUR)
        expect_equal(renewal.lost, (lease_of(row),), f"the lease of an execution that is {status} must be lost")
        expect_equal((await scene.stored_row(row.id)).due_at, None, f"what is {status} must not be renewed")
    unknown = Lease(f"unknown-{unique()}", 1)
    renewal = await storage.renew(scene.worker, [unknown], lease=HOUR)
    expect_equal(renewal.lost, (unknown,), "a lease of an unknown execution must be lost")


async def check_a_lost_lease_does_not_affect_the_others(storage: Storage) -> None:
    """Renew moves the end of the worker's leases, though one among them is lost."""
    scene = Scene(storage)
    await scene.create_many(scene.row(name) for name in ("a", "b", "c"))
    rows = [stored.row for stored in (await scene.claims(lease=0)).claimed]
    lost = Lease(rows[1].id, rows[1].token + 5)
    renewal = await storage.renew(scene.worker, [lease_of(rows[0]), lost, lease_of(rows[2])], lease=HOUR)
    expect_equal(renewal.lost, (lost,), "only the lease that is lost must be told")
    found = await scene.claims(worker=scene.rival)
    expect_equal([stored.row.id for stored in found.claimed], [rows[1].id], "the other leases must be renewed")


async def check_unknown_leases_are_told(storage: Storage) -> None:
    """Renew returns leases that the worker holds without having named them, and doesn't renew them."""
    scene = Scene(storage)
    await scene.create_many(scene.row(name) for name in ("a", "b", "c"))
    named, *unnamed = [stored.row for stored in (await scene.claims(lease=0)).claimed]
    renewal = await storage.renew(scene.worker, [lease_of(named)], lease=HOUR)
    expect_equal(_ids(renewal), {lease_of(row) for row in unnamed}, "leases that weren't named must be told as unknown")
    expect_equal(renewal.lost, (), "a lease that wasn't named isn't lost")
    found = {stored.row.id for stored in (await scene.claims(worker=scene.rival)).claimed}
    expect_equal(found, {row.id for row in unnamed}, "leases that weren't named must not be renewed")


async def check_naming_no_lease_tells_all(storage: Storage) -> None:
    """Renew returns leases that the worker holds without having named them: if it names none, all of them."""
    scene = Scene(storage)
    await scene.create()
    row = await scene.claim_one()
    renewal = await storage.renew(scene.worker, [], lease=HOUR)
    expect_equal(_ids(renewal), {lease_of(row)}, "a renewal that names nothing must still tell what the worker holds")


async def check_only_held_leases_are_unknown(storage: Storage) -> None:
    """Leases of others, and those that were given back or taken away, are none that the worker holds."""
    scene = Scene(storage)
    await scene.create_many(scene.row(name) for name in ("rival", "suspended", "ended", "taken"))
    rows = {stored.row.id: stored.row for stored in (await scene.claims(lease=HOUR)).claimed}
    for name in ("rival", "taken"):
        await storage.renew(scene.worker, [lease_of(rows[scene.id(name)])], lease=0)
        await scene.claim_one(worker=scene.rival)
    await scene.committed(following(rows[scene.id("suspended")], status=Status.SUSPENDED))
    await scene.committed(following(rows[scene.id("ended")], status=Status.SUCCEEDED))
    renewal = await storage.renew(scene.worker, [], lease=HOUR)
    expect_equal(renewal.unknown, (), "only what runs under this worker's name is a lease of it")
    renewal = await storage.renew(scene.rival, [], lease=HOUR)
    expect_equal(len(renewal.unknown), 2, "what another worker claimed is a lease of that one")


async def check_a_lease_held_anew_is_unknown(storage: Storage) -> None:
    """A worker that names the old token of an execution it claimed anew lost the one and doesn't know the other."""
    scene = Scene(storage)
    await scene.create()
    old = await scene.claim_one(lease=0)
    new = await scene.claim_one(lease=HOUR)
    renewal = await storage.renew(scene.worker, [lease_of(old)], lease=HOUR)
    expect_equal(renewal.lost, (lease_of(old),), "the lease with the old token is lost")
    expect_equal(renewal.unknown, (lease_of(new),), "the lease with the new token was not named")


async def check_many_leases_are_renewed(storage: Storage) -> None:
    """Renew moves the end of the worker's leases, however many there are."""
    scene = Scene(storage)
    await scene.create_many(scene.row(str(number)) for number in range(300))
    rows = [stored.row for stored in (await scene.claims(lease=0, limit=300)).claimed]
    renewal = await storage.renew(scene.worker, [lease_of(row) for row in rows], lease=HOUR)
    expect_equal((len(rows), renewal.lost, renewal.unknown), (300, (), ()), "all 300 leases must be renewed")
    expect_equal(await scene.claimed(worker=scene.rival), [], "each of 300 renewed leases must keep others away")


async def check_a_lifeline_renews(storage: Storage) -> None:
    """A lifeline renews as `Storage.renew` does, while the event loop is blocked, and again after that."""
    scene = Scene(storage)
    await scene.create()
    row = await scene.claim_one(lease=0)
    lifeline = storage.lifeline()
    try:
        lifeline.renew(scene.worker, [lease_of(row)], lease=HOUR)
        expect_equal(
            await scene.claimed(worker=scene.rival), [], "a lease renewed through a lifeline must keep others away"
        )
        lifeline.renew(scene.worker, [lease_of(row)], lease=0)
        expect_equal(
            await scene.claimed(worker=scene.rival), ["one"], "a lifeline must move the end of the lease to now"
        )
    finally:
        lifeline.close()


async def check_a_lifeline_works_from_any_thread(storage: Storage) -> None:
    """A lifeline renews from any thread, opened in another one."""
    scene = Scene(storage)
    await scene.create()
    row = await scene.claim_one(lease=0)
    lifeline = storage.lifeline()
    thread = Thread(target=lifeline.renew, args=(scene.worker, [lease_of(row)]), kwargs={"lease": HOUR}, daemon=True)
    thread.start()
    thread.join(10)  # blocks the event loop: that is what a lifeline is for
    expect(not thread.is_alive(), "a lifeline must renew while the event loop is blocked, but didn't within 10 s")
    lifeline.close()
    expect_equal(await scene.claimed(worker=scene.rival), [], "a lifeline must renew from another thread")


async def check_a_lifeline_leaves_lost_leases_alone(storage: Storage) -> None:
    """A lifeline renews as `Storage.renew` does: valid leases only, and what is lost is no error."""
    scene = Scene(storage)
    await scene.create_many(scene.row(name) for name in ("valid", "stale"))
    valid, stale = [stored.row for stored in (await scene.claims(lease=0)).claimed]
    lifeline = storage.lifeline()
    try:
        named = [Lease(stale.id, stale.token - 1), Lease("unknown", 1), lease_of(valid)]
        lifeline.renew(scene.worker, named, lease=HOUR)
        lifeline.renew(scene.rival, [lease_of(stale)], lease=HOUR)
    finally:
        lifeline.close()
    expect_equal(await scene.stored_row(stale.id), stale, "a lifeline must not renew a lease that isn't valid")
    found = await scene.claims(worker=scene.rival)
    expect_equal(
        [stored.row.id for stored in found.claimed], [stale.id], "a lifeline must renew the valid ones all the same"
    )


async def _renewed(scene: Scene, row: Row, *, lease: float) -> None:
    renewal = await scene.storage.renew(scene.worker, [lease_of(row)], lease=lease)
    expect_equal((renewal.lost, renewal.unknown), ((), ()), "a lease that the worker holds must be renewed")


def _ids(renewal: Renewal) -> set[Lease]:
    return set(renewal.unknown)
