"""Claims: what is due, to whom, how much at once, and what a claim does to an execution."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from stepwell.storage import NEVER, NOW, Entry, Kind, Lease, Moment, Status
from stepwell.testing._scene import (
    HOUR,
    Scene,
    change,
    deposit,
    expect,
    expect_equal,
    following,
    lease_of,
    same_but,
    unique,
)

if TYPE_CHECKING:
    from stepwell.storage import Storage

_HOUR = 3_600_000_000


async def check_what_is_due_is_claimed(storage: Storage) -> None:
    """Due is what has `due_at` at or before now, whatever its status."""
    scene = Scene(storage)
    await scene.create(scene.row("now"), due=NOW)
    await scene.create(scene.row("past"), due=Moment(at=1))
    for status in (Status.WAITING, Status.SUSPENDED):
        await scene.create(scene.row(status, status=status), due=NOW)
    found = set(await scene.claimed())
    expect_equal(found, {"now", "past", "waiting", "suspended"}, "claim must take all that is due")


async def check_what_is_not_due_is_left_alone(storage: Storage) -> None:
    """Due is what has `due_at` at or before now: not what is due later, nor what has none."""
    scene = Scene(storage)
    rows = [
        await scene.create(scene.row("later"), due=Moment(after=HOUR)),
        await scene.create(scene.row("never"), due=NEVER),
        await scene.create(scene.row("far"), due=Moment(at=9_007_199_254_740_993)),
    ]
    expect_equal(await scene.claimed(), [], "claim must not take what isn't due")
    for row in rows:
        expect_equal(await scene.stored_row(row.id), row, "what isn't due must stay as it was")


async def check_what_comes_due_is_claimed(storage: Storage) -> None:
    """The storage's own clock decides what is due: a moment later, what was not due yet is claimed."""
    scene = Scene(storage)
    await scene.create(due=Moment(after=0.05))
    await scene.claimed_soon(worker=scene.worker, promise="what is due after 0.05 s must be claimable soon after")
    stored = await scene.stored(scene.id("one"))
    early = stored.journal[0].at + 50_000 - stored.journal[1].at
    expect(early <= 0, f"what is due after 0.05 s was claimed {early} µs early")


async def check_a_claim_takes_no_more_than_its_limit(storage: Storage) -> None:
    """Lease *up to limit* due executions."""
    scene = Scene(storage)
    await scene.create_many(scene.row(str(number)) for number in range(10))
    counts = [len(await scene.claimed(limit=limit)) for limit in (1, 3, 20)]
    expect_equal(counts, [1, 3, 6], "claims with the limits 1, 3 and 20 must take 1, 3 and the remaining 6 of 10")


async def check_the_longest_due_comes_first(storage: Storage) -> None:
    """Claim leases the longest due first, and returns it first."""
    scene = Scene(storage)
    for name, due_at in (("c", 3), ("a", 1), ("e", 5), ("d", 4), ("b", 2)):
        await scene.create(scene.row(name), due=Moment(at=due_at))
    expect_equal(await scene.claimed(limit=2), ["a", "b"], "claim must take the longest due, in that order")
    expect_equal(await scene.claimed(limit=9), ["c", "d", "e"], "claim must return the longest due first")


async def check_only_named_workflows_are_touched(storage: Storage) -> None:
    """No execution of a workflow and version that isn't named is touched."""
    scene = Scene(storage)
    others = [
        await scene.create(scene.row("workflow", workflow=f"other-{scene.name}"), due=Moment(at=1)),
        await scene.create(scene.row("version", version="2"), due=Moment(at=1)),
        await scene.create(scene.row("both", workflow=f"other-{scene.name}", version="2"), due=Moment(at=1)),
    ]
    await scene.create()
    expect_equal(await scene.claimed(), ["one"], "claim must take only what belongs to a named workflow and version")
    pairs = [(scene.workflow, "3"), (f"other-{scene.name}", "3")]
    crossed = await scene.claims(capabilities=pairs)
    expect_equal(crossed.claimed, (), "claim must take workflow and version as a pair")
    for row in others:
        expect_equal(await scene.stored_row(row.id), row, "what isn't named must stay as it was")


