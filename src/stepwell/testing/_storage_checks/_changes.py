"""A committed Change: what it appends, what it stores, what it leaves alone; and when it is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from stepwell.storage import NEVER, NOW, Entry, Kind, Moment, SignalState, Status
from stepwell.testing._scene import HOUR, Scene, change, deposit, expect, expect_equal, following

if TYPE_CHECKING:
    from stepwell.storage import Row, Storage

_SECOND = 1_000_000


async def check_a_change_creates_an_execution(storage: Storage) -> None:
    """A committed Change stores its row with the revision of the last of its entries."""
    scene = Scene(storage)
    row = replace(scene.row(), parent="parent", tags=("a", "b"), metadata={"k": 1}, input='{"a":1}', visit=2, attempt=3)
    sent = change(row, entries=[Entry(Kind.CREATED), Entry(Kind.QUEUED, "work")])
    await scene.committed(sent)
    stored = await scene.stored_row(row.id)
    times = {"due_at": stored.due_at, "created_at": stored.created_at}
    expect(
        same_row(replace(sent.row, **times), stored),
        f"a new execution must be stored as its Change says: sent {sent.row!r}, stored {stored!r}",
    )


async def check_a_change_stores_the_whole_row(storage: Storage) -> None:
    """A committed Change stores its row: all that can change of it, in place of what was there before."""
    scene = Scene(storage)
    await scene.create()
    before = await scene.claim_one()
    after = replace(
        before,
        step="next",
        visit=4,
        attempt=5,
        token=before.token + 7,
        worker=scene.rival,
        pausing=True,
        output="[1]",
        error='{"e":1}',
    )
    sent = change(after, expects=before.revision, entries=[Entry(Kind.STEP_STARTED)], due=None)
    await scene.committed(sent)
    stored = await scene.stored_row(before.id)
    expect(same_row(sent.row, stored), f"the row must be as its Change says: sent {sent.row!r}, stored {stored!r}")


async def check_a_creation_of_what_exists_is_refused(storage: Storage) -> None:
    """A unit is refused when it creates an id that exists."""
    scene = Scene(storage)
    row = await scene.create()
    before = await scene.stored(row.id)
    other = replace(scene.row(), input='"other"')
    await scene.refused(change(other), promise="a Change that creates (expects 0) an id that exists must be refused")
    expect_unchanged(before.row, await scene.stored_row(row.id))


async def check_a_change_under_a_lease_stores_the_whole_row(storage: Storage) -> None:
    """A committed Change stores its row, also one that goes on under its lease and leaves the due time alone."""
    scene = Scene(storage)
    await scene.create()
    row = await scene.claim_one()
    for output, error in (("[1]", '{"e":1}'), (None, None)):
        await scene.committed(following(replace(row, output=output, error=error), status=Status.RUNNING, due=None))
        row = await scene.stored_row(row.id)
        expect_equal((row.output, row.error), (output, error), "what goes on under its lease must be stored whole")


async def check_a_change_of_what_does_not_exist_is_refused(storage: Storage) -> None:
    """A Change is refused when its `expects` isn't the stored revision: of an unknown execution there is none."""
    scene = Scene(storage)
    await scene.refused(
        change(scene.row(), expects=1), promise="a Change that expects revision 1 of an unknown id must be refused"
    )
    expect(await storage.load(scene.id("one")) is None, "a refused Change must create nothing")


async def check_a_change_that_expects_another_revision_is_refused(storage: Storage) -> None:
    """A Change is refused when its `expects` isn't the stored revision, older or newer."""
    scene = Scene(storage)
    row = await scene.create()
    await scene.committed(following(row, status=Status.QUEUED))
    now = await scene.stored_row(row.id)
    for revision in (row.revision, now.revision - 1, now.revision + 1):
        stale = following(replace(now, revision=revision), status=Status.PAUSED)
        await scene.refused(stale, promise=f"a Change that expects {revision}, not {now.revision}, must be refused")
    expect_unchanged(now, await scene.stored_row(row.id))


