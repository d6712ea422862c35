"""Load, journal and wakeup."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel

from stepwell.storage import Entry, Kind, Status
from stepwell.testing._scene import Scene, at_once, change, deposit, expect, expect_equal, following, wake

if TYPE_CHECKING:
    from stepwell.storage import Storage


async def check_load_of_an_unknown_execution_is_none(storage: Storage) -> None:
    """Load returns None if there is no such execution."""
    scene = Scene(storage)
    await scene.create()
    for id in (scene.id("two"), scene.id("one").upper() + "x", scene.id("on_"), scene.id("%"), ""):
        expect(await storage.load(id) is None, f"load must return None for {id!r}, which is no execution's id")


async def check_load_returns_the_whole_journal(storage: Storage) -> None:
    """Load returns the execution with its whole journal, in order, however long."""
    scene = Scene(storage)
    await scene.committed(change(scene.row(), entries=[Entry(Kind.CREATED)] * 2_500))
    stored = await scene.stored(scene.id("one"))
    expect_equal(stored.row.revision, 2_500, "the revision must be the `seq` of the last entry")
    found = [entry.seq for entry in stored.journal]
    expect(found == list(range(1, 2_501)), "load must return all of 2,500 entries in order")


async def check_load_tells_the_time(storage: Storage) -> None:
    """`now` is the storage's clock when it was read: it doesn't go back, and isn't before what was written."""
    scene = Scene(storage)
    row = await scene.create()
    first, second = await scene.stored(row.id), await scene.stored(row.id)
    expect(row.created_at <= first.now <= second.now, f"{row.created_at}, {first.now}, {second.now} must not go back")


async def check_load_is_of_one_moment(storage: Storage) -> None:
    """Load returns row, journal and signals as of one moment, while others commit."""
    scene = Scene(storage)
    row = await scene.create()
    done = anyio.Event()

    async def write() -> None:
        for count in range(40):
            await scene.committed(wake(row.id))
            await scene.committed(deposit(row.id, signal=str(count), expects=count))
        done.set()

    async def read() -> None:
        while not done.is_set():
            stored = await scene.stored(row.id)
            seen = (len(stored.journal), stored.journal[-1].seq, len(stored.signals))
            told = (stored.row.revision, stored.row.revision, stored.row.signals)
            expect_equal(seen, told, "row, journal and signals must be of one moment")

    await at_once(write, read)


async def check_journal_returns_entries_in_order(storage: Storage) -> None:
    """Journal returns up to *limit* entries with a `seq` above *after*, in order."""
    scene = Scene(storage)
    row = await scene.create()
    await scene.committed(following(row, status=Status.QUEUED))
    await scene.committed(change(row, expects=3, entries=[Entry(Kind.PAUSING), Entry(Kind.PAUSED)]))
    whole = list((await scene.stored(row.id)).journal)
    expect_equal(await storage.journal(row.id), whole, "journal must return what load returns")
    for after, limit, expected in (
        (0, 2, [1, 2]),
        (2, 2, [3, 4]),
        (3, 10, [4, 5]),
        (5, 10, []),
        (9, 10, []),
        (1, 0, []),
    ):
        found = [entry.seq for entry in await storage.journal(row.id, after=after, limit=limit)]
        expect_equal(found, expected, f"journal(after={after}, limit={limit}) of five entries")


async def check_journal_is_limited(storage: Storage) -> None:
    """Journal returns up to 1,000 entries where no limit is given."""
    scene = Scene(storage)
    await scene.committed(change(scene.row(), entries=[Entry(Kind.CREATED)] * 1_001))
    found = await storage.journal(scene.id("one"))
    expect_equal((len(found), found[-1].seq), (1_000, 1_000), "journal must return 1,000 entries unless told otherwise")
    rest = await storage.journal(scene.id("one"), after=1_000)
    expect_equal([entry.seq for entry in rest], [1_001], "journal must go on after the last entry seen")


async def check_journal_of_an_unknown_execution_is_empty(storage: Storage) -> None:
    """Journal is empty if there is no such execution."""
    scene = Scene(storage)
    expect_equal(await storage.journal(scene.id("one")), [], "the journal of an unknown execution must be empty")


async def check_wakeup_holds_nobody_up(storage: Storage) -> None:
    """Wakeup may return for no reason or never: while it is awaited all else goes on, and it can be cancelled."""
    scene = Scene(storage)
    with anyio.move_on_after(60) as limit:
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(storage.wakeup)
            await anyio.lowlevel.checkpoint()
            row = await scene.create()
            await scene.claim_one()
            await scene.stored(row.id)
            tasks.cancel_scope.cancel()
    expect(not limit.cancelled_caught, "while someone waits for a wake-up, everything else must go on")
    await scene.create(scene.row("after"))