async def check_no_capability_claims_nothing(storage: Storage) -> None:
    """No execution of a workflow and version that isn't named is touched: without names, none."""
    scene = Scene(storage)
    row = await scene.create()
    claims = await scene.claims(capabilities=[])
    expect_equal(claims.claimed, (), "claim without capabilities must take nothing")
    expect_equal(await scene.stored_row(row.id), row, "claim without capabilities must change nothing")


async def check_many_capabilities_are_served(storage: Storage) -> None:
    """Claim leases due executions of *these workflows*, however many are named, and named twice or not."""
    scene = Scene(storage)
    pairs = [(f"{scene.workflow}-{number}", "1") for number in range(200)]
    for number in (0, 77, 199):
        await scene.create(scene.row(str(number), workflow=pairs[number][0]), due=Moment(at=number + 1))
    claims = await scene.claims(capabilities=[*pairs, *pairs])
    found = [stored.row.id for stored in claims.claimed]
    expect_equal(found, [scene.id(name) for name in ("0", "77", "199")], "each named workflow must be served, once")


async def check_each_workflow_gets_a_place(storage: Storage) -> None:
    """Each workflow that has due work, whatever its versions, gets at least one place as long as *limit* allows."""
    scene = Scene(storage)
    quiet, idle = f"quiet-{scene.name}", f"idle-{scene.name}"
    for number in range(6):
        await scene.create(scene.row(f"busy-{number}"), due=Moment(at=number + 1))
    for number in range(2):
        await scene.create(scene.row(f"quiet-{number}", workflow=quiet), due=Moment(at=1_000 + number))
    await scene.create(scene.row("newer", version="2"), due=Moment(at=100))
    pairs = [(idle, "1"), scene.capability, (scene.workflow, "2"), (quiet, "1")]
    claims = await scene.claims(capabilities=pairs, limit=3)
    found = [stored.row.id.removeprefix(f"{scene.name}:") for stored in claims.claimed]
    expect_equal(
        sorted(found), ["busy-0", "busy-1", "quiet-0"], "one place for each workflow, the others to the longest due"
    )
    claims = await scene.claims(capabilities=pairs, limit=1)
    expect_equal(claims.claimed[0].row.id, scene.id("busy-2"), "a single place belongs to the longest due of all")


async def check_a_claim_leases_the_execution(storage: Storage) -> None:
    """A claim raises token and revision by one, sets status, worker and the end of the lease, and touches no more."""
    scene = Scene(storage)
    full = replace(scene.row(), tags=("t",), metadata={"k": "v"}, input="[1]", parent="p", visit=3, token=4)
    before = await scene.create(full, timer=Moment(after=2 * HOUR))
    early = (await scene.stored(before.id)).now
    stored = (await scene.claims(lease=HOUR)).claimed[0]
    late = (await scene.stored(before.id)).now
    row = stored.row
    settled = {"status": Status.RUNNING, "token": 5, "revision": 2, "worker": scene.worker, "attempt": 1}
    expect(
        same_but(before, row, due_at=row.due_at, **settled),
        f"a claim must change status, token, revision, worker, attempt and due time only: {before!r}, {row!r}",
    )
    expect(
        row.due_at is not None and early + _HOUR <= row.due_at <= late + _HOUR,
        f"`due_at` must be the end of the lease, 1 h from the claim, but is {row.due_at}",
    )


async def check_a_claim_counts_an_attempt(storage: Storage) -> None:
    """A claim raises `attempt` by one unless the execution was suspended."""
    scene = Scene(storage)
    statuses = (Status.QUEUED, Status.WAITING, Status.RUNNING, Status.SUSPENDED)
    for status in statuses:
        await scene.create(replace(scene.row(status, status=status), attempt=2))
    found = {stored.row.id: stored.row.attempt for stored in (await scene.claims()).claimed}
    expected = {scene.id(status): 2 if status is Status.SUSPENDED else 3 for status in statuses}
    expect_equal(found, expected, "a claim must count an attempt unless it found the execution suspended")


