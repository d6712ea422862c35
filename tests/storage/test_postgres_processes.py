"""Many processes and storages on one Postgres: what is claimed is claimed once, and all of it."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from stepwell.storage.postgres import PostgresStorage
from stepwell.testing._scene import Scene
from tests.support.processes import Child, run_script
from tests.support.virtual_time import Backend

pytestmark = [pytest.mark.anyio, pytest.mark.real_time]

SCRIPT = Path(__file__).parent / "scripts" / "claim_postgres.py"
ROOT = SCRIPT.parents[3]
DUE = 800


@pytest.mark.promise("P2", "I3", "I23")
async def test_eight_processes_claim_everything_once(postgres_dsn: str, backend: Backend) -> None:
    claimed: list[str] = []
    ready: list[Child] = []
    environment = {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}

    async def claim(name: str) -> None:
        async with run_script(SCRIPT, postgres_dsn, name, backend, environment=environment) as child:
            await child.line("ready")
            ready.append(child)
            if len(ready) == 8:
                for other in ready:
                    await other.tell("go")
            while (line := (await child.line()).strip()) != "end":
                claimed.extend(line.split())
            assert await child.ended() == 0

    async with PostgresStorage(postgres_dsn) as storage:
        scene = Scene(storage)
        await scene.create_many(scene.row(str(number)) for number in range(DUE))
        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(claim, scene.name)
    assert len(claimed) == len(set(claimed))
    assert len(claimed) == DUE


async def test_fifty_storages_may_work_at_once(postgres_dsn: str) -> None:
    claimed: list[str] = []

    async def work(number: int) -> None:
        async with PostgresStorage(postgres_dsn, connections=1) as storage:
            scene = Scene(storage, "fifty")
            await scene.create_many(scene.row(f"{number} {place}") for place in range(5))
            while found := await scene.claimed(worker=f"worker {number}", limit=3):
                claimed.extend(found)

    async with anyio.create_task_group() as tasks:
        for number in range(50):
            tasks.start_soon(work, number)
    assert len(claimed) == len(set(claimed)) == 250
