"""Locks of others: they hold up what needs just that row, and nobody else; and nothing here ever deadlocks."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import anyio
import asyncpg
import pytest

from stepwell import Engine, PostgresStorage, Status
from stepwell.storage import NOW, Lease, StorageError
from stepwell.testing import check_invariants
from stepwell.testing._scene import Scene, change, deposit, following, lease_of, wake
from tests.engine.flows import HOUR_POLL, line
from tests.engine.small import healthy
from tests.support.postgres.outsider import Outsider, outsider
from tests.support.waiting import Gate

pytestmark = [pytest.mark.anyio, pytest.mark.real_time]

LOCK = "SELECT id FROM stepwell.executions WHERE id = '{}' FOR UPDATE"
DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
CREATE = (
    "INSERT INTO stepwell.executions (id, workflow, version, status, visit, attempt, revision, token, signals, pausing,"
    " created_at, updated_at, tags, metadata, input)"
    " VALUES ('{}', 'x', '1', 'queued', 1, 0, 1, 0, 0, false, 1, 1, '[]', '{{}}', '1')"
)


@pytest.fixture
async def dba(postgres_dsn: str) -> AsyncIterator[Outsider]:
    async with outsider(postgres_dsn) as opened:
        yield opened


@pytest.fixture
async def storage(postgres_dsn: str) -> AsyncIterator[PostgresStorage]:
    async with PostgresStorage(postgres_dsn) as opened:
        yield opened


async def test_a_locked_row_holds_up_its_own_unit_only(storage: PostgresStorage, dba: Outsider) -> None:
    scene = Scene(storage)
    rows = [await scene.create(scene.row(name)) for name in "abc"]
    await dba.execute("BEGIN", LOCK.format(rows[1].id))
    units = [(following(row, status=Status.QUEUED, due=NOW),) for row in rows]
    with anyio.fail_after(10):
        assert await storage.commit(units) == [True, None, True]
        assert await storage.commit(units[1:2]) == [None]
    await dba.execute("COMMIT")
    assert await storage.commit(units[1:2]) == [True]


async def test_a_locked_row_holds_up_its_own_unit_of_several_parts_only(
    storage: PostgresStorage, dba: Outsider
) -> None:
    scene = Scene(storage)
    rows = [await scene.create(scene.row(name)) for name in "abc"]
    await dba.execute("BEGIN", LOCK.format(rows[1].id))
    units = [
        (following(rows[0], status=Status.SUCCEEDED), wake(rows[1].id)),
        (deposit(rows[2].id),),
    ]
    with anyio.fail_after(10):
        assert await storage.commit(units) == [None, True]
    await dba.execute("COMMIT")
    assert await storage.commit(units[:1]) == [True]


async def test_a_locked_row_is_not_claimed_and_the_others_are(storage: PostgresStorage, dba: Outsider) -> None:
    scene = Scene(storage)
    for name in "abc":
        await scene.create(scene.row(name))
    await dba.execute("BEGIN", LOCK.format(scene.id("b")))
    with anyio.fail_after(10):
        assert await scene.claimed() == ["a", "c"]
    await dba.execute("COMMIT")
    assert await scene.claimed() == ["b"]


async def test_a_renewal_with_a_locked_row_renews_the_others_and_says_so(
    storage: PostgresStorage, dba: Outsider
) -> None:
    scene = Scene(storage)
    for name in "ab":
        await scene.create(scene.row(name))
    leases = [lease_of(stored.row) for stored in (await scene.claims(lease=60)).claimed]
    before = [await scene.stored_row(lease.id) for lease in leases]
    await dba.execute("BEGIN", LOCK.format(scene.id("b")))
    with anyio.fail_after(10):
        renewal = await storage.renew(scene.worker, leases, lease=3_600)
    assert (renewal.locked, renewal.lost) == ((leases[1],), ())
    after = [await scene.stored_row(lease.id) for lease in leases]
    assert [(two.due_at or 0) > (one.due_at or 0) for one, two in zip(before, after, strict=True)] == [True, False]
    await dba.execute("COMMIT")
    assert (await storage.renew(scene.worker, [*leases, Lease("x", 1)], lease=3_600)).lost == (Lease("x", 1),)


async def test_an_id_that_another_transaction_creates_holds_up_only_itself(
    storage: PostgresStorage, dba: Outsider
) -> None:
    scene = Scene(storage)
    await dba.execute("BEGIN", CREATE.format(scene.id("b")))
    units = [(change(scene.row(name)),) for name in "abc"]
    with anyio.fail_after(10):
        assert await storage.commit(units) == [True, None, True]
    await dba.execute("ROLLBACK")
    assert await storage.commit(units[1:2]) == [True]


async def test_many_ids_that_another_transaction_creates_hold_up_the_others_for_a_moment_only(
    storage: PostgresStorage, dba: Outsider
) -> None:
    scene = Scene(storage)
    await dba.execute("BEGIN", *(CREATE.format(scene.id(f"b{number}")) for number in range(100)))
    units = [(change(scene.row(f"b{number}")),) for number in range(100)]
    with anyio.fail_after(8):  # the engine counts on an answer within 10 s
        assert await storage.commit(units) == [None] * 100
    await dba.execute("COMMIT")
    assert await storage.commit(units) == [False] * 100


async def test_a_transaction_that_wants_what_a_commit_creates_is_not_ended_for_it(
    storage: PostgresStorage, dba: Outsider
) -> None:
    scene = Scene(storage)
    await dba.execute("BEGIN", CREATE.format(scene.id("b")))
    results: list[bool | None] = []

    async def commit() -> None:
        results.extend(await storage.commit([(change(scene.row(name)),) for name in "ab"]))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(commit)
        await anyio.wait_all_tasks_blocked()
        await dba.execute(f"{CREATE.format(scene.id('a'))} ON CONFLICT DO NOTHING", "COMMIT")
    assert results in ([True, None], [True, False], [False, False], [False, None])


async def test_a_start_under_an_id_that_is_being_created_holds_up_no_steps(
    storage: PostgresStorage, dba: Outsider
) -> None:
    gate = Gate()

    async def first(ctx: object) -> None:
        await gate.enter()

    async def second(ctx: object) -> str:
        return "done"

    workflow = line(first, second)
    async with Engine(storage, workflows=[workflow, healthy]) as engine, engine.worker(poll_interval=HOUR_POLL):
        handle = await engine.start(workflow, 1)
        await gate.reached()
        await dba.execute("BEGIN", CREATE.format("mine"))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(engine.start, healthy, 1)
            tasks.start_soon(_start, engine, "mine")
            await dba.until("SELECT count(*) > 0 FROM pg_locks WHERE NOT granted")
            gate.open()
            assert await handle.result(20) == "done"
            assert await (await engine.start(healthy, 3)).result(20) == 3
            other = await engine.start(healthy, 4, id="another")
            assert await other.result(20) == 4
            await dba.execute("ROLLBACK")
        assert await engine.handle(healthy, "mine").result(20) == 2
    await check_invariants(storage)


async def _start(engine: Engine, id: str) -> None:
    await engine.start(healthy, 2, id=id)


async def test_a_step_whose_row_is_locked_ends_when_the_lock_is_gone(storage: PostgresStorage, dba: Outsider) -> None:
    gates = {name: Gate() for name in ("locked", "free")}

    async def work(ctx: object) -> str:
        id = str(getattr(ctx, "execution_id", ""))
        await gates[id].enter()
        return id

    workflow = line(work)
    async with Engine(storage, workflows=[workflow]) as engine, engine.worker(poll_interval=HOUR_POLL):
        handles = [await engine.start(workflow, 1, id=name) for name in gates]
        for gate in gates.values():
            await gate.reached()
        await dba.execute("BEGIN", LOCK.format("locked"))
        for gate in gates.values():
            gate.open()
        assert await handles[1].result(20) == "free"
        assert (await engine.get("locked")).status is Status.RUNNING
        await dba.execute("COMMIT")
        assert await handles[0].result(20) == "locked"
    await check_invariants(storage)


@pytest.mark.parametrize("backend", ["asyncio"])
async def test_transactions_of_callers_that_wait_for_each_other_are_ended_by_the_server(postgres_dsn: str) -> None:
    told: list[str] = []
    both = [anyio.Event(), anyio.Event()]

    async def lay_down(storage: PostgresStorage, place: int, ids: list[str]) -> None:
        connection = await asyncpg.connect(postgres_dsn)
        try:
            async with connection.transaction():
                within = storage.within(connection)
                assert await within.commit((deposit(ids[0]),))
                both[place].set()
                await both[1 - place].wait()
                try:
                    assert await within.commit((deposit(ids[1], signal="second"),)) is False
                    told.append("refused")  # what it waited for was committed meanwhile
                except StorageError as error:
                    told.append("ended" if "deadlock" in str(error) else str(error))
                assert await connection.fetchval("SELECT 1") == 1  # what was done before is there still
        finally:
            await connection.close()

    async with PostgresStorage(postgres_dsn) as storage:
        scene = Scene(storage)
        ids = [(await scene.create(scene.row(name))).id for name in "ab"]
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lay_down, storage, 0, ids)
                tasks.start_soon(lay_down, storage, 1, ids[::-1])
        assert sorted(told) == ["ended", "refused"]
        assert [(await scene.stored_row(id)).signals for id in ids] == [1, 1]


async def test_commits_that_share_executions_in_any_order_never_deadlock(postgres_dsn: str, dba: Outsider) -> None:
    """Parents, children, signals and cancels over chains, from several connections at once."""
    rng, ids = random.Random(20), list[str]()
    before = await dba.value(DEADLOCKS)
    results: list[bool | None] = []

    async def bustle(storage: PostgresStorage, rng: random.Random, scene: Scene, ids: list[str]) -> None:
        name = f"w{rng.random()}"
        for round in range(12):
            loaded = {id: await storage.load(id) for id in rng.sample(ids, 4)}
            rows = [stored.row for stored in loaded.values() if stored is not None]
            first, second, third, fourth = rows
            units = [
                (
                    following(first, status=Status.QUEUED, due=NOW),
                    wake(second.id),
                    deposit(third.id, expects=third.signals, signal=f"{name} {round}"),
                ),
                (following(fourth, status=Status.QUEUED, due=NOW),),
            ]
            if rng.random() < 0.3:
                await scene.claims(worker=name, limit=3, lease=0.01)
            results.extend(await storage.commit(units))

    async with (
        PostgresStorage(postgres_dsn, connections=3) as first,
        PostgresStorage(postgres_dsn, connections=3) as second,
        anyio.create_task_group() as tasks,
    ):
        scene = Scene(first)
        ids = [(await scene.create(scene.row(str(number)))).id for number in range(12)]
        for place in range(8):
            storage = (first, second)[place % 2]
            tasks.start_soon(bustle, storage, random.Random(rng.random()), Scene(storage, scene.name), ids)
    assert len(results) == 8 * 12 * 2
    assert results.count(True) > 50
    await dba.until_alone()  # each server process tells what it has counted when it ends
    assert await dba.value(DEADLOCKS) == before
    async with PostgresStorage(postgres_dsn) as storage:
        for id in ids:
            stored = await storage.load(id)
            assert stored is not None
            assert [entry.seq for entry in stored.journal] == list(range(1, stored.row.revision + 1))
            assert [signal.step for signal in stored.signals] == ["work"] * stored.row.signals
