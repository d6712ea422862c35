"""Purges: what ended long ago is deleted, whole families at a time, and nothing else is.

A purge knows no scene: these checks delete whatever has ended in the database.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import anyio
from msgspec.structs import replace

from stepwell.storage import LIVE, NEVER, NOW, TERMINAL, Query, Status
from stepwell.testing._scene import HOUR, ContractBroken, Scene, at_once, deposit, expect, expect_equal, following

if TYPE_CHECKING:
    from stepwell.storage import Row, Storage

ROUNDS = 5
_AGE = 0.2
"""seconds"""
_PAUSE = 0.01
"""seconds, after which the clock shows another time"""


async def check_what_has_ended_is_purged(storage: Storage) -> None:
    """Delete executions that ended *age* seconds ago or earlier, however they ended; return how many were deleted."""
    scene = await _empty_scene(storage)
    for status in sorted(TERMINAL):
        await _ended(scene, status, status=status)
    expect_equal(await storage.purge(0, limit=100), len(TERMINAL), "purge must return how many executions it deleted")
    for status in TERMINAL:
        await _expect_gone(scene, status, f"what has {status} must be deleted")


async def check_a_purge_without_work_returns_zero(storage: Storage) -> None:
    """Returns 0 when there is nothing to delete."""
    scene = await _empty_scene(storage)
    await scene.create()
    expect_equal(await storage.purge(0, limit=100), 0, "where nothing has ended, purge must return 0")


async def check_a_purge_goes_by_the_time_since_the_end(storage: Storage) -> None:
    """What ended later than *age* seconds ago, by the storage's clock, stays."""
    scene = await _empty_scene(storage)
    row = await _ended(scene, "one")
    expect_equal(await storage.purge(HOUR, limit=100), 0, "what ended just now must stay for an hour")
    await scene.stored(row.id)
    await _purged_soon(scene, row)


async def check_a_purge_leaves_nothing_of_an_execution(storage: Storage) -> None:
    """With an execution go its journal, its signals and its input: no call finds anything of it."""
    scene = await _empty_scene(storage)
    row = await _ended(scene, "one")
    await storage.purge(0, limit=100)
    await _expect_gone(scene, "one", "load must find nothing of what was deleted")
    expect_equal(await storage.journal(row.id), [], "the journal of what was deleted must be empty")
    expect_equal(await scene.found(Query(workflow=scene.workflow)), [], "find must not find what was deleted")
    expect_equal(await scene.found(Query(ids=(row.id,))), [], "find must not find what was deleted, by its id either")
    expect_equal(await scene.claimed(), [], "what was deleted must not be claimed")
    await scene.refused(deposit(row.id), promise="a signal for what was deleted must be refused")


async def check_a_purged_id_is_free(storage: Storage) -> None:
    """Its id is free: the next Change that creates it makes a new one, in which nothing of the old one is left."""
    scene = await _empty_scene(storage)
    row = await scene.create(replace(scene.row(), input='"old"'), due=NEVER)
    await scene.committed(deposit(row.id))
    await scene.committed(following(await scene.stored_row(row.id), status=Status.SUCCEEDED))
    await storage.purge(0, limit=100)
    await scene.create(replace(scene.row(), input='"new"'))
    stored = await scene.stored(row.id)
    expect_equal((stored.row.input, stored.row.signals), ('"new"', 0), "it must be the new execution that is stored")
    expect_equal(([entry.seq for entry in stored.journal], stored.signals), ([1], ()), "and nothing of the old one")
    await scene.committed(deposit(row.id))
    expect_equal(await scene.claimed(), ["one"], "the new execution must be claimed as any other")


async def check_what_has_not_ended_is_not_purged(storage: Storage) -> None:
    """What hasn't ended stays, whatever its status is."""
    scene = await _empty_scene(storage)
    for status in sorted(LIVE - {Status.RUNNING}):
        await scene.create(scene.row(status, status=status), due=NEVER)
    await scene.create(scene.row("claimed"))
    await scene.claim_one(lease=0)
    expect_equal(await storage.purge(0, limit=100), 0, "what hasn't ended must not be deleted")
    expect_equal(len(await scene.found(Query(workflow=scene.workflow))), len(LIVE), "all of it must still be there")


async def check_what_was_resumed_is_not_purged(storage: Storage) -> None:
    """What had ended and was resumed hasn't ended: it stays, and may end again."""
    scene = await _empty_scene(storage)
    failed = await _ended(scene, "one", status=Status.FAILED)
    await scene.committed(following(failed, status=Status.QUEUED, due=NOW))
    expect_equal(await storage.purge(0, limit=100), 0, "what failed and was resumed must stay")
    await scene.committed(following(await scene.stored_row(failed.id), status=Status.SUCCEEDED))
    expect_equal(await storage.purge(0, limit=100), 1, "what ended for the second time must be deleted, once")


