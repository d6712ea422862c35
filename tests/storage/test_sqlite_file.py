"""The file of an SQLite storage: opened, refused with a reason, watched, closed."""

# ruff: noqa: ASYNC240 -- files are what this is about, and nothing else runs meanwhile

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import pytest

from stepwell.storage import Query, StorageError
from stepwell.storage.sqlite import SQLiteStorage
from stepwell.testing._scene import Scene
from tests.support.processes import run_script

pytestmark = [pytest.mark.anyio, pytest.mark.real_time]

SCRIPTS = Path(__file__).parent / "scripts"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "flows.db"


async def refusal(path: str | Path) -> str:
    with pytest.raises(StorageError) as caught:
        async with SQLiteStorage(path, busy_timeout=0.05):
            pass
    return str(caught.value)


def writers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("stepwell-sqlite")]


async def test_a_new_file_is_its_owners_alone(path: Path) -> None:
    async with SQLiteStorage(path):
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {"flows.db": 0o600, "flows.db-wal": 0o600, "flows.db-shm": 0o600}


async def test_an_existing_file_keeps_its_mode(path: Path) -> None:
    path.touch(mode=0o640)
    path.chmod(0o640)
    async with SQLiteStorage(path):
        pass
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


async def test_what_was_committed_is_there_after_reopening(path: Path) -> None:
    storage = SQLiteStorage(path)
    async with storage:
        row = await Scene(storage).create()
    async with storage:
        stored = await storage.load(row.id)
    assert stored is not None
    assert stored.row == row


async def test_nothing_is_left_behind_by_a_closed_storage(path: Path) -> None:
    for _ in range(20):
        async with SQLiteStorage(path) as storage:
            await storage.find(Query())
    assert writers() == []
    assert [file.name for file in path.parent.iterdir()] == ["flows.db"]


async def test_nothing_is_left_behind_by_a_storage_that_could_not_be_opened(tmp_path: Path) -> None:
    await refusal(tmp_path)
    assert writers() == []


async def test_a_storage_is_used_between_enter_and_exit_only(path: Path) -> None:
    storage = SQLiteStorage(path)
    with pytest.raises(StorageError, match="not open; use it inside"):
        await storage.load("one")
    async with storage:
        pass
    for call in (storage.commit([]), storage.find(Query()), storage.wakeup(), storage.renew("worker", [], lease=1)):
        with pytest.raises(StorageError, match="not open"):
            await call
    with pytest.raises(StorageError, match="not open"):
        storage.lifeline()


async def test_a_storage_is_not_opened_twice_at_once(path: Path) -> None:
    async with SQLiteStorage(path) as storage:
        with pytest.raises(StorageError, match="open already"):
            await storage.__aenter__()
        assert await storage.load("none") is None


async def test_a_storage_that_could_not_be_opened_may_be_tried_again(tmp_path: Path) -> None:
    storage = SQLiteStorage(tmp_path / "later" / "flows.db")
    with pytest.raises(StorageError, match=r"there is no folder .*later; create it first"):
        await storage.__aenter__()
    (tmp_path / "later").mkdir()
    async with storage:
        assert await storage.load("none") is None


@pytest.mark.parametrize("path", ["", ":memory:"])
async def test_a_database_in_memory_is_refused(path: str) -> None:
    assert "use MemoryStorage()" in await refusal(path)


async def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert "this is a folder" in await refusal(tmp_path)


async def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    assert "there is no folder" in await refusal(tmp_path / "missing" / "flows.db")
    assert not (tmp_path / "missing").exists()


async def test_a_file_that_can_not_be_created_is_refused(tmp_path: Path) -> None:
    assert "the file can't be created: File name too long" in await refusal(tmp_path / ("x" * 300))


async def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    path.write_text("These are my letters. " * 100)
    before = path.read_bytes()
    message = await refusal(path)
    assert "not an SQLite database" in message
    assert str(path) in message
    assert path.read_bytes() == before


async def test_a_newer_schema_is_refused_with_both_versions(path: Path) -> None:
    async with SQLiteStorage(path):
        pass
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO migrations (number, name) VALUES (999, '0999_future')")
    connection.close()
    assert "its schema has version 999, and this Stepwell knows versions up to 1" in await refusal(path)


async def test_an_old_sqlite_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 36, 0))
    assert "at least 3.37 is needed" in await refusal(path)
    assert not path.exists()


