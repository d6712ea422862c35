"""Disks that are full for a while: under tables, under their log, under a SQLite file. Takes root, to mount."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

import anyio
import asyncpg
import pytest
from anyio import to_thread

from stepwell import Engine, SQLiteStorage, StorageError
from stepwell.testing import check_invariants
from tests.chaos.mixture import chain
from tests.engine.harmed import World, nothing_is_lost
from tests.support.postgres import Server, launched
from tests.support.postgres._binaries import runner, temporary_folder
from tests.support.postgres.outsider import outsider

pytestmark = [pytest.mark.anyio, pytest.mark.real_time, pytest.mark.chaos]

MEGABYTE: Final = 2**20
Disk = Callable[[int], Path]


@contextmanager
def mounted(megabytes: int) -> Generator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="stepwell-disk-", dir=temporary_folder(runner())))
    try:
        command = ["/usr/bin/mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0777", "tmpfs", str(folder)]
        subprocess.run(command, check=True, capture_output=True, timeout=30)
        try:
            yield folder
        finally:
            subprocess.run(["/usr/bin/umount", "--lazy", str(folder)], check=True, timeout=30)
    finally:
        shutil.rmtree(folder)


@pytest.fixture(params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture
def small_disk() -> Iterator[Disk]:
    """Mounts small disks, in memory."""
    with ExitStack() as stack:

        def mount(megabytes: int) -> Path:
            try:
                return stack.enter_context(mounted(megabytes))
            except (OSError, subprocess.CalledProcessError) as error:
                pytest.skip(f"no disk can be mounted here: it takes root ({error})")

        yield mount


def fill(folder: Path) -> Path:
    """Write until there is no room; return the file that takes it."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"\0" * 4096)
    return ballast


async def test_a_full_disk_under_the_tables_is_waited_for(small_disk: Disk) -> None:
    disk = small_disk(12)
    with launched(settings={"synchronous_commit": "on"}) as server:
        tables = disk / "tables"
        tables.mkdir()
        user = runner()
        if user is not None:
            os.chown(tables, user.uid, user.gid)
        async with outsider(server.dsn) as dba:
            await dba.execute(
                f"CREATE TABLESPACE small LOCATION '{tables}'",
                "GRANT CREATE ON TABLESPACE small TO PUBLIC",
                "ALTER DATABASE postgres SET default_tablespace = small",
            )

        async def fill_for_a_while(world: World) -> None:
            await anyio.sleep(0.5)
            ballast = fill(disk)
            await anyio.sleep(3)
            ballast.unlink()
            assert [one for one in world.troubles if "No space left on device" in one]

        await nothing_is_lost(server, fill_for_a_while, executions=600, within=180)


async def test_a_full_disk_under_the_log_takes_the_server_down_and_all_is_there_when_it_is_back(
    small_disk: Disk,
) -> None:
    disk = small_disk(160)
    settings = {"synchronous_commit": "on", "max_wal_size": "48MB", "wal_recycle": "off"}
    with launched(settings=settings, base=disk) as server:
        await nothing_is_lost(server, fill_the_log, executions=300, within=180)


async def fill_the_log(world: World) -> None:
    """Let a server whose disk is full write more than fits, until it goes; then make room and start it."""
    await anyio.sleep(0.3)
    ballast = fill(world.server.folder)
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await write_log_without_end(world)  # until its first page that finds no room
    with anyio.fail_after(30):
        while await to_thread.run_sync(is_running, world.server):  # noqa: ASYNC110 (a process that isn't our child)
            await anyio.sleep(0.05)
    await anyio.sleep(1)
    ballast.unlink()
    await to_thread.run_sync(world.server.start)


async def write_log_without_end(world: World) -> None:
    while True:
        await world.dba.execute("SELECT pg_logical_emit_message(true, 'fill', repeat('x', 1000000))")


def is_running(server: Server) -> bool:
    try:
        return "Z" not in Path(f"/proc/{server.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


async def test_a_full_disk_under_a_file_of_sqlite_is_waited_for(small_disk: Disk) -> None:
    disk, told = small_disk(64), dict[str, int]()  # the log alone takes 16 before it is written back
    async with (
        SQLiteStorage(disk / "flows.db") as storage,
        Engine(storage, workflows=[chain], lease=2.0, max_crashes=100) as engine,
        engine.worker(poll_interval=0.2, concurrency=8),
    ):
        refused = anyio.Event()

        async def client(number: int) -> None:
            while True:
                try:
                    handle = await engine.start(chain, number, id=f"x{number}")
                    told[handle.id] = await handle.result()
                except StorageError:
                    refused.set()
                    await anyio.sleep(0.05)
                else:
                    break

        async with anyio.create_task_group() as tasks:
            with anyio.fail_after(100):
                for number in range(50):
                    tasks.start_soon(client, number)
                await anyio.sleep(0.1)
                ballast = await to_thread.run_sync(fill, disk)
                for number in range(50, 300):
                    tasks.start_soon(client, number)
                await refused.wait()
                await anyio.sleep(2.5)  # longer than a lease
                ballast.unlink()
        assert told == {f"x{number}": number + 3 for number in range(300)}
        assert await check_invariants(storage, workflows=[chain]) == 300
