"""`stepwell demo`, in processes of its own, killed and interrupted as its readers are invited to."""

from __future__ import annotations

import os
import sqlite3
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from pathlib import Path
from signal import SIGINT, SIGTERM
from subprocess import PIPE

import anyio
import pytest

from stepwell import Engine, Execution, JournalEntry, SQLiteStorage, Status
from tests.support.processes import Child, run_script
from tests.support.virtual_time import Backend

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.real_time,
    pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals"),
]

COMMAND = Path(__file__).with_name("command.py")
ROWS = 626
PROBLEMS = 21
BATCHES = 16


class Demo:
    """The demo on a database of the test's own."""

    def __init__(self, folder: Path, backend: Backend) -> None:
        self.database = folder / "state" / "demo.db"
        self.target = folder / "state" / "demo-airports.db"
        self.arguments = ["demo", "--backend", backend, "--db", str(self.database), "--pace", "0.15"]

    def running(self, *options: str) -> AbstractAsyncContextManager[Child]:
        return run_script(COMMAND, *self.arguments, *options)

    async def executions(self) -> list[Execution]:
        async with SQLiteStorage(self.database) as storage, Engine(storage) as engine:
            return [await engine.get(found.id) for found in (await engine.find()).executions]

    async def journal(self, id: str) -> list[JournalEntry]:
        async with SQLiteStorage(self.database) as storage, Engine(storage) as engine:
            return await engine.journal(id)

    def check_loaded(self) -> None:
        """Every row is there once, every batch was committed once, and the problems are marked."""
        with closing(sqlite3.connect(self.target)) as connection:
            rows = connection.execute("SELECT count(*), count(DISTINCT code), count(problem) FROM airports")
            assert rows.fetchone() == (ROWS, ROWS, PROBLEMS)
            batches = connection.execute("SELECT batch FROM batches ORDER BY batch")
            assert [batch for (batch,) in batches] == list(range(BATCHES))


@pytest.fixture
def demo(tmp_path: Path, backend: Backend) -> Demo:
    return Demo(tmp_path, backend)


async def test_a_demo_that_is_killed_goes_on_where_it_stood(demo: Demo) -> None:
    async with demo.running() as first:
        await first.line("staged")
        signal_line = await first.line("stepwell signal")
        id = signal_line.split("stepwell signal")[1].split()[2]
        async with run_script(
            COMMAND, "signal", "--db", str(demo.database), id, "approval", '{"approved": true}'
        ) as sender:
            await sender.line("taken")
            assert await sender.ended() == 0
        await first.line("approval: answered")
        await first.line("kill -9")
        await first.line("load: batch 3 of 16")
        first.kill()
        assert await first.ended() < 0

    async with demo.running() as second:
        await second.line(id)
        assert "fetch, parse, check, approval" in await second.line("done already")
        await second.line("its lease ends in")
        assert "attempt 2" in await second.line("load: attempt")
        await second.line("are in the database already")
        await second.line("Imported: 626 rows, each once, 21 of them marked")
        assert await second.ended() == 0

    demo.check_loaded()
    (execution,) = await demo.executions()
    assert (execution.status, execution.id) == (Status.SUCCEEDED, id)
    assert {name: step.attempts for name, step in execution.steps.items() if step.attempts > 1} == {
        "fetch": 3,
        "load": 2,
    }


async def test_an_interrupted_demo_hands_its_step_back_at_once(demo: Demo) -> None:
    async with demo.running("--yes") as first:
        await first.line("Stepwell demo", within=2)
        await first.line("load: batch 3 of 16")
        first.send_signal(SIGINT)
        await first.line("run the same command again")
        assert await first.ended() == 130
        assert first.errors() == ""
    (execution,) = await demo.executions()
    assert (execution.status, execution.worker) == (Status.QUEUED, None)
    assert "step.interrupted" in {entry.kind for entry in await demo.journal(execution.id)}

    async with demo.running() as second:
        await second.line("load: attempt 2")
        await second.line("Imported: 626 rows")
        assert await second.ended() == 0
    demo.check_loaded()


async def test_problems_can_be_refused_by_a_key_and_the_next_demo_is_a_new_one(demo: Demo) -> None:
    async with typing_at(demo) as (first, keyboard):
        await first.line("y or n, then Enter")
        os.write(keyboard, b"perhaps\n")
        await first.line("please type y or n")
        os.write(keyboard, b"n\n")
        await first.line("Ended: the 21 problems were not approved")
        assert await first.ended() == 0
    assert not demo.target.exists()

    async with typing_at(demo) as (second, _):
        await second.line("Started a new import")
        second.send_signal(SIGTERM)
        assert await second.ended() == 143
    assert [execution.status.is_terminal for execution in await demo.executions()] == [False, True]


@asynccontextmanager
async def typing_at(demo: Demo) -> AsyncGenerator[tuple[Child, int]]:
    """Run the demo with a terminal as its standard input, and give what its keyboard is."""
    keyboard, terminal = os.openpty()
    with tempfile.TemporaryFile() as errors:
        command = [sys.executable, "-u", str(COMMAND), *demo.arguments]
        try:
            process = await anyio.open_process(command, stdin=terminal, stdout=PIPE, stderr=errors)
        finally:
            os.close(terminal)
        child = Child(process, errors)
        try:
            yield child, keyboard
        finally:
            await child.reap()
            os.close(keyboard)