async def check_a_claim_is_in_the_journal(storage: Storage) -> None:
    """A claim appends one `execution.claimed` entry with the worker, the token and, as `ref`, the status it found."""
    scene = Scene(storage)
    for status in (Status.QUEUED, Status.WAITING, Status.RUNNING, Status.SUSPENDED):
        row = await scene.create(replace(scene.row(status, status=status), attempt=2, visit=3))
        await scene.claim_one()
        stored = await scene.stored(row.id)
        expect_equal(len(stored.journal), 2, "a claim must append one entry")
        expected = Entry(
            Kind.CLAIMED,
            "work",
            3,
            stored.row.attempt,
            scene.worker,
            stored.row.token,
            ref=status.value,
            seq=2,
            at=stored.journal[1].at,
        )
        expect_equal(stored.journal[1], expected, f"the claim's entry must tell who found a {status} execution where")
        at = stored.journal[1].at
        expect(row.created_at <= at <= stored.now, f"the claim's entry must have the time of the claim, not {at}")


async def check_a_claim_returns_the_execution_whole(storage: Storage) -> None:
    """What a claim brought is the execution as it is now: row, journal with the claim's entry, and signals."""
    scene = Scene(storage)
    row = await scene.create(replace(scene.row(), input='{"a":1}'))
    await scene.committed(deposit(row.id, payload='"hello"'))
    claimed = (await scene.claims()).claimed[0]
    loaded = await scene.stored(row.id)
    expect(claimed.now <= loaded.now, "`now` must be the storage's clock")
    expect_equal(replace(claimed, now=loaded.now), loaded, "claim must return what load would")


async def check_a_running_lease_is_not_claimed(storage: Storage) -> None:
    """Two callers never receive the same execution while its lease runs; nor does one twice."""
    scene = Scene(storage)
    await scene.create()
    row = await scene.claim_one()
    for worker in (scene.rival, scene.worker):
        expect_equal(await scene.claimed(worker=worker), [], "an execution whose lease runs must not be claimed")
    expect_equal(await scene.stored_row(row.id), row, "a claim must not touch what it can't have")


async def check_an_ended_lease_is_claimed(storage: Storage) -> None:
    """A crash is a lease that nobody moved: when it has ended, the execution is due again."""
    scene = Scene(storage)
    await scene.create()
    first = await scene.claim_one(lease=0)
    second = await scene.claim_one(worker=scene.rival)
    expect_equal(second.token, first.token + 1, "each claim must raise the token")
    expect_equal(second.worker, scene.rival, "the lease must be the new worker's")
    expect_equal((await scene.stored(second.id)).journal[-1].ref, "running", "the claim must tell that it was running")


async def check_a_lease_ends_by_itself(storage: Storage) -> None:
    """The storage's own clock decides when a lease ends: not before, but without anyone's doing."""
    scene = Scene(storage)
    await scene.create()
    first = await scene.claim_one(lease=0.05)
    await scene.claimed_soon(worker=scene.rival, promise="what was leased for 0.05 s must be claimable soon after")
    at = (await scene.stored(first.id)).journal[-1].at
    expect(first.due_at is not None and at >= first.due_at, "an execution was claimed before its lease had ended")


async def check_one_claim_brings_an_execution_once(storage: Storage) -> None:
    """One claim brings an execution once, even where its lease ends at once."""
    scene = Scene(storage)
    await scene.create_many(scene.row(str(number)) for number in range(3))
    for _ in range(3):
        found = await scene.claimed(lease=0, limit=50)
        expect_equal(sorted(found), ["0", "1", "2"], "one claim must bring each due execution once")


async def check_who_lost_its_lease_commits_nothing(storage: Storage) -> None:
    """A claim raises the revision, so whoever held the execution before can no longer commit."""
    scene = Scene(storage)
    await scene.create()
    before = await scene.claim_one(lease=0)
    await scene.claim_one(worker=scene.rival)
    await scene.refused(
        following(before, status=Status.SUCCEEDED),
        promise="a Change decided under a lease that was lost must be refused",
    )


