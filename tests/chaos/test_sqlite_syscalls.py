"""A process that dies, or is refused, at the n-th system call with which SQLite writes: strace strikes.

Whatever was acknowledged is there, the file is sound, no promise is broken, and another process finishes the rest.
"""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from signal import SIGKILL
from typing import Final

import anyio
import pytest

from stepwell import Engine, SQLiteStorage, Status
from stepwell.testing import check_invariants
from tests.chaos import writing
from tests.chaos.mixture import MIXTURE
from tests.chaos.places import SOON
from tests.support.processes import Child, ChildDisappointed, run_command
from tests.support.virtual_time import Backend

pytestmark = [pytest.mark.anyio, pytest.mark.real_time]

SCRIPT: Final = Path(writing.__file__)
ROOT: Final = SCRIPT.parents[2]
WRITES: Final = "pwrite64,fdatasync"


@cache
def why_not() -> str:
    """Return why strace can't be used here; empty if it can."""
    program = shutil.which("strace")
    if program is None:
        return "there is no program `strace`"
    command = [program, "-f", "-o", "/dev/null", "-e", f"trace={WRITES}", "true"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return f"strace may not trace here: {ended.stderr[-300:]}" if ended.returncode else ""


@pytest.fixture
def strace() -> str:
    reason = why_not()
    if reason:
        pytest.skip(reason)
    return "strace"


@pytest.fixture(params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> Backend:
    chosen: Backend = request.param
    return chosen


@asynccontextmanager
async def writer(strace: str, path: Path, backend: Backend, injection: str) -> AsyncGenerator[Child]:
    """Run the program that starts and runs executions, under strace."""
    tracing = [
        strace,
        "-f",
        "-qq",
        "-o",
        str(path.with_suffix(".trace")),
        "-e",
        f"trace={WRITES}",
        "-e",
        f"inject={injection}",
    ]
    command = [*tracing, sys.executable, "-u", str(SCRIPT), str(path), backend]
    async with run_command(*command, environment={"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}) as child:
        yield child


async def acknowledged(child: Child) -> set[str]:
    """Return what it has acknowledged when it ends."""
    ids: set[str] = set()
    with anyio.move_on_after(SOON) as limit:
        while True:
            try:
                ids.add((await child.line("acknowledged ")).removeprefix("acknowledged ").strip())
            except ChildDisappointed:  # it ended
                break
    assert not limit.cancelled_caught
    return ids


async def check_and_finish(path: Path, acknowledged: set[str]) -> None:
    """See that all of it is there and sound; then let another process's worker finish it."""
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    async with (
        SQLiteStorage(path, busy_timeout=30) as storage,
        Engine(storage, workflows=MIXTURE, lease=1.0, max_crashes=10) as engine,
    ):
        await check_invariants(storage, workflows=MIXTURE)
        for id in acknowledged:
            await engine.get(id)
        async with engine.worker(poll_interval=0.1):
            with anyio.fail_after(SOON):
                for execution in (await engine.find()).executions:
                    if execution.parent is None:
                        await engine.result_of(execution.id)
        page = await engine.find()
        assert {execution.status for execution in page.executions} <= {Status.SUCCEEDED}
        await check_invariants(storage, workflows=MIXTURE)


async def killed_at(strace: str, path: Path, backend: Backend, number: int) -> bool:
    """Kill the writer at its n-th system call; return whether there was one."""
    async with writer(strace, path, backend, f"{WRITES}:signal=KILL:when={number}") as child:
        ids = await acknowledged(child)
        code = await child.ended(within=SOON)
    assert code in {0, -SIGKILL}, child.errors()
    await check_and_finish(path, ids)
    return code == -SIGKILL


@pytest.mark.promise("P6", "P10", "I9", "I25")
async def test_a_process_killed_while_it_writes_has_lost_nothing_that_it_acknowledged(
    strace: str, tmp_path: Path, backend: Backend
) -> None:
    number = 138 if backend == "trio" else 477  # of 831 in all; the first 85 make the tables
    assert await killed_at(strace, tmp_path / "flows.db", backend, number)


@pytest.mark.chaos
@pytest.mark.parametrize("first", range(1, 69, 17))
async def test_a_process_may_be_killed_at_any_write(strace: str, tmp_path: Path, backend: Backend, first: int) -> None:
    numbers = range(first, 700, 68)
    assert all([await killed_at(strace, tmp_path / f"{number}.db", backend, number) for number in numbers])


async def refused_at(strace: str, path: Path, backend: Backend, injection: str) -> None:
    """Let system calls fail; the writer goes on with what was refused, and all of it ends."""
    async with writer(strace, path, backend, injection) as child:
        ids = await acknowledged(child)
        assert await child.ended(within=SOON) == 0, child.errors()
    assert "(INJECTED)" in path.with_suffix(".trace").read_text(), "a failure must have been met"
    assert len(ids) == writing.EXECUTIONS
    await check_and_finish(path, ids)


@pytest.mark.promise("P10", "P12")
async def test_a_disk_that_refuses_once_loses_nothing(strace: str, tmp_path: Path, backend: Backend) -> None:
    """No space for a page, or a sync that fails."""
    injection = "pwrite64:error=ENOSPC:when=120" if backend == "trio" else "fdatasync:error=EIO:when=20"
    await refused_at(strace, tmp_path / "flows.db", backend, injection)


@pytest.mark.chaos
@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
@pytest.mark.parametrize("call", [("pwrite64", 100, 67), ("fdatasync", 12, 6)], ids=lambda call: call[0])
async def test_a_disk_that_refuses_again_and_again_loses_nothing(
    strace: str, tmp_path: Path, backend: Backend, call: tuple[str, int, int], error: str
) -> None:
    name, first, step = call
    for more in range(5):
        path = tmp_path / f"{more}.db"
        await refused_at(strace, path, backend, f"{name}:error={error}:when={first + more}+{step}")