async def check_children_are_purged_with_their_parent(storage: Storage) -> None:
    """An execution without a parent goes with its children, and theirs, in one piece."""
    scene = await _empty_scene(storage)
    await _family(scene)
    await _end(scene, "parent")
    expect_equal(await storage.purge(0, limit=100), 4, "a parent must go with its two children and a child of theirs")
    expect_equal(await scene.found(Query(workflow=scene.workflow)), [], "nothing of them must be left")


async def check_a_child_stays_while_its_parent_is_there(storage: Storage) -> None:
    """Nothing goes whose parent is still there, however long ago it ended itself."""
    scene = await _empty_scene(storage)
    await _family(scene)
    expect_equal(await storage.purge(0, limit=100), 0, "children must stay while their parent lives")
    await _end(scene, "parent")
    expect_equal(await storage.purge(0, limit=100), 4, "and go when it goes")


async def check_a_parent_stays_while_a_child_lives(storage: Storage) -> None:
    """They go only when all of them ended: a parent that ended before its child, or a child of it, stays."""
    scene = await _empty_scene(storage)
    await _family(scene, is_over=False)
    await _end(scene, "parent")
    await _end(scene, "second")
    expect_equal(await storage.purge(0, limit=100), 0, "what ended must stay while something below it lives")
    await _end(scene, "below")
    expect_equal(await storage.purge(0, limit=100), 4, "and go when all below it has ended")


async def check_a_family_is_as_old_as_its_last_end(storage: Storage) -> None:
    """They go only when all of them ended so long ago: a child that ended late keeps its parent."""
    scene = await _empty_scene(storage)
    await _family(scene, is_over=False)
    await _end(scene, "parent")
    await _end(scene, "second")
    await anyio.sleep(_AGE / 2)
    await _purged_soon(scene, await _end(scene, "below"))
    await _expect_gone(scene, "parent", "a parent must go with the last of its children")


async def check_the_longest_ended_is_purged_first(storage: Storage) -> None:
    """The longest ended go first, whenever they were created."""
    scene = await _empty_scene(storage)
    await scene.create_many([scene.row(name) for name in ("second", "third", "first")], due=NEVER)
    for name in ("first", "second", "third"):
        await _end(scene, name)
        await anyio.sleep(_PAUSE)
    left = ["first", "second", "third"]
    while left:
        expect_equal(await storage.purge(0, limit=1), 1, "a purge with a limit of 1 must delete one")
        left.pop(0)
        found = await scene.found(Query(workflow=scene.workflow))
        expect_equal(sorted(found), sorted(left), "the longest ended must go first")


async def check_a_purge_deletes_no_more_than_its_limit(storage: Storage) -> None:
    """Never more than *limit* go; those that go together and don't fit in go next time."""
    scene = await _empty_scene(storage)
    for number in range(5):
        await _ended(scene, str(number))
    expect_equal([await storage.purge(0, limit=2) for _ in range(4)], [2, 2, 1, 0], "each purge must keep to its limit")
    for number in range(2):
        await _family(scene, prefix=str(number))
        await _end(scene, f"{number}parent")
    expect_equal([await storage.purge(0, limit=7) for _ in range(3)], [4, 4, 0], "what doesn't fit in must go next")


async def check_a_family_beyond_the_limit_is_purged_alone(storage: Storage) -> None:
    """Where those that go together are more than *limit*, they go alone."""
    scene = await _empty_scene(storage)
    await _family(scene)
    await _end(scene, "parent")
    await anyio.sleep(_PAUSE)
    await _ended(scene, "other")
    expect_equal(await storage.purge(0, limit=2), 4, "four that go together must go though the limit is 2")
    expect_equal(await storage.purge(0, limit=2), 1, "and what ended after them must go next time")


async def check_many_are_purged(storage: Storage) -> None:
    """Delete what ended so long ago, however many there are."""
    scene = await _empty_scene(storage)
    await scene.create_many((scene.row(str(number), status=Status.SUCCEEDED) for number in range(1_200)), due=NEVER)
    expect_equal(await storage.purge(0, limit=1_000), 1_000, "a purge must delete as many as its limit allows")
    expect_equal(await storage.purge(0, limit=1_000), 200, "and then the others")


async def check_a_purge_leaves_claims_alone(storage: Storage) -> None:
    """A purge holds up no claim and no commit: what is due beside it is claimed, what is sent is committed."""
    scene = await _empty_scene(storage)
    await scene.create_many((scene.row(f"old {number}", status=Status.FAILED) for number in range(100)), due=NEVER)
    await scene.create_many(scene.row(str(number)) for number in range(20))
    kept = await scene.create(scene.row("kept"), due=NEVER)
    with anyio.move_on_after(60) as limit:
        count, claimed, committed = await at_once(
            partial(storage.purge, 0, limit=100),
            scene.claimed,
            partial(scene.commit, following(kept, status=Status.QUEUED)),
        )
        expect_equal((count, len(claimed), committed), (100, 20, True), "a purge, a claim and a commit must succeed")
    expect(not limit.cancelled_caught, "a purge, a claim and a commit must not block each other")


