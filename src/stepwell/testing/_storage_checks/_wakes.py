"""A child's last commit wakes its parent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from stepwell.storage import NEVER, Entry, Kind, Moment, Status, Wake
from stepwell.testing._scene import HOUR, Scene, change, expect, expect_equal, following, same_but, wake

if TYPE_CHECKING:
    from stepwell.storage import Storage

LATER = Moment(after=HOUR)


async def check_a_wake_appends_its_entry(storage: Storage) -> None:
    """A Wake appends `entry` and raises the revision."""
    scene = Scene(storage)
    row = await scene.create()
    sent = Entry(Kind.WOKEN, "work", 2, ref="child", route="failed", payload="[1]", change="of the child", seq=99, at=9)
    await scene.committed(Wake(id=row.id, entry=sent))
    stored = await scene.stored(row.id)
    expect_equal(stored.row.revision, 2, "a Wake must raise the parent's revision by one")
    last = stored.journal[-1]
    expect_equal(replace(last, at=9), replace(sent, seq=2), "a Wake must append its entry, numbered on")
    expect(row.created_at <= last.at <= stored.now, f"a Wake's entry must have the time of the commit, not {last.at}")


async def check_a_wake_makes_a_suspended_parent_due(storage: Storage) -> None:
    """A Wake makes the parent due now if it is suspended, whether it had a due time or none."""
    scene = Scene(storage)
    for name, due in (("never", NEVER), ("later", LATER)):
        row = await scene.create(scene.row(name, status=Status.SUSPENDED), due=due)
        await scene.committed(wake(row.id))
        stored = await scene.stored(row.id)
        due_at = stored.row.due_at
        expect(due_at is not None and due_at <= stored.now, "a suspended parent must be due now once it is woken")
        expect_equal(await scene.claimed(), [name], "a suspended parent that was woken must be claimable")


async def check_a_wake_leaves_the_due_time_of_others(storage: Storage) -> None:
    """A Wake makes due only what is suspended; else it moves nothing but the revision."""
    scene = Scene(storage)
    for status, due in ((Status.QUEUED, LATER), (Status.WAITING, LATER), (Status.PAUSED, NEVER)):
        row = await scene.create(scene.row(status, status=status), due=due)
        await scene.committed(wake(row.id))
        after = await scene.stored_row(row.id)
        expect(same_but(row, after, revision=2), f"a Wake must leave a {status} parent as it is: {row!r}, {after!r}")
    await scene.create(scene.row("running"))
    row = await scene.claim_one()
    await scene.committed(wake(row.id))
    after = await scene.stored_row(row.id)
    expect(same_but(row, after, revision=3), f"a Wake must leave a running parent's lease alone: {row!r}, {after!r}")


async def check_a_wake_keeps_the_timer(storage: Storage) -> None:
    """A Wake leaves everything but revision and due time alone: the timer is kept while it is woken early."""
    scene = Scene(storage)
    row = await scene.create(scene.row(status=Status.SUSPENDED), due=LATER, timer=LATER)
    await scene.committed(wake(row.id))
    after = await scene.stored_row(row.id)
    expect(same_but(row, after, revision=2, due_at=after.due_at), f"a Wake must keep the rest: {row!r}, {after!r}")


async def check_a_wake_of_an_ended_parent_has_no_effect(storage: Storage) -> None:
    """A Wake is without effect where the parent has ended; the unit is committed all the same."""
    scene = Scene(storage)
    for status in (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED):
        row = await scene.create(scene.row(status, status=status), due=NEVER)
        before = await scene.stored(row.id)
        await scene.committed(wake(row.id), change(scene.row(f"child-{status}")))
        after = await scene.stored(row.id)
        expect_equal(replace(after, now=before.now), before, f"a Wake must leave a parent that has {status} alone")
        await scene.stored(scene.id(f"child-{status}"))


async def check_a_wake_of_an_unknown_parent_has_no_effect(storage: Storage) -> None:
    """A Wake is without effect where the parent is gone; the unit is committed all the same."""
    scene = Scene(storage)
    await scene.committed(wake(scene.id("gone")), change(scene.row("child")))
    expect(await storage.load(scene.id("gone")) is None, "a Wake must not create its parent")
    journal = await storage.journal(scene.id("gone"))
    expect_equal(journal, [], "a Wake must not write into the journal of an execution that doesn't exist")
    await scene.stored(scene.id("child"))


async def check_a_parent_that_was_deciding_is_refused(storage: Storage) -> None:
    """A Wake raises the revision, so that a parent that is deciding just then looks again."""
    scene = Scene(storage)
    await scene.create(scene.row("parent"))
    row = await scene.claim_one()
    await scene.committed(wake(row.id))
    await scene.refused(
        following(row, status=Status.SUSPENDED), promise="a Change decided before the parent was woken must be refused"
    )
    await scene.committed(following(await scene.stored_row(row.id), status=Status.SUSPENDED))


async def check_a_wake_goes_with_its_unit(storage: Storage) -> None:
    """A Wake is unguarded, and committed or not with the unit it is in."""
    scene = Scene(storage)
    parent, child = await scene.create(scene.row("parent", status=Status.SUSPENDED), due=NEVER), await scene.create()
    end = following(child, status=Status.SUCCEEDED)
    await scene.committed(end, wake(parent.id, child=child.id))
    await scene.refused(end, wake(parent.id, child=child.id), promise="a child can't end twice")
    stored = await scene.stored(parent.id)
    woken = [entry.ref for entry in stored.journal if entry.kind is Kind.WOKEN]
    expect_equal(woken, [child.id], "the parent must be woken once, with the unit that was committed")