async def check_entries_are_numbered_from_the_expected_revision(storage: Storage) -> None:
    """A committed Change appends its entries, `seq` from `expects` + 1, whatever stands in them."""
    scene = Scene(storage)
    row = await scene.create()
    entries = [Entry(Kind.STEP_STARTED, seq=77), Entry(Kind.STEP_SUCCEEDED), Entry(Kind.QUEUED, seq=1)]
    sent = change(row, expects=row.revision, entries=entries)
    await scene.committed(replace(sent, row=replace(row, revision=88)))
    stored = await scene.stored(row.id)
    expect_equal([entry.seq for entry in stored.journal], [1, 2, 3, 4], "`seq` must run from 1 without gaps")
    expect_equal(stored.row.revision, 4, "the revision must be the `seq` of the last entry")


async def check_entries_carry_the_change_and_one_time(storage: Storage) -> None:
    """All entries of a Change have the Change's id and the same time, that of the commit by the storage's clock."""
    scene = Scene(storage)
    before = (await scene.stored((await scene.create(scene.row("clock"))).id)).now
    sent = change(scene.row(), entries=[Entry(Kind.CREATED, at=5), Entry(Kind.QUEUED, change="x"), Entry(Kind.PAUSED)])
    await scene.committed(sent)
    stored = await scene.stored(scene.id("one"))
    expect_equal({entry.change for entry in stored.journal}, {sent.id}, "each entry must carry its Change's id")
    times = {entry.at for entry in stored.journal}
    expect_equal(len(times), 1, "all entries of one Change must have the same time")
    expect(
        before <= min(times) <= stored.now, f"entries must have the time of the commit: {before} {times} {stored.now}"
    )


async def check_entries_keep_their_fields(storage: Storage) -> None:
    """A committed Change appends its entries as they are, but for id, `seq` and time."""
    scene = Scene(storage)
    full = Entry(Kind.STEP_RETRY, "work", 2, 3, "worker", 4, "route", "ref", '{"p":[1,2]}')
    sent = [full, Entry(Kind.QUEUED), *(Entry(kind) for kind in Kind)]
    await scene.committed(change(scene.row(), entries=sent))
    journal = (await scene.stored(scene.id("one"))).journal
    expect_equal(
        [replace(entry, change="", seq=0, at=0) for entry in journal], sent, "an entry must come back as it was sent"
    )


async def check_earlier_entries_stay(storage: Storage) -> None:
    """The journal is append-only: a commit leaves the entries before it as they were."""
    scene = Scene(storage)
    row = await scene.create()
    first = (await scene.stored(row.id)).journal
    await scene.committed(following(row, status=Status.QUEUED, due=NOW))
    await scene.claim_one()
    journal = (await scene.stored(row.id)).journal
    expect_equal(journal[: len(first)], first, "entries that were written must not change")
    expect_equal(len(journal), len(first) + 3, "two entries of a Change and one of a claim must have been appended")


async def check_due_after_is_counted_from_the_commit(storage: Storage) -> None:
    """`due` and `timer` become times by the storage's clock."""
    scene = Scene(storage)
    early = (await scene.stored((await scene.create(scene.row("clock"))).id)).now
    row = await scene.create(due=Moment(after=HOUR), timer=Moment(after=2 * HOUR))
    late = (await scene.stored(row.id)).now
    for name, time, hours in (("due_at", row.due_at, 1), ("timer_at", row.timer_at, 2)):
        offset = hours * 3600 * _SECOND
        expect(
            time is not None and early + offset <= time <= late + offset,
            f"`{name}` {hours} h after the commit must be between {early + offset} and {late + offset}, but is {time}",
        )