async def test_a_database_whose_lock_is_held_is_refused_after_the_busy_timeout(path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    assert "held the write lock for more than 0.05 s" in await refusal(path)
    other.close()


async def test_who_gives_up_opening_is_let_go_before_the_busy_timeout(path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with anyio.fail_after(20):
        with anyio.move_on_after(0.05) as scope:
            async with SQLiteStorage(path, busy_timeout=3600):
                pass
    assert scope.cancelled_caught
    assert writers() == []
    other.close()


@pytest.mark.parametrize("place", ["file", "folder"])
async def test_what_is_read_only_is_refused(place: str) -> None:
    with TemporaryDirectory() as folder:  # pytest's own folders are closed to other users
        path = Path(folder) / "flows.db"
        async with run_script(SCRIPTS / "open_read_only.py", str(path), place) as child:
            message = await child.line()
    assert "writable" in message
    assert str(path) in message


@pytest.mark.parametrize("name", ["100%.db", "a?b#c.db", "sp ace.db", "ünï.db", "file:x.db"])
async def test_any_name_is_taken_as_it_is(tmp_path: Path, name: str) -> None:
    async with SQLiteStorage(tmp_path / name) as storage:
        row = await Scene(storage).create()
        assert await storage.load(row.id) is not None
    assert [file.name for file in tmp_path.iterdir()] == [name]


async def test_a_link_leads_to_the_same_database(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "flows.db")
    async with SQLiteStorage(tmp_path / "link.db") as linked, SQLiteStorage(tmp_path / "flows.db") as direct:
        row = await Scene(linked).create()
        assert await direct.load(row.id) is not None


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
@pytest.mark.parametrize("fate", ["deleted", "replaced"])
async def test_a_file_that_went_away_is_never_written_to(
    path: Path, suffix: str, fate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stepwell.storage._sqlite._file._CHECK_EVERY", 0.0)
    async with SQLiteStorage(path, poll=0.001) as storage:
        scene = Scene(storage)
        row = await scene.create()
        lifeline = storage.lifeline()
        file = path.with_name(path.name + suffix)
        file.rename(path.with_name("moved"))
        if fate == "replaced":
            file.touch()
        with pytest.raises(StorageError, match="deleted, moved or replaced"):
            await scene.create(scene.row("two"))
        with pytest.raises(StorageError, match="deleted, moved or replaced"):
            await storage.load(row.id)
        with pytest.raises(StorageError, match="deleted, moved or replaced"):
            lifeline.renew("worker", [], lease=1)
        with anyio.fail_after(20):
            await storage.wakeup()  # whoever waits is sent to look for himself
        path.with_name("moved").rename(file)
        assert await storage.load(row.id) is not None
        lifeline.close()


async def test_a_fork_can_not_use_its_parents_connections(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with SQLiteStorage(path) as storage:
        with monkeypatch.context() as child:
            child.setattr(os, "getpid", lambda: -1)
            with pytest.raises(StorageError, match="before this process was forked"):
                await storage.load("one")


async def test_a_file_without_a_wal_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect: Any = sqlite3.connect

    class Shared(sqlite3.Connection):
        """As on a file system without shared memory: the journal stays as it is."""

        def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
            return super().execute(sql.replace("journal_mode = WAL", "journal_mode = DELETE"), parameters)

    def connect_shared(*args: Any, **settings: Any) -> sqlite3.Connection:
        connection: Shared = connect(*args, **settings, factory=Shared)
        return connection

    monkeypatch.setattr(sqlite3, "connect", connect_shared)
    assert "can't keep a write-ahead log here (it says 'delete')" in await refusal(path)


async def test_a_file_that_can_not_be_looked_at_for_a_while_is_told_and_found_again(path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    async with SQLiteStorage(folder / "flows.db") as storage, anyio.create_task_group() as tasks:
        tasks.start_soon(storage.wakeup)  # the writer's thread looks for what others commit
        aside = folder.rename(tmp_path / "aside")
        folder.touch()  # what stat() says of a path below is neither a file nor that there is none
        await anyio.sleep(0.2)  # it looks every 50 ms
        with pytest.raises(StorageError, match="can't be looked at: Not a directory"):
            await storage.find(Query())
        folder.unlink()
        aside.rename(folder)
        await Scene(storage).create()
        tasks.cancel_scope.cancel()
