"""`stepwell demo` as lines, in processes of its own, killed and interrupted as its readers are invited to."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from signal import SIGINT, SIGTERM
from subprocess import PIPE

import anyio
import pytest

from stepwell import Engine, MemoryStorage, Status
from stepwell.cli._demo_import import ImportRequest, import_airports
from stepwell.cli._demo_run import found_or_started
from stepwell.cli._demo_workflow import DEMO_WORKFLOWS, TAG
from stepwell.cli._errors import CommandError
from tests.cli.demos import COMMAND, Demo
from tests.cli.shop import greeting
from tests.support.processes import Child
from tests.support.virtual_time import Backend

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.real_time,
    pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals"),
]


@pytest.fixture
def demo(tmp_path: Path, backend: Backend) -> Demo:
    return Demo(tmp_path, backend)


async def test_a_demo_that_is_killed_goes_on_where_it_stood(demo: Demo) -> None:
    async with typing_at(demo) as (first, keyboard):
        await first.line("Started: import-1, refund-1, payment-1")
        await first.line("staged")
        await first.line("import: approval: waits for you")
        await first.line("stepwell signal --db")
        os.write(keyboard, b"import y\n")
        await first.line("import: approval: answered")
        await first.line("kill -9")
        await first.line("import: load: batch 3 of 16")
        first.kill()
        assert await first.ended() < 0

    async with demo.running("--yes") as second:
        await second.line("Found unfinished")
        assert "fetch, parse, check, approval" in await second.line("import-1: done already")
        await second.line("its lease ends in")
        await second.line("approved, for --yes was given")
        assert "attempt 2" in await second.line("import: load: attempt")
        await second.line("are in the database already")
        await second.line("Imported: 626 rows, each once, 21 of them marked")
        await second.line("Refunded: 80.00 EUR to Ada, once")
        await second.line("Order B-1001 is on hold")
        assert "insufficient funds" in await second.line("took its catch")
        assert await second.ended() == 0

    await demo.check_ended_well()
    executions = await demo.executions()
    attempts = {
        f"{execution.id} {step.name}": step.attempts
        for execution in executions.values()
        for step in execution.steps.values()
        if step.attempts > 1
    }
    assert attempts == {"import-1 fetch": 3, "import-1 load": 2, "payment-1 charge": 2}


async def test_an_interrupted_demo_hands_its_step_back_at_once(demo: Demo) -> None:
    async with demo.running("--yes") as first:
        await first.line("Stepwell demo")
        await first.line("import: load: batch 3 of 16")
        first.send_signal(SIGINT)
        await first.line("run the same command again")
        assert await first.ended() == 130
        assert first.errors() == ""
    interrupted = (await demo.executions())["import-1"]
    assert (interrupted.status, interrupted.worker) == (Status.QUEUED, None)
    assert "step.interrupted" in {entry.kind for entry in await demo.journal("import-1")}

    async with demo.running() as second:
        await second.line("Found unfinished")
        await second.line("import: load: attempt 2")
        await second.line("Imported: 626 rows")
        assert await second.ended() == 0
    await demo.check_ended_well()


async def test_questions_are_answered_by_typing_and_the_next_demo_is_a_new_one(demo: Demo) -> None:
    async with typing_at(demo) as (first, keyboard):
        await first.line("refund: review: waits for you")
        await first.line("import: approval: waits for you")
        os.write(keyboard, b"perhaps\n")
        await first.line("please type y or n")
        os.write(keyboard, b"import n\n")
        await first.line("import: approval: answered")
        os.write(keyboard, b"import y\n")
        await first.line("nothing is asked of 'import'; open: refund")
        os.write(keyboard, b"n\n")
        await first.line("refund: review: answered")
        await first.line("Ended: the 21 problems were not approved")
        await first.line("Ended: the refund of 80.00 EUR was denied")
        await first.line("stepwell show --db")
        assert await first.ended() == 0
    assert not (demo.folder / "demo-airports.db").exists()
    assert demo.shop("SELECT * FROM payouts") == []

    async with typing_at(demo) as (second, _):
        await second.line("Started: import-2, refund-2, payment-2")
        second.send_signal(SIGTERM)
        assert await second.ended() == 143
    executions = await demo.executions()
    assert {id for id, found in executions.items() if not found.status.is_terminal} >= {"import-2", "payment-2"}


async def test_what_a_process_could_not_start_any_more_is_started_by_the_next(tmp_path: Path) -> None:
    async with MemoryStorage() as storage, Engine(storage, workflows=DEMO_WORKFLOWS) as engine:
        request = ImportRequest(str(tmp_path / "inbox.csv"), str(tmp_path / "airports.db"), pause=0.0)
        await engine.start(import_airports, request, id="import-7", tags=[TAG], metadata={"run": 7})
        run = await found_or_started(engine, tmp_path / "demo.db", pace=0.0)
        assert [execution.id for execution in run.found] == ["import-7"]
        assert [member.handle.id for member in run.members] == ["import-7", "refund-7", "payment-7"]
        assert {execution.id for execution in (await engine.find()).executions} == {"import-7", "refund-7", "payment-7"}


async def test_nothing_is_started_anew_until_all_have_ended(tmp_path: Path) -> None:
    database = tmp_path / "demo.db"
    async with MemoryStorage() as storage, Engine(storage, workflows=DEMO_WORKFLOWS) as engine:
        run = await found_or_started(engine, database, pace=0.0)
        assert (run.found, run.has_load_ahead) == ((), True)
        assert [member.handle.id for member in run.members] == ["import-1", "refund-1", "payment-1"]
        for member in run.members[:2]:
            await member.handle.cancel()
        again = await found_or_started(engine, database, pace=1.0)
        assert ([execution.id for execution in again.found], again.has_load_ahead) == (["payment-1"], False)
        assert [member.handle.id for member in again.members] == ["import-1", "refund-1", "payment-1"]
        await run.members[2].handle.cancel()
        new = await found_or_started(engine, database, pace=0.0)
        assert (new.found, new.members[0].handle.id) == ((), "import-2")


async def test_what_was_paused_goes_on(tmp_path: Path) -> None:
    async with MemoryStorage() as storage, Engine(storage, workflows=DEMO_WORKFLOWS) as engine:
        run = await found_or_started(engine, tmp_path / "demo.db", pace=0.0)
        await run.members[0].handle.pause()
        again = await found_or_started(engine, tmp_path / "demo.db", pace=0.0)
        assert (await again.members[0].handle.get()).status is Status.QUEUED


async def test_an_execution_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    async with MemoryStorage() as storage, Engine(storage, workflows=[*DEMO_WORKFLOWS, greeting]) as engine:
        await engine.start(greeting, "Ada", id="import-1")
        with pytest.raises(CommandError, match="give the demo a database of its own"):
            await found_or_started(engine, tmp_path / "demo.db", pace=0.0)


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