async def check_due_at_is_kept_to_the_microsecond(storage: Storage) -> None:
    """`due` and `timer` name a time they were told exactly, also one that is centuries away or long past."""
    scene = Scene(storage)
    for name, due_at, timer_at in (("past", 1, 999_999), ("far", 9_007_199_254_740_993, 7_258_118_400_123_457)):
        row = await scene.create(scene.row(name), due=Moment(at=due_at), timer=Moment(at=timer_at))
        expect_equal((row.due_at, row.timer_at), (due_at, timer_at), "a time given as `at` must be stored exactly")


async def check_due_never_clears_it(storage: Storage) -> None:
    """`due` and `timer` of a Moment without a time are never: null."""
    scene = Scene(storage)
    row = await scene.create(due=NOW, timer=NOW)
    await scene.committed(following(row, status=Status.PAUSED, due=NEVER, timer=NEVER))
    row = await scene.stored_row(row.id)
    expect_equal((row.due_at, row.timer_at), (None, None), "`due` and `timer` of NEVER must become None")
    expect_equal(await scene.claimed(), [], "what is never due must not be claimed")


async def check_due_and_timer_of_none_stay(storage: Storage) -> None:
    """Where `due` and `timer` are None, the stored times stay, whatever stands in the Change's row."""
    scene = Scene(storage)
    await scene.create(timer=Moment(at=4_000_000_000_000_000))
    before = await scene.claim_one()
    wrong = replace(before, due_at=None, timer_at=1)
    await scene.committed(following(wrong, status=Status.RUNNING, due=None, timer=None))
    after = await scene.stored_row(before.id)
    expect_equal(after.due_at, before.due_at, "`due_at` (the lease's end) must stay where `due` is None")
    expect_equal(after.timer_at, before.timer_at, "`timer_at` must stay where `timer` is None")
    new = replace(scene.row("new"), due_at=1, timer_at=1)
    await scene.committed(change(new, due=None))
    new = await scene.stored_row(new.id)
    expect_equal((new.due_at, new.timer_at), (None, None), "a new execution has no time that could stay")


async def check_due_and_timer_are_settled_apart(storage: Storage) -> None:
    """`due` and `timer` are settled independently of each other."""
    scene = Scene(storage)
    row = await scene.create(due=Moment(at=1), timer=Moment(at=2))
    await scene.committed(following(row, status=Status.QUEUED, due=Moment(at=3)))
    row = await scene.stored_row(row.id)
    expect_equal((row.due_at, row.timer_at), (3, 2), "`timer_at` must stay where only `due` is given")
    await scene.committed(following(row, status=Status.QUEUED, due=None, timer=Moment(at=4)))
    row = await scene.stored_row(row.id)
    expect_equal((row.due_at, row.timer_at), (3, 4), "`due_at` must stay where only `timer` is given")


async def check_a_change_leaves_the_signal_counter_alone(storage: Storage) -> None:
    """The row's signal counter is never changed by a Change."""
    scene = Scene(storage)
    row = await scene.create(replace(scene.row(), signals=9))
    expect_equal(row.signals, 0, "a new execution has accepted no signal, whatever its Change's row says")
    await scene.committed(deposit(row.id))
    await scene.committed(following(row, status=Status.QUEUED, uses=["signal"]))
    expect_equal((await scene.stored_row(row.id)).signals, 1, "a Change must not touch the signal counter")


async def check_a_change_that_counted_other_signals_is_refused(storage: Storage) -> None:
    """A Change is refused when its `signals` (if given) isn't the stored counter."""
    scene = Scene(storage)
    row = await scene.create()
    await scene.committed(deposit(row.id))
    for signals in (0, 2):
        await scene.refused(
            following(row, status=Status.SUSPENDED, signals=signals),
            promise=f"a Change that counted {signals} signals must be refused where 1 was accepted",
        )
    expect_equal((await scene.stored_row(row.id)).status, row.status, "a refused Change must change nothing")
    await scene.committed(following(row, status=Status.SUSPENDED, signals=1))
    await scene.committed(change(scene.row("new"), signals=0))


