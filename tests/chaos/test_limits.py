"""Processes that run out of memory or of files."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex
from typing import Final

import anyio
import pytest

from stepwell import ExecutionFailed, Status
from tests.chaos.jobs import Job
from tests.chaos.places import SOON, Place, result, start
from tests.support.postgres.outsider import outsider

pytestmark = [pytest.mark.anyio, pytest.mark.real_time]

MEGABYTE: Final = 2**20
CGROUPS: Final = {
    Path("/sys/fs/cgroup/memory"): ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"),
    Path("/sys/fs/cgroup"): ("memory.max", "memory.swap.max"),
}
"""where groups of processes are limited, in version 1 and 2, and by which files"""


@pytest.fixture
def small_group() -> Iterator[Path]:
    """A group of processes that may have 200 MB between them."""
    for base, (memory, swap) in CGROUPS.items():
        group = base / f"stepwell-{token_hex(4)}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            if not (group / memory).exists():
                continue
            (group / memory).write_text(str(200 * MEGABYTE))
            if (group / swap).exists():
                (group / swap).write_text("0" if swap == "memory.swap.max" else str(200 * MEGABYTE))
            yield group
        finally:
            group.rmdir()
        return
    pytest.skip("no group of processes can be given a limit here: it takes root, and a cgroup that may be written")


@pytest.mark.chaos
@pytest.mark.promise("P4", "I14")
async def test_a_step_that_the_kernel_ends_for_its_memory_is_counted_and_its_neighbours_go_on(
    place: Place, small_group: Path
) -> None:
    async with place.engine() as engine:
        await start(engine, "x", Job("eat_memory"))
        await start(engine, "y")
        async with place.worker(lease=0.5, max_crashes=2) as doomed:
            (small_group / "cgroup.procs").write_text(str(doomed.pid))
            assert await doomed.ended(within=SOON) == -9
        async with place.worker(name="other"):
            assert await result(engine, "x") == "1 by attempt 2"
            assert await result(engine, "y") in {"1 by attempt 1", "1 by attempt 2"}
    await place.check()


@pytest.mark.promise("P12", "I36")
async def test_a_step_that_asks_for_more_memory_than_there_is_fails_and_its_worker_lives(place: Place) -> None:
    async with place.engine() as engine, place.worker(memory=300 * MEGABYTE):
        await start(engine, "x", Job("want_memory", attempts=2))
        with pytest.raises(ExecutionFailed, match="MemoryError"):
            await result(engine, "x")
        await start(engine, "y")
        assert await result(engine, "y") == "1 by attempt 1"
    await place.check(x=Status.FAILED)


def processor_time(pid: int) -> float:
    """Return the seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.chaos
@pytest.mark.promise("P5", "I17")
async def test_a_process_without_free_files_waits_quietly_and_goes_on(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "go on"
    async with place.engine() as engine, place.worker(files=64, lease=3.0) as worker:
        await start(engine, "x", Job("take_files", file=str(file)))
        await worker.line(f"taken x 1 {errno.EMFILE}")
        if place.db.startswith("postgresql://"):
            async with outsider(place.db) as dba:  # so that it needs connections
                await dba.cut()
        before = processor_time(worker.pid)
        await anyio.sleep(2)  # what it does meanwhile is what is measured
        assert processor_time(worker.pid) - before < 1, "no busy loop"
        file.touch()
        assert await result(engine, "x") in {"1 by attempt 1", "1 by attempt 2"}
        await start(engine, "y")
        assert await result(engine, "y") == "1 by attempt 1"
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 64
    await place.check()