async def check_purges_at_once_count_each_execution_once(storage: Storage) -> None:
    """What several delete at once is counted by one of them."""
    scene = await _empty_scene(storage)
    await scene.create_many((scene.row(str(number), status=Status.SUCCEEDED) for number in range(200)), due=NEVER)
    await _family(scene)
    await _end(scene, "parent")
    counts = await at_once(*[partial(_purged, storage, limit=7)] * 5)
    left = await _purged(storage, limit=100)
    expect_equal(sum(counts) + left, 204, "each execution must be counted by exactly one of five purges")
    expect_equal(await scene.found(Query(workflow=scene.workflow)), [], "and all of them must be gone")


async def check_a_purge_and_a_resume_exclude_each_other(storage: Storage) -> None:
    """Of a purge and a resume one is first: the execution is gone and the resume refused, or it lives on."""
    scene = await _empty_scene(storage)
    for number in range(ROUNDS):
        failed = await _ended(scene, str(number), status=Status.FAILED)
        count, resumed = await at_once(
            partial(storage.purge, 0, limit=10),
            partial(scene.commit, following(failed, status=Status.QUEUED)),
            swapped=number % 2 == 1,
        )
        found = await storage.load(failed.id)
        expect_equal(
            (count, found is None), (int(not resumed), not resumed), "what was resumed must stay, or be gone before"
        )


async def check_a_purge_refuses_what_makes_no_sense(storage: Storage) -> None:
    """Raises ValueError for an age below 0 and a limit below 1."""
    scene = await _empty_scene(storage)
    await _ended(scene, "one")
    for age, limit in ((-1, 10), (float("nan"), 10), (0, 0), (0, -1)):
        try:
            await storage.purge(age, limit=limit)
        except ValueError:
            continue
        msg = f"a purge with an age of {age} and a limit of {limit} must raise ValueError"
        raise ContractBroken(msg)
    expect_equal(await scene.found(Query(workflow=scene.workflow)), ["one"], "a refused purge must delete nothing")


async def _empty_scene(storage: Storage) -> Scene:
    """Return a scene in a database in which nothing is left that has ended, so that counts are exact."""
    await _purged(storage, limit=1_000)
    return Scene(storage)


async def _purged(storage: Storage, *, limit: int) -> int:
    total = 0
    while count := await storage.purge(0, limit=limit):
        total += count
    return total


async def _end(scene: Scene, name: str, *, status: Status = Status.SUCCEEDED) -> Row:
    row = await scene.stored_row(scene.id(name))
    await scene.committed(following(row, status=status))
    return await scene.stored_row(row.id)


async def _ended(scene: Scene, name: str, *, status: Status = Status.SUCCEEDED) -> Row:
    await scene.create(scene.row(name), due=NEVER)
    return await _end(scene, name, status=status)


async def _family(scene: Scene, *, is_over: bool = True, prefix: str = "") -> None:
    """Create a parent that lives, its children `first`, which has ended, and `second`, and `below` that; end those."""
    parent = await scene.create(scene.row(f"{prefix}parent"), due=NEVER)
    await scene.create(replace(scene.row(f"{prefix}first"), parent=parent.id), due=NEVER)
    child = await scene.create(replace(scene.row(f"{prefix}second"), parent=parent.id), due=NEVER)
    await scene.create(replace(scene.row(f"{prefix}below"), parent=child.id), due=NEVER)
    for name in ("first", "below", "second") if is_over else ("first",):
        await _end(scene, f"{prefix}{name}")


async def _expect_gone(scene: Scene, name: str, promise: str) -> None:
    expect(await scene.storage.load(scene.id(name)) is None, promise)


async def _purged_soon(scene: Scene, row: Row) -> None:
    """Purge again and again, letting time pass, until it is gone; see that it isn't too early."""
    clock = await scene.create(scene.row("clock"), due=NEVER)
    for _ in range(1_000):
        count = await scene.storage.purge(_AGE, limit=100)
        now = (await scene.stored(clock.id)).now
        is_gone = await scene.storage.load(row.id) is None
        expect_equal(count > 0, is_gone, "a purge must return how many it deleted")
        if is_gone:
            age = (now - (row.ended_at or 0)) / 1_000_000
            expect(age >= _AGE, f"what ended {age} s ago must stay where the age is {_AGE} s")
            return
        await anyio.sleep(_PAUSE)
    msg = f"what ended must be deleted {_AGE} s later, but wasn't within 10 s"
    raise ContractBroken(msg)
