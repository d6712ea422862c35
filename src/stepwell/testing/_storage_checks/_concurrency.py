"""At the same time: whatever the order in which it happens, the outcome is that of one order."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import anyio
from msgspec.structs import replace

from stepwell.storage import NEVER, Kind, Status
from stepwell.testing._scene import (
    HOUR,
    Scene,
    at_once,
    change,
    deposit,
    expect,
    expect_equal,
    following,
    lease_of,
    wake,
)

if TYPE_CHECKING:
    from stepwell.storage import Claims, Renewal, Storage

ROUNDS = 5


async def check_claims_at_once_share_no_execution(storage: Storage) -> None:
    """Two callers never receive the same execution while its lease runs: here ten at once."""
    scene = Scene(storage)
    names = [f"{number:02}" for number in range(60)]
    await scene.create_many(scene.row(name) for name in names)
    claimers = [partial(scene.claimed, worker=f"{scene.worker}-{number}", limit=7) for number in range(10)]
    found = [name for names_ in await at_once(*claimers) for name in names_]
    twice = [name for name, count in Counter(found).items() if count > 1]
    expect_equal(twice, [], "no execution may be claimed twice")
    found += await scene.claimed()
    expect_equal(sorted(found), names, "each execution must be claimed by someone")


async def check_one_of_many_changes_is_committed(storage: Storage) -> None:
    """A Change is refused when its `expects` isn't the stored revision: of many decided on the same one, one wins."""
    scene = Scene(storage)
    row = await scene.create()
    changes = [following(replace(row, output=str(number)), status=Status.QUEUED) for number in range(10)]
    results = await at_once(*(partial(scene.commit, sent) for sent in changes))
    expect_equal(results.count(True), 1, "exactly one of ten Changes that expect the same revision must be committed")
    stored = await scene.stored(row.id)
    winner = changes[results.index(True)]
    expect_equal(stored.row.output, winner.row.output, "the row must be that of the Change that was committed")
    expect_equal([entry.change for entry in stored.journal[1:]], [winner.id] * 2, "and so must the entries")


async def check_one_of_many_creations_is_committed(storage: Storage) -> None:
    """A Change is refused when it creates an id that exists: of many that create one, one wins."""
    scene = Scene(storage)
    rows = [replace(scene.row(), input=str(number)) for number in range(10)]
    results = await at_once(*(partial(scene.commit, change(row)) for row in rows))
    expect_equal(results.count(True), 1, "exactly one of ten creations of one id must be committed")
    stored = await scene.stored(scene.id("one"))
    expect_equal(stored.row.input, str(results.index(True)), "the execution must be the one that was committed")
    expect_equal(len(stored.journal), 1, "the execution must have one entry")


async def check_one_of_many_signals_is_accepted(storage: Storage) -> None:
    """A Deposit is refused when its `expects` isn't the stored counter: of many that counted the same, one wins."""
    scene = Scene(storage)
    row = await scene.create()
    deposits = [deposit(row.id, signal=str(number)) for number in range(10)]
    results = await at_once(*(partial(scene.commit, sent) for sent in deposits))
    expect_equal(results.count(True), 1, "exactly one of ten signals that counted the same must be accepted")
    stored = await scene.stored(row.id)
    found = [signal.id for signal in stored.signals]
    expect_equal(
        (found, stored.row.signals), ([str(results.index(True))], 1), "the signal must be that one, counted once"
    )


async def check_each_wake_at_once_counts(storage: Storage) -> None:
    """A Wake is unguarded: many at once are all committed, each with its entry."""
    scene = Scene(storage)
    row = await scene.create(scene.row(status=Status.SUSPENDED), due=NEVER)
    wakes = [wake(row.id, child=str(number)) for number in range(10)]
    results = await at_once(*(partial(scene.commit, sent) for sent in wakes))
    expect(all(results), "a Wake has no guard that could refuse it")
    stored = await scene.stored(row.id)
    expect_equal([entry.seq for entry in stored.journal], list(range(1, 12)), "`seq` must run without gaps")
    woken = sorted(entry.ref or "" for entry in stored.journal if entry.kind is Kind.WOKEN)
    expect_equal(woken, [str(number) for number in range(10)], "each Wake must have left its entry")
    expect_equal(await scene.claimed(), ["one"], "the parent must be due")


