"""Who writes to SQLite, when, and what becomes of those who wait."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest
from anyio import to_thread
from msgspec.structs import replace

from stepwell.storage import Entry, Kind, Lease, StorageError
from stepwell.storage._sqlite._writer import Writer
from stepwell.storage.sqlite import SQLiteStorage
from stepwell.testing._scene import Scene, change, deposit, following, lease_of, wake

pytestmark = [pytest.mark.anyio, pytest.mark.real_time]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "flows.db"


@pytest.fixture
async def storage(path: Path) -> AsyncIterator[SQLiteStorage]:
    async with SQLiteStorage(path) as opened:
        yield opened


@pytest.fixture
def scene(storage: SQLiteStorage) -> Scene:
    return Scene(storage)


@contextmanager
def locked(path: Path) -> Generator[None]:
    """Hold the write lock by another connection."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.close()


class Stop:
    """Work that stops in the writer's thread until the test lets it go on."""

    def __init__(self) -> None:
        self._begun = threading.Event()
        self._released = threading.Event()

    def __call__(self, connection: sqlite3.Connection, now: int) -> str:
        self._begun.set()
        assert self._released.wait(20)
        connection.execute("INSERT INTO workflows VALUES ('stopped', '1', '', '')")
        return "result"

    async def reached(self) -> None:
        assert await to_thread.run_sync(self._begun.wait, 20)

    def release(self) -> None:
        self._released.set()


async def release_once_all_wait(stop: Stop) -> None:
    await anyio.wait_all_tasks_blocked()
    stop.release()


def writer_of(storage: SQLiteStorage) -> Writer:
    opened = storage._opened
    assert opened is not None
    return opened.writer


def names(path: Path) -> list[str]:
    """The names of the workflows that are stored."""
    connection = sqlite3.connect(path)
    found = [name for (name,) in connection.execute("SELECT workflow FROM workflows ORDER BY workflow")]
    connection.close()
    return found


def name(name: str) -> Callable[[sqlite3.Connection, int], str]:
    """Work that stores a workflow of this name."""

    def work(connection: sqlite3.Connection, now: int) -> str:
        connection.execute("INSERT INTO workflows VALUES (?, '1', '', '')", (name,))
        return name

    return work


async def test_whoever_is_cancelled_while_queued_has_written_nothing(path: Path, storage: SQLiteStorage) -> None:
    writer = writer_of(storage)
    with locked(path):
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(writer.run, name("withdrawn"))
                await anyio.wait_all_tasks_blocked()
                tasks.cancel_scope.cancel()
    await writer.run(name("next"))
    assert names(path) == ["next"]


async def test_whoever_is_cancelled_once_begun_hears_the_result(path: Path, storage: SQLiteStorage) -> None:
    stop = Stop()
    heard: list[str] = []

    async def caller() -> None:
        heard.append(await writer_of(storage).run(stop))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(caller)
        await stop.reached()
        tasks.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await anyio.wait_all_tasks_blocked()
            assert heard == []
        stop.release()
    assert heard == ["result"]
    assert names(path) == ["stopped"]


@pytest.mark.parametrize("backend", ["asyncio"])
async def test_a_cancellation_of_asyncios_own_is_not_swallowed(path: Path, storage: SQLiteStorage) -> None:
    stop = Stop()
    task = asyncio.create_task(writer_of(storage).run(stop))
    await stop.reached()
    task.cancel()
    await anyio.wait_all_tasks_blocked()
    assert not task.done()
    stop.release()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert names(path) == ["stopped"]


async def test_more_than_a_transaction_may_hold_is_several(path: Path, storage: SQLiteStorage) -> None:
    stop = Stop()
    writer = writer_of(storage)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(writer.run, stop)
        await stop.reached()
        for number in range(250):
            tasks.start_soon(writer.run, name(str(number)))
        await anyio.wait_all_tasks_blocked()
        stop.release()
    assert len(names(path)) == 251


async def test_what_gathers_meanwhile_is_one_commit(path: Path, storage: SQLiteStorage) -> None:
    stop = Stop()
    writer = writer_of(storage)
    commits: list[str] = []
    await writer.run(lambda connection, _: connection.set_trace_callback(commits.append))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(writer.run, stop)
        await stop.reached()
        for number in range(10):
            tasks.start_soon(writer.run, name(str(number)))
        await anyio.wait_all_tasks_blocked()
        commits.clear()
        stop.release()
    assert commits.count("COMMIT") == 2  # the one that stopped, and the ten
    assert len(names(path)) == 11


