"""Where processes of a test work: a SQLite file or a database in Postgres, and an event loop."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio
import msgspec

from stepwell import Engine, Query, Status
from stepwell.testing import check_invariants
from tests.chaos import worker
from tests.chaos.jobs import JOBS, Job
from tests.chaos.mixture import MIXTURE
from tests.chaos.worker import Options, storage_at
from tests.support.processes import Child, run_script

__all__ = ["SOON", "Place"]

SCRIPT: Final = Path(worker.__file__)
ROOT: Final = SCRIPT.parents[2]
SOON: Final = 60.0
"""seconds within which what must happen does, on a machine that is busy with other things"""


@dataclass(frozen=True)
class Place:
    """A database, and the event loop of the processes that work on it."""

    db: str
    backend: str

    @asynccontextmanager
    async def engine(self) -> AsyncGenerator[Engine]:
        """Open an engine that is only a client."""
        async with storage_at(self.db) as storage, Engine(storage, workflows=[JOBS, *MIXTURE]) as engine:
            yield engine

    @asynccontextmanager
    async def worker(self, **options: Any) -> AsyncGenerator[Child]:
        """Run a worker in a process of its own; it is ready when the block begins, and killed at its end."""
        told = Options(db=self.db, backend=self.backend, **options)
        environment = {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
        async with run_script(SCRIPT, msgspec.json.encode(told).decode(), environment=environment) as child:
            await child.line("ready", within=SOON)
            yield child

    async def check(self, **expected: Status) -> None:
        """See that no promise is broken, and that these executions stand so, and all others have succeeded."""
        async with storage_at(self.db) as storage, Engine(storage) as engine:
            page = await engine.find(Query(limit=1000))
            found = {execution.id: execution.status for execution in page.executions}
            assert found == {**dict.fromkeys(found, Status.SUCCEEDED), **expected}
            assert await check_invariants(storage, workflows=[JOBS]) == len(found)


async def result(engine: Engine, id: str) -> str:
    """Return what the execution has come to, soon."""
    with anyio.fail_after(SOON):
        return str(await engine.result_of(id))


async def start(engine: Engine, id: str, job: Job | None = None) -> None:
    """Start an execution of the jobs."""
    await engine.start(JOBS, Job() if job is None else job, id=id)
