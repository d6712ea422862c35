"""Ctrl-C and SIGTERM at any moment, in real processes: they end in time and hand back, and others finish the work."""

from __future__ import annotations

import time
from pathlib import Path
from signal import SIGINT, SIGTERM

import anyio
import pytest

from stepwell import Engine, Query, SQLiteStorage, Status, verify
from tests.support.processes import run_script
from tests.support.virtual_time import Backend

pytestmark = [pytest.mark.anyio, pytest.mark.real_time]

SCRIPT = Path(__file__).parent / "interrupted.py"


async def _check_handed_back(path: Path) -> None:
    """Nothing is leased, nothing has failed, whatever is open is due at once, and no promise is broken."""
    async with SQLiteStorage(path) as storage, Engine(storage) as engine:
        assert (await verify(storage)).breaches == ()
        page = await engine.find(Query(limit=1000))
        assert {execution.status for execution in page.executions} <= {Status.QUEUED, Status.SUCCEEDED}
        assert [execution.id for execution in page.executions if execution.worker] == []
        now = time.time()
        assert all(e.due_at is None or e.due_at.timestamp() <= now for e in page.executions)
        for execution in page.executions:
            kinds = {entry.kind for entry in await engine.journal(execution.id)}
            assert kinds.isdisjoint({"execution.failed", "step.failed", "step.retry", "execution.cancelled"})


async def _check_finished(path: Path, backend: Backend) -> None:
    """A second process finishes what is left, soon: nothing waits for a lease to end."""
    async with run_script(SCRIPT, backend, str(path), "finish") as second:
        await second.line("left", within=20)
        assert await second.ended() == 0
    async with SQLiteStorage(path) as storage, Engine(storage) as engine:
        page = await engine.find(Query(status=["queued", "running", "waiting", "failed"]))
        assert page.executions == ()


@pytest.mark.parametrize("what", ["idle", "handler", "commits"])
async def test_ctrl_c_ends_the_process_and_another_one_goes_on(tmp_path: Path, backend: Backend, what: str) -> None:
    path = tmp_path / "flows.db"
    async with run_script(SCRIPT, backend, str(path), what) as first:
        await first.line("ready")
        began = time.monotonic()
        first.send_signal(SIGINT)
        await first.line("KeyboardInterrupt", within=10)
        assert await first.ended(within=10) == 130
        assert time.monotonic() - began < 6
    await _check_handed_back(path)
    if what != "commits":  # a hundred thousand are not there; those that are finish as fast
        await _check_finished(path, backend)


@pytest.mark.promise("P12", "I22")
@pytest.mark.parametrize("pause", [0.0, 0.003, 0.011, 0.029])
async def test_ctrl_c_at_any_moment_of_a_busy_worker_loses_nothing(
    tmp_path: Path, backend: Backend, pause: float
) -> None:
    path = tmp_path / "flows.db"
    async with run_script(SCRIPT, backend, str(path), "commits") as first:
        await first.line("ready")
        await anyio.sleep(pause)  # the moment is the test's subject
        first.send_signal(SIGINT)
        await first.line("KeyboardInterrupt", within=10)
        assert await first.ended(within=10) == 130
    await _check_handed_back(path)


@pytest.mark.parametrize("instant", ["claimed", "committed"])
async def test_ctrl_c_never_strikes_between_an_answer_of_the_storage_and_its_use(
    tmp_path: Path, backend: Backend, instant: str
) -> None:
    """Trio would raise KeyboardInterrupt right there, and leave leases that nobody runs."""
    path = tmp_path / "flows.db"
    async with run_script(SCRIPT, backend, str(path), instant) as first:
        await first.line("KeyboardInterrupt", within=10)
        assert await first.ended(within=10) == 130
    await _check_handed_back(path)
    await _check_finished(path, backend)


@pytest.mark.promise("P12", "I22")
async def test_sigterm_that_the_program_answers_by_cancelling_hands_everything_back(
    tmp_path: Path, backend: Backend
) -> None:
    path = tmp_path / "flows.db"
    async with run_script(SCRIPT, backend, str(path), "term") as first:
        await first.line("ready")
        first.send_signal(SIGTERM)
        await first.line("left", within=10)
        assert await first.ended(within=10) == 0
    await _check_handed_back(path)
    await _check_finished(path, backend)


async def test_sigterm_that_nobody_answers_ends_the_process_at_once(tmp_path: Path, backend: Backend) -> None:
    path = tmp_path / "flows.db"
    async with run_script(SCRIPT, backend, str(path), "handler") as first:
        await first.line("ready")
        first.send_signal(SIGTERM)
        assert await first.ended(within=5) == -SIGTERM
    async with SQLiteStorage(path) as storage, Engine(storage) as engine:
        page = await engine.find()
        assert {execution.status for execution in page.executions} <= {Status.QUEUED, Status.RUNNING}
