"""Several processes, threads and loops on one SQLite file: at the start, at work, and killed."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from stepwell.storage import Query
from stepwell.storage.sqlite import SQLiteStorage
from stepwell.testing._scene import Scene
from tests.support.processes import Child, run_script

pytestmark = [pytest.mark.anyio, pytest.mark.real_time]

SCRIPTS = Path(__file__).parent / "scripts"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "flows.db"


def integrity(path: Path) -> str:
    connection = sqlite3.connect(path)
    (found,) = connection.execute("PRAGMA integrity_check").fetchone()
    connection.close()
    return str(found)


async def test_processes_may_race_for_a_new_file(path: Path) -> None:
    opened: list[str] = []

    async def race() -> None:
        async with run_script(SCRIPTS / "open_when_told.py", str(path)) as child:
            await child.line("ready")
            ready.append(child)
            if len(ready) == 4:
                for other in ready:
                    await other.tell("go")
            opened.append(await child.line())

    ready: list[Child] = []
    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(race)
    assert opened == ["opened"] * 4
    assert integrity(path) == "ok"


async def test_threads_may_race_for_a_new_file(path: Path, backend: str) -> None:
    async def open_and_write(number: int) -> None:
        async with SQLiteStorage(path, busy_timeout=60) as storage:
            scene = Scene(storage, "race")
            await scene.create(scene.row(str(number)))

    async def in_a_thread(number: int) -> None:
        await to_thread.run_sync(lambda: anyio.run(open_and_write, number, backend=backend))

    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(in_a_thread, number)
    async with SQLiteStorage(path) as storage:
        page = await storage.find(Query())
    assert len(page.rows) == 8


async def test_an_execution_is_claimed_by_one_connection_only(path: Path) -> None:
    async with SQLiteStorage(path) as first, SQLiteStorage(path) as second, SQLiteStorage(path) as third:
        scene = Scene(first)
        await scene.create_many(scene.row(str(number)) for number in range(300))
        claimed: list[str] = []

        async def claim(storage: SQLiteStorage, worker: str) -> None:
            while found := (await storage.claim(worker, [scene.capability], limit=7, lease=3_600)).claimed:
                claimed.extend(stored.row.id for stored in found)

        async with anyio.create_task_group() as tasks:
            for storage in (first, second, third):
                for number in range(3):
                    tasks.start_soon(claim, storage, f"worker {id(storage)} {number}")
    assert len(claimed) == 300
    assert len(set(claimed)) == 300


@pytest.mark.promise("P10", "I25")
async def test_what_was_acknowledged_survives_the_death_of_its_process(path: Path) -> None:
    acknowledged: set[str] = set()
    for round in range(4):
        async with run_script(SCRIPTS / "commit_for_ever.py", str(path), f"round{round}") as child:
            for _ in range(10 + 7 * round):
                acknowledged.update((await child.line()).split())
            child.kill()
            await child.ended()
        async with SQLiteStorage(path) as storage:
            for id in acknowledged:
                stored = await storage.load(id)
                assert stored is not None
                assert [entry.seq for entry in stored.journal] == list(range(1, stored.row.revision + 1))
    assert len(acknowledged) > 100
    assert integrity(path) == "ok"


async def test_an_interpreter_may_end_with_a_storage_open(path: Path) -> None:
    async with run_script(SCRIPTS / "leave_open.py", str(path)) as child:
        await child.line("leaving")
        assert await child.ended() == 0