async def test_a_broken_job_harms_no_other(path: Path, storage: SQLiteStorage) -> None:
    stop = Stop()
    writer = writer_of(storage)
    refused: list[StorageError] = []

    async def broken() -> None:
        try:
            await writer.run(name("twice"))
        except StorageError as error:
            refused.append(error)

    await writer.run(name("twice"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(writer.run, stop)
        await stop.reached()
        tasks.start_soon(writer.run, name("before"))
        tasks.start_soon(broken)
        tasks.start_soon(writer.run, name("after"))
        await anyio.wait_all_tasks_blocked()
        stop.release()
    assert names(path) == ["after", "before", "stopped", "twice"]
    assert len(refused) == 1
    assert isinstance(refused[0].__cause__, sqlite3.IntegrityError)


async def test_what_was_sent_is_finished_when_the_storage_is_closed(path: Path) -> None:
    stop = Stop()
    async with anyio.create_task_group() as tasks, SQLiteStorage(path) as storage:
        writer = writer_of(storage)
        tasks.start_soon(writer.run, stop)
        await stop.reached()
        tasks.start_soon(writer.run, name("queued"))
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(release_once_all_wait, stop)
    assert names(path) == ["queued", "stopped"]


async def test_whoever_waits_for_a_change_is_let_go_when_the_storage_is_closed(path: Path) -> None:
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks, SQLiteStorage(path) as storage:
            tasks.start_soon(storage.wakeup)
            await anyio.wait_all_tasks_blocked()


async def test_a_lock_held_elsewhere_is_waited_for(path: Path, storage: SQLiteStorage) -> None:
    async with anyio.create_task_group() as tasks:
        with locked(path):
            tasks.start_soon(writer_of(storage).run, name("patient"))
            await anyio.wait_all_tasks_blocked()
            assert names(path) == []
    assert names(path) == ["patient"]


async def test_a_lock_held_for_too_long_is_a_storage_error(path: Path) -> None:
    async with SQLiteStorage(path, busy_timeout=0.05) as storage:
        scene = Scene(storage)
        with locked(path):
            with pytest.raises(StorageError, match=r"held the write lock for more than 0\.05 s"):
                await scene.create()
            lifeline = storage.lifeline()
            with pytest.raises(StorageError, match="held the write lock"):
                lifeline.renew("worker", [], lease=1)
            lifeline.close()
        await scene.create()


async def test_a_lock_held_elsewhere_stops_no_reader(path: Path, storage: SQLiteStorage, scene: Scene) -> None:
    row = await scene.create()
    with locked(path):
        assert await scene.stored_row(row.id) == row


async def test_a_full_disk_is_a_storage_error_and_recovers_by_space(path: Path, storage: SQLiteStorage) -> None:
    scene = Scene(storage)
    writer = writer_of(storage)
    kept = await scene.create()
    await writer.run(lambda connection, _: connection.execute("PRAGMA max_page_count = 1").fetchall())
    large = replace(scene.row("large"), input=f'"{"x" * 1_000_000}"')
    with pytest.raises(StorageError, match="is full: free some space"):
        await scene.create(large)
    assert await storage.load(large.id) is None
    await writer.run(lambda connection, _: connection.execute("PRAGMA max_page_count = 1000000").fetchall())
    assert (await scene.create(large)).input == large.input
    assert await scene.stored_row(kept.id) == kept


@pytest.mark.parametrize(
    "broken",
    [
        Entry(Kind.STEP_SUCCEEDED, payload='"\ud800"'),
        Entry(Kind.STEP_SUCCEEDED, visit=2**63),
        Entry(Kind.STEP_SUCCEEDED, visit="one"),  # type: ignore[arg-type]
    ],
    ids=["a lone surrogate", "an integer of more than 64 bits", "text for a number"],
)
async def test_what_can_not_be_stored_is_a_storage_error(scene: Scene, broken: Entry) -> None:
    row = scene.row()
    with pytest.raises(StorageError):
        await scene.commit(change(row, entries=[broken]))
    assert await scene.storage.load(row.id) is None
    await scene.create()


async def test_rows_that_another_program_withholds_are_a_storage_error(scene: Scene, path: Path) -> None:
    row = await scene.create()
    other = sqlite3.connect(path)
    other.execute("CREATE TRIGGER withhold BEFORE UPDATE ON executions BEGIN SELECT RAISE(IGNORE); END")
    other.close()
    with pytest.raises(StorageError, match="0 rows were written where 1 were looked at"):
        await scene.commit(following(row, status=row.status))
    assert (await scene.stored(row.id)).row == row


async def test_a_claim_of_less_than_nothing_is_refused(scene: Scene) -> None:
    with pytest.raises(ValueError, match="limit must be 0 or more, not -1"):
        await scene.claims(limit=-1)


async def test_a_clock_that_fails_is_a_storage_error(path: Path) -> None:
    def clock() -> float:
        raise ZeroDivisionError

    async with SQLiteStorage(path, clock=clock) as storage:
        with pytest.raises(StorageError, match="ZeroDivisionError"):
            await Scene(storage).create()


async def test_a_time_beyond_all_times_is_the_last_one(scene: Scene) -> None:
    await scene.create()
    row = await scene.claim_one(lease=float("inf"))
    assert row.due_at == 2**63 - 1
    await scene.storage.renew(scene.worker, [lease_of(row)], lease=1e300)
    assert (await scene.stored_row(row.id)).due_at == 2**63 - 1


async def test_a_call_may_have_many_units(scene: Scene) -> None:
    rows = [scene.row(str(number)) for number in range(1_500)]
    await scene.create_many(rows)
    claims = await scene.claims(limit=2_000)
    assert len(claims.claimed) == 1_500
    moves = [(following(stored.row, status=replace(stored.row).status, due=None),) for stored in claims.claimed]
    assert await scene.storage.commit([*moves, (change(rows[0]),)]) == [True] * 1_500 + [False]
    stored = await scene.stored(scene.id("777"))
    assert [entry.seq for entry in stored.journal] == [1, 2, 3, 4]


async def test_parts_of_one_unit_that_touch_one_execution_follow_each_other(scene: Scene) -> None:
    row = await scene.create()
    assert await scene.commit(following(row, status=row.status), wake(row.id), deposit(row.id))
    stored = await scene.stored(row.id)
    assert [entry.kind for entry in stored.journal] == [Kind.CREATED, Kind.STEP_SUCCEEDED, Kind.QUEUED, Kind.WOKEN]
    assert [entry.seq for entry in stored.journal] == [1, 2, 3, 4]
    assert stored.row.revision == 4
    assert stored.row.signals == 1


async def test_a_commit_through_another_connection_is_a_wakeup(path: Path, storage: SQLiteStorage) -> None:
    async with SQLiteStorage(path) as other:
        for number in range(3):
            with anyio.fail_after(20):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(storage.wakeup)
                    await anyio.wait_all_tasks_blocked()
                    await writer_of(other).run(name(str(number)))


async def test_a_commit_before_the_waiting_began_is_a_wakeup_too(path: Path, storage: SQLiteStorage) -> None:
    async with SQLiteStorage(path) as other:
        await writer_of(other).run(name("early"))
    with anyio.fail_after(20):
        await storage.wakeup()


async def test_an_idle_storage_looks_for_nothing(storage: SQLiteStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[sqlite3.Connection] = []

    def look(writer: Writer, connection: sqlite3.Connection) -> None:
        looks.append(connection)

    monkeypatch.setattr(Writer, "_look", look)
    await writer_of(storage).run(name("one"))
    await writer_of(storage).run(name("two"))
    assert looks == []


async def test_a_lifeline_renews_while_the_loop_is_blocked(scene: Scene) -> None:
    await scene.create()
    row = await scene.claim_one(lease=1)
    lifeline = scene.storage.lifeline()
    thread = threading.Thread(target=lifeline.renew, args=(scene.worker, [lease_of(row)]), kwargs={"lease": 1_000})
    thread.start()
    thread.join(20)  # blocks the loop
    lifeline.renew(scene.worker, [Lease(row.id, row.token + 1), Lease("unknown", 1)], lease=5_000)
    lifeline.close()
    renewed = (await scene.stored_row(row.id)).due_at
    assert renewed is not None
    assert row.due_at is not None
    assert 900_000_000 < renewed - row.due_at < 1_100_000_000