async def check_what_was_moved_is_claimed_by_its_new_time(storage: Storage) -> None:
    """Due is what has `due_at` now: where it stood before says nothing, sooner or later."""
    scene = Scene(storage)
    sooner = await scene.create(scene.row("sooner"), due=Moment(after=HOUR))
    later = await scene.create(scene.row("later"), due=NOW)
    back = await scene.create(scene.row("back"), due=Moment(at=7))
    await scene.committed(following(sooner, status=Status.QUEUED, due=Moment(at=3)))
    await scene.committed(following(later, status=Status.QUEUED, due=Moment(after=HOUR)))
    await scene.committed(following(back, status=Status.QUEUED, due=NEVER))
    back = await scene.stored_row(back.id)
    await scene.committed(following(back, status=Status.QUEUED, due=Moment(at=7)))
    expect_equal(
        await scene.claimed(), ["sooner", "back"], "claim must go by the `due_at` that is stored now, once each"
    )


async def check_a_claim_keeps_the_pausing_flag(storage: Storage) -> None:
    """A claim knows nothing of pauses: an execution that is pausing is claimed with its flag."""
    scene = Scene(storage)
    await scene.create(replace(scene.row(status=Status.RUNNING), pausing=True))
    expect((await scene.claim_one()).pausing, "a claim must leave `pausing` as it is")


async def check_claim_tells_which_held_leases_are_lost(storage: Storage) -> None:
    """Claim also returns which of *held* are the worker's no more: another token, or not running."""
    scene = Scene(storage)
    await scene.create_many(scene.row(name) for name in ("valid", "taken", "left", "ended", "moved"))
    rows = {stored.row.id: stored.row for stored in (await scene.claims(lease=HOUR)).claimed}
    held = {name: rows[scene.id(name)] for name in ("valid", "taken", "left", "ended", "moved")}
    await storage.renew(scene.worker, [lease_of(held["taken"])], lease=0)
    await scene.claim_one(worker=scene.rival)
    await scene.committed(following(held["left"], status=Status.SUSPENDED))
    await scene.committed(following(held["ended"], status=Status.CANCELLED))
    moved = held["moved"]
    taken_away = replace(moved, token=moved.token + 1, worker=None, status=Status.QUEUED)
    await scene.committed(change(taken_away, expects=moved.revision, due=NEVER))
    leases = [lease_of(row) for row in held.values()] + [Lease(scene.id("unknown"), 1)]
    claims = await scene.claims(held=leases)
    lost = {one.id.removeprefix(f"{scene.name}:") for one in claims.lost}
    expect_equal(lost, {"taken", "left", "ended", "moved", "unknown"}, "claim must tell exactly the lost leases")
    expect(set(claims.lost) <= set(leases), "a lost lease must be told as it was named, with the token held")


async def check_a_lease_past_its_end_is_not_lost(storage: Storage) -> None:
    """A held lease is the worker's until another token says otherwise, even past its end."""
    scene = Scene(storage)
    await scene.create()
    row = await scene.claim_one(lease=0)
    claims = await scene.claims(limit=0, held=[lease_of(row)])
    expect_equal(claims.lost, (), "a lease that ended but that nobody claimed isn't lost")


async def check_a_lease_that_was_claimed_anew_is_lost(storage: Storage) -> None:
    """A held lease that has ended and is claimed by the same worker in the same call has another token: it is lost."""
    scene = Scene(storage)
    await scene.create()
    row = await scene.claim_one(lease=0)
    claims = await scene.claims(held=[lease_of(row)])
    expect_equal([stored.row.token for stored in claims.claimed], [row.token + 1], "the execution must be claimed anew")
    expect_equal(claims.lost, (lease_of(row),), "the lease with the old token must be told as lost")


async def check_a_limit_of_zero_only_asks(storage: Storage) -> None:
    """A *limit* of 0 only asks which leases are lost."""
    scene = Scene(storage)
    row = await scene.create()
    gone = Lease(f"gone-{unique()}", 1)
    claims = await scene.claims(limit=0, held=[gone])
    expect_equal(
        (claims.claimed, claims.lost), ((), (gone,)), "a claim with limit 0 must claim nothing and tell the lost"
    )
    expect_equal(await scene.stored_row(row.id), row, "a claim with limit 0 must change nothing")
