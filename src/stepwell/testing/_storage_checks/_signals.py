"""Signals: laid down once, counted, and never in the way of the journal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from stepwell.storage import LIVE, NEVER, TERMINAL, Moment, Signal, SignalState, Status
from stepwell.testing._scene import HOUR, Scene, deposit, expect, expect_equal, following, same_but

if TYPE_CHECKING:
    from stepwell.storage import Storage

LATER = Moment(after=HOUR)


async def check_a_signal_is_kept(storage: Storage) -> None:
    """A Deposit lays a signal down: pending, with the time of the commit."""
    scene = Scene(storage)
    row = await scene.create()
    await scene.committed(deposit(row.id, signal="s", step="approval", payload='{"ok":true}'))
    stored = await scene.stored(row.id)
    expect_equal(len(stored.signals), 1, "load must return the signal that was accepted")
    signal = stored.signals[0]
    expect_equal(replace(signal, at=0), Signal("s", "approval", '{"ok":true}'), "a signal must be kept as it was sent")
    expect(row.created_at <= signal.at <= stored.now, f"a signal must have the time of the commit, not {signal.at}")


async def check_a_new_signal_is_pending(storage: Storage) -> None:
    """A signal that is laid down is pending, whatever state and time stand in the Deposit."""
    scene = Scene(storage)
    row = await scene.create()
    sent = deposit(row.id)
    await scene.committed(replace(sent, signal=replace(sent.signal, state=SignalState.USED, at=7)))
    signal = (await scene.stored(row.id)).signals[0]
    expect_equal(signal.state, SignalState.PENDING, "a new signal must be pending")
    expect(signal.at >= row.created_at, "a new signal must have the time of the commit")


async def check_a_signal_raises_the_counter_only(storage: Storage) -> None:
    """A Deposit raises the row's signal counter, not its revision, and writes nothing into the journal."""
    scene = Scene(storage)
    row = await scene.create(due=LATER, timer=LATER)
    await scene.committed(deposit(row.id, signal="a"))
    await scene.committed(deposit(row.id, signal="b", expects=1))
    stored = await scene.stored(row.id)
    expect_equal(stored.row.signals, 2, "each Deposit must raise the signal counter by one")
    expect(same_but(row, stored.row, signals=2), f"a Deposit must raise the counter only: {row!r}, {stored.row!r}")
    expect_equal(len(stored.journal), row.revision, "a Deposit must not write into the journal")
    await scene.committed(following(row, status=Status.QUEUED))


async def check_signals_come_oldest_first(storage: Storage) -> None:
    """Load returns all signals that were accepted, oldest first."""
    scene = Scene(storage)
    row = await scene.create()
    names = ["z", "b", "10", "9", "a"]
    for count, name in enumerate(names):
        await scene.committed(deposit(row.id, signal=name, expects=count))
    await scene.committed(following(row, status=Status.QUEUED, uses=["b"], discards=["z"]))
    found = [signal.id for signal in (await scene.stored(row.id)).signals]
    expect_equal(found, names, "load must return all signals, used or not, in the order in which they were accepted")


async def check_a_signal_for_an_unknown_execution_is_refused(storage: Storage) -> None:
    """A Deposit is refused when its execution is unknown."""
    scene = Scene(storage)
    await scene.refused(deposit(scene.id("one")), promise="a signal for an unknown execution must be refused")
    row = await scene.create()
    expect_equal((await scene.stored(row.id)).signals, (), "a refused signal must not turn up later")


async def check_a_signal_for_an_ended_execution_is_refused(storage: Storage) -> None:
    """A Deposit is refused when its execution is terminal."""
    scene = Scene(storage)
    for status in TERMINAL:
        row = await scene.create(scene.row(status, status=status), due=NEVER)
        await scene.refused(deposit(row.id), promise=f"a signal for an execution that has {status} must be refused")
        stored = await scene.stored(row.id)
        expect_equal((stored.row.signals, stored.signals), (0, ()), "a refused signal must leave nothing")


async def check_a_signal_for_a_live_execution_is_accepted(storage: Storage) -> None:
    """A Deposit is accepted by an execution that is live, wherever it stands: an early one is kept."""
    scene = Scene(storage)
    for status in LIVE:
        row = await scene.create(scene.row(status, status=status), due=LATER)
        await scene.committed(deposit(row.id, step="elsewhere"))
        expect_equal(len((await scene.stored(row.id)).signals), 1, f"a {status} execution must keep a signal")