async def check_a_commit_and_a_claim_exclude_each_other(storage: Storage) -> None:
    """Of a holder's commit and another's claim, one is first: the commit is refused, or the claim sees it."""
    scene = Scene(storage)
    for number in range(ROUNDS):
        await scene.create(scene.row(str(number)))
        held = await scene.claim_one(lease=0)
        sent = following(held, status=Status.SUCCEEDED)
        committed, claims = await at_once(
            partial(scene.commit, sent), partial(scene.claims, worker=scene.rival), swapped=number % 2 == 1
        )
        stored = await scene.stored(held.id)
        if committed:
            expect_equal(claims.claimed, (), "what has ended must not be claimed")
            expect_equal(stored.row.status, Status.SUCCEEDED, "what was committed must stand")
        else:
            expect_equal(
                [found.row.id for found in claims.claimed], [held.id], "a refused commit means that it was claimed"
            )
            expect_equal(stored.row.worker, scene.rival, "the claim must stand")


async def check_a_signal_and_a_suspension_do_not_miss_each_other(storage: Storage) -> None:
    """Of a suspension and a signal, one is first: the suspension is refused, or the signal makes it due."""
    scene = Scene(storage)
    for number in range(ROUNDS):
        await scene.create(scene.row(str(number)))
        held = await scene.claim_one()
        suspended, accepted = await at_once(
            partial(scene.commit, following(held, status=Status.SUSPENDED, signals=0)),
            partial(scene.commit, deposit(held.id)),
            swapped=number % 2 == 1,
        )
        expect(accepted, "a signal for a live execution must be accepted")
        if suspended:
            expect_equal(await scene.claimed(), [str(number)], "a signal after the suspension must make it due")
        else:
            expect_equal((await scene.stored_row(held.id)).signals, 1, "a signal before it must be counted")


async def check_a_renewal_and_a_claim_exclude_each_other(storage: Storage) -> None:
    """Of a late renewal and another's claim, one is first: the claim gets nothing, or the lease is lost."""
    scene = Scene(storage)
    for number in range(ROUNDS):
        await scene.create(scene.row(str(number)))
        held = await scene.claim_one(lease=0)
        renewal, claims = await at_once(
            partial(storage.renew, scene.worker, [lease_of(held)], lease=HOUR),
            partial(scene.claims, worker=scene.rival),
            swapped=number % 2 == 1,
        )
        _expect_one_holder(renewal, claims)
        await scene.committed(following(await scene.stored_row(held.id), status=Status.SUCCEEDED))


def _expect_one_holder(renewal: Renewal, claims: Claims) -> None:
    expect_equal(len(renewal.lost) + (not claims.claimed), 1, "either the renewal or the claim must get the lease")


async def check_units_at_once_do_not_block_each_other(storage: Storage) -> None:
    """Units that share executions, in whatever order, end: each is committed or refused, and whole."""
    scene = Scene(storage)
    rows = [await scene.create(scene.row(str(number))) for number in range(4)]
    units = [[following(row, status=Status.QUEUED) for row in (*rows[turn:], *rows[:turn])] for turn in range(4)]
    with anyio.move_on_after(60) as limit:
        results = await at_once(*(partial(scene.commit, *unit) for unit in units))
        expect_equal(
            results.count(True), 1, "exactly one of four units that change the same executions must be committed"
        )
    expect(not limit.cancelled_caught, "units that share executions must not block each other")
    revisions = {(await scene.stored_row(row.id)).revision for row in rows}
    expect_equal(revisions, {3}, "the unit that was committed must be committed whole, the others not at all")


async def check_commits_at_once_are_all_kept(storage: Storage) -> None:
    """Units of different executions don't disturb each other, though many calls are under way at once."""
    scene = Scene(storage)

    async def run(name: str) -> None:
        row = await scene.create(scene.row(name), due=NEVER)
        for _ in range(4):
            await scene.committed(following(row, status=Status.QUEUED))
            row = await scene.stored_row(row.id)

    await at_once(*(partial(run, str(number)) for number in range(20)))
    for number in range(20):
        found = [entry.seq for entry in await storage.journal(scene.id(str(number)))]
        expect_equal(found, list(range(1, 10)), "each commit must be kept, numbered without gaps")
