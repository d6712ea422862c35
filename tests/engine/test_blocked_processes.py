"""Programs with a watchdog in them: they can be interrupted, forked and ended as any other."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from signal import SIGINT

import pytest

from stepwell._watchdog import EXIT_CODE
from tests.engine import blocked_script
from tests.support.processes import ChildDisappointed, run_script
from tests.support.virtual_time import Backend

pytestmark = [pytest.mark.anyio, pytest.mark.real_time]

SCRIPT = Path(blocked_script.__file__)
SOON = 15.0
"""seconds: far less than the handlers would block"""


async def test_ctrl_c_ends_a_handler_that_blocks(backend: Backend) -> None:
    async with run_script(SCRIPT, backend, "interrupt") as child:
        await child.line("blocks")
        for _ in range(20):  # asyncio answers the first by a cancellation, for which the loop has to turn
            child.send_signal(SIGINT)
            with suppress(ChildDisappointed):
                await child.line("interrupted", within=0.5)
                break
        assert await child.ended(within=SOON) == 130


async def test_a_fork_has_no_watchdog_and_ends_as_it_should(backend: Backend) -> None:
    async with run_script(SCRIPT, backend, "fork") as child:
        assert (await child.line("child")).split() == ["child", "[]"]
        assert (await child.line("child ended")).split()[-1] == "0"
        await child.line("result 1")
        await child.line("ends")
        assert await child.ended() == 0


async def test_a_program_may_end_while_a_worker_runs_in_a_thread(backend: Backend) -> None:
    async with run_script(SCRIPT, backend, "end") as child:
        await child.line("listens to nobody")
        await child.tell("")
        await child.line("ends")
        assert await child.ended(within=SOON) == 0
        assert "watchdog" not in child.errors()


async def test_a_handler_that_never_ends_does_not_keep_a_worker_from_exiting(backend: Backend) -> None:
    async with run_script(SCRIPT, backend, "exit") as child:
        await child.line("listens to nobody")
        assert await child.ended(within=SOON) == EXIT_CODE
        assert "goes on although it was cancelled (timeout)" in child.errors()
        assert "the process ends" in child.errors()
