"""Real processes, really killed: another one goes on where the killed one stood."""

from __future__ import annotations

from pathlib import Path
from signal import SIGKILL

import pytest

from stepwell import SQLiteStorage
from stepwell.testing import check_invariants
from tests.engine import kill_script
from tests.engine.flows import kinds
from tests.support.processes import run_script
from tests.support.virtual_time import Backend

pytestmark = [pytest.mark.anyio, pytest.mark.real_time]

SCRIPT = Path(kill_script.__file__)
ROOT = SCRIPT.parents[2]


@pytest.mark.promise("P4", "P5", "P10", "I12", "I25")
async def test_a_worker_killed_in_mid_step_is_followed_by_another_that_finishes(
    tmp_path: Path, backend: Backend
) -> None:
    path = tmp_path / "killed.db"
    environment = {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    async with run_script(SCRIPT, str(path), backend, "hold", environment=environment) as child:
        await child.line("begin before 1")
        await child.line("begin middle 1")
        child.kill()
        assert await child.ended() == -SIGKILL
    async with run_script(SCRIPT, str(path), backend, "go", environment=environment) as child:
        assert (await child.line("")).strip() == "begin middle 2"
        await child.line("begin after 1")
        await child.line("result 3")
        assert await child.ended() == 0
    async with SQLiteStorage(path) as storage:
        journal = await kinds(storage, kill_script.ID)
        assert await check_invariants(storage) == 1
    assert journal[:4] == ["created 0", "claimed 1", "succeeded 1", "started 1"]
    assert journal[-1] == "succeeded 1"
