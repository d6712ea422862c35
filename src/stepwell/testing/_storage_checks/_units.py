"""Units: all of one or nothing of it, and none at another's expense."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from stepwell.storage import NEVER, Status
from stepwell.testing._scene import Scene, change, deposit, expect, expect_equal, following, wake

if TYPE_CHECKING:
    from stepwell.storage import Change, Deposit, Storage, Wake


async def check_nothing_to_commit_is_no_error(storage: Storage) -> None:
    """Commit returns for each unit whether it was committed: for none, nothing."""
    expect_equal(await storage.commit([]), [], "commit of no units must return an empty list")


async def check_results_are_in_the_order_of_the_units(storage: Storage) -> None:
    """Commit returns for each unit whether it was committed, in their order."""
    scene = Scene(storage)
    await scene.create(scene.row("b"))
    units = [(change(scene.row(name)),) for name in ("b", "c", "a")]
    expect_equal(await storage.commit(units), [False, True, True], "results must stand in the order of the units")


async def check_a_unit_is_committed_whole(storage: Storage) -> None:
    """Commit each unit whole: the parent's change, the child's creation, a wake and a deposit, all in one."""
    scene = Scene(storage)
    parent, other, waiting = [await scene.create(scene.row(name)) for name in ("parent", "other", "waiting")]
    await scene.committed(
        following(parent, status=Status.SUSPENDED),
        change(scene.row("child")),
        wake(other.id),
        deposit(waiting.id),
    )
    expect_equal((await scene.stored_row(parent.id)).status, Status.SUSPENDED, "the first part must be applied")
    expect(await storage.load(scene.id("child")) is not None, "the second part must be applied")
    expect_equal((await scene.stored_row(other.id)).revision, 2, "the third part must be applied")
    expect_equal((await scene.stored_row(waiting.id)).signals, 1, "the fourth part must be applied")


async def check_a_unit_is_refused_whole(storage: Storage) -> None:
    """A unit is refused when any guard in it doesn't hold, wherever it stands: then nothing of it is committed."""
    scene = Scene(storage)
    names = ("changed", "woken", "signalled")
    rows = [await scene.create(scene.row(name), due=NEVER) for name in names]
    before = [await scene.stored(row.id) for row in rows]
    changed, woken, signalled = rows
    good = (following(changed, status=Status.QUEUED), wake(woken.id), deposit(signalled.id), change(scene.row("new")))
    bad = (
        change(scene.row("unknown"), expects=1),
        change(replace(scene.row("blocked")), signals=1),
        deposit(scene.id("unknown")),
    )
    for part in bad:
        for unit in ((*good, part), (part, *good), (*good[:2], part, *good[2:])):
            await _expect_refused_whole(scene, unit)
    for stored in before:
        after = await scene.stored(stored.row.id)
        expect_equal(replace(after, now=stored.now), stored, "nothing of a refused unit may be committed")


async def _expect_refused_whole(scene: Scene, unit: tuple[Change | Wake | Deposit, ...]) -> None:
    await scene.refused(*unit, promise="a unit with one guard that doesn't hold must be refused")
    for name in ("new", "unknown", "blocked"):
        expect(await scene.storage.load(scene.id(name)) is None, "a refused unit must create nothing")


async def check_one_refused_unit_does_not_affect_the_others(storage: Storage) -> None:
    """One refused unit doesn't affect the others: here one of 70, in the middle."""
    scene = Scene(storage)
    names = [f"{number:02}" for number in range(70)]
    await scene.create(scene.row("35"))
    results = await storage.commit([(change(scene.row(name)),) for name in names])
    expect_equal(results, [name != "35" for name in names], "only the unit whose guard doesn't hold may be refused")
    for name in names:
        expect_equal((await scene.stored(scene.id(name))).row.revision, 1, f"the unit of {name} must be committed once")


async def check_many_refused_units_leave_the_others_whole(storage: Storage) -> None:
    """One refused unit doesn't affect the others: every second one is refused, after its first part was fine."""
    scene = Scene(storage)
    rows = [await scene.create(scene.row(str(number))) for number in range(10)]
    units = [
        (following(row, status=Status.QUEUED), change(scene.row(f"new-{number}"), expects=number % 2))
        for number, row in enumerate(rows)
    ]
    expect_equal(await storage.commit(units), [True, False] * 5, "each unit must be judged by itself")
    for number, row in enumerate(rows):
        revision = (await scene.stored_row(row.id)).revision
        expect_equal(revision, 1 if number % 2 else 3, "refused units must leave nothing, committed ones everything")
        exists = await storage.load(scene.id(f"new-{number}")) is not None
        expect_equal(exists, number % 2 == 0, "refused units must create nothing, committed ones everything")


async def check_a_long_unit_is_committed_whole(storage: Storage) -> None:
    """Commit each unit whole, however many executions it moves: a cancel takes a whole chain of children."""
    scene = Scene(storage)
    rows = [await scene.create(scene.row(f"{number:03}")) for number in range(120)]
    chain = [following(row, status=Status.CANCELLED) for row in rows]
    stale = following(replace(rows[60], revision=9), status=Status.CANCELLED)
    await scene.refused(*chain[:60], stale, *chain[61:], promise="a long unit with one stale Change must be refused")
    expect_equal((await scene.stored_row(rows[0].id)).status, Status.QUEUED, "nothing of a refused unit may stay")
    await scene.committed(*chain)
    found = {(await scene.stored_row(row.id)).status for row in rows}
    expect_equal(found, {Status.CANCELLED}, "each part of a long unit must be committed")