async def check_times_are_those_of_the_commits(storage: Storage) -> None:
    """`created_at` and `updated_at` are the time of the commit; `created_at` then stays."""
    scene = Scene(storage)
    row = await scene.create(replace(scene.row(), created_at=5, updated_at=6, ended_at=7))
    created = (await scene.stored(row.id)).journal[0].at
    expect_equal(row.created_at, created, "`created_at` must be the time of the first commit")
    expect_equal(row.updated_at, created, "`updated_at` of a new execution must be the time of that commit")
    expect_equal(row.ended_at, None, "`ended_at` must be None while the execution lives")
    await scene.committed(following(replace(row, created_at=8), status=Status.QUEUED))
    after = await scene.stored(row.id)
    expect_equal(after.row.created_at, created, "`created_at` must stay")
    expect_equal(after.row.updated_at, after.journal[-1].at, "`updated_at` must be the time of the last commit")


async def check_ended_at_is_set_at_the_end(storage: Storage) -> None:
    """`ended_at` is, for a terminal status, the time of the commit; a resume clears it."""
    scene = Scene(storage)
    for status in (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED):
        row = await scene.create(scene.row(status))
        await scene.committed(following(row, status=status))
        stored = await scene.stored(row.id)
        expect_equal(stored.row.ended_at, stored.journal[-1].at, f"`ended_at` of {status} must be the commit's time")
    row = await scene.stored_row(scene.id(Status.FAILED))
    await scene.committed(following(row, status=Status.QUEUED))
    expect_equal((await scene.stored_row(row.id)).ended_at, None, "a resumed execution has no end")


async def check_signals_are_marked_used_or_discarded(storage: Storage) -> None:
    """Signals that a Change uses or discards are marked so; the others stay pending."""
    scene = Scene(storage)
    row = await scene.create()
    for count, name in enumerate(("used", "discarded", "kept")):
        await scene.committed(deposit(row.id, expects=count, signal=name))
    await scene.committed(following(row, status=Status.QUEUED, uses=["used"], discards=["discarded"]))
    found = {signal.id: signal.state for signal in (await scene.stored(row.id)).signals}
    expected = {"used": SignalState.USED, "discarded": SignalState.DISCARDED, "kept": SignalState.PENDING}
    expect_equal(found, expected, "signals must be marked as the Change says, and no others")


async def check_a_refused_change_marks_no_signal(storage: Storage) -> None:
    """A refused unit changes nothing: neither the row, nor the journal, nor the signals."""
    scene = Scene(storage)
    row = await scene.create()
    await scene.committed(deposit(row.id))
    before = await scene.stored(row.id)
    await scene.refused(
        following(row, status=Status.QUEUED, signals=0, uses=["signal"]),
        promise="a Change that counted other signals must be refused",
    )
    after = await scene.stored(row.id)
    expect_equal(replace(after, now=before.now), before, "a refused Change must leave everything as it was")


async def check_a_change_of_one_execution_leaves_others_alone(storage: Storage) -> None:
    """A Change is of one execution: no other moves, not even one whose signal has the same id."""
    scene = Scene(storage)
    one, other = await scene.create(), await scene.create(scene.row("other"))
    await scene.committed(deposit(one.id))
    await scene.committed(deposit(other.id))
    before = await scene.stored(other.id)
    await scene.committed(following(one, status=Status.SUCCEEDED, uses=["signal"]))
    after = await scene.stored(other.id)
    expect_equal(replace(after, now=before.now), before, "a Change must not touch another execution")


def same_row(sent: Row, stored: Row) -> bool:
    """Whether a row is stored as sent, but for what the storage settles."""
    settled = {"due_at", "timer_at", "signals", "created_at", "updated_at", "ended_at"}
    return replace(sent, **{name: getattr(stored, name) for name in settled}) == stored


def expect_unchanged(before: Row, after: Row) -> None:
    """Expect that a refused unit left the row as it was."""
    expect_equal(after, before, "a refused unit must leave the row as it was")