async def check_a_signal_that_counted_others_is_refused(storage: Storage) -> None:
    """A Deposit is refused when its `expects` isn't the stored counter, lower or higher."""
    scene = Scene(storage)
    row = await scene.create()
    await scene.committed(deposit(row.id, signal="a"))
    for count in (0, 2):
        await scene.refused(
            deposit(row.id, signal="b", expects=count),
            promise=f"a Deposit that expects {count} accepted signals must be refused where there is 1",
        )
    stored = await scene.stored(row.id)
    expect_equal((stored.row.signals, len(stored.signals)), (1, 1), "a refused signal must leave nothing")


async def check_a_signal_id_is_used_once(storage: Storage) -> None:
    """A Deposit is refused when its signal id was used before in that execution, whatever became of that signal."""
    scene = Scene(storage)
    row = await scene.create()
    for count, name in enumerate(("pending", "used", "discarded")):
        await scene.committed(deposit(row.id, signal=name, expects=count))
    await scene.committed(following(row, status=Status.QUEUED, uses=["used"], discards=["discarded"]))
    for name in ("pending", "used", "discarded"):
        await scene.refused(
            deposit(row.id, signal=name, expects=3, step="other", payload='"other"'),
            promise=f"a second signal with the id of one that is {name} must be refused",
        )
    stored = await scene.stored(row.id)
    expect_equal([signal.payload for signal in stored.signals], ["null"] * 3, "a refused signal must replace nothing")
    expect_equal(stored.row.signals, 3, "a refused signal must not be counted")


async def check_a_signal_id_belongs_to_its_execution(storage: Storage) -> None:
    """A signal id is unique in its execution only: another may use the same."""
    scene = Scene(storage)
    one, other = await scene.create(), await scene.create(scene.row("other"))
    await scene.committed(deposit(one.id, payload="1"))
    await scene.committed(deposit(other.id, payload="2"))
    found = [(await scene.stored(row.id)).signals[0].payload for row in (one, other)]
    expect_equal(found, ["1", "2"], "each execution must have its own signal")


async def check_a_signal_makes_its_wait_due(storage: Storage) -> None:
    """A Deposit makes the execution due now if it is suspended at that step, and keeps its timer."""
    scene = Scene(storage)
    for name, due in (("never", NEVER), ("later", LATER)):
        row = await scene.create(scene.row(name, status=Status.SUSPENDED, step="approval"), due=due, timer=LATER)
        await scene.committed(deposit(row.id, step="approval"))
        after = await scene.stored_row(row.id)
        kept = same_but(row, after, signals=1, due_at=after.due_at)
        expect(kept, f"a Deposit must leave all but counter and due time alone: {row!r}, {after!r}")
        expect_equal(await scene.claimed(), [name], "a signal must make the execution due that waits for it")


async def check_a_signal_for_another_step_makes_nothing_due(storage: Storage) -> None:
    """A Deposit leaves the due time of an execution alone that isn't suspended at that step."""
    scene = Scene(storage)
    stands = (
        (Status.SUSPENDED, "elsewhere", NEVER),
        (Status.QUEUED, "approval", LATER),
        (Status.WAITING, "approval", LATER),
        (Status.PAUSED, "approval", NEVER),
    )
    for status, step, due in stands:
        row = await scene.create(scene.row(status, status=status, step=step), due=due)
        await scene.committed(deposit(row.id, step="approval"))
        after = await scene.stored_row(row.id)
        expect_equal(after.due_at, row.due_at, f"a signal for 'approval' must not move what is {status} at {step!r}")
    await scene.create(scene.row("running", step="approval"))
    row = await scene.claim_one()
    await scene.committed(deposit(row.id, step="approval"))
    expect_equal((await scene.stored_row(row.id)).due_at, row.due_at, "a signal must not move the end of a lease")


async def check_a_signal_is_used_where_it_is_laid_down(storage: Storage) -> None:
    """Items of one unit are applied in their order: a Change may use or discard a signal that comes right before it."""
    scene = Scene(storage)
    for state in (SignalState.USED, SignalState.DISCARDED):
        row = await scene.create(scene.row(state, status=Status.SUSPENDED), due=NEVER)
        await scene.committed(deposit(row.id, signal="earlier"))
        uses, discards = (["s"], []) if state is SignalState.USED else ([], ["s"])
        moved = following(row, status=Status.QUEUED, uses=uses, discards=discards)
        await scene.committed(deposit(row.id, signal="s", expects=1), moved)
        found = {signal.id: signal.state for signal in (await scene.stored(row.id)).signals}
        expected = {"earlier": SignalState.PENDING, "s": state}
        expect_equal(found, expected, f"a signal that its own unit marks as {state} must be so")
