"""Between an engine and its Postgres: commits whose answer never comes, connections that end, and silence."""

from __future__ import annotations

from typing import Final

import anyio
import pytest

from tests.engine.harmed import LEASE, Nemesis, World, nothing_is_lost
from tests.support.postgres import Server
from tests.support.virtual_time import Backend
from tests.support.wire import Fault

pytestmark = [pytest.mark.anyio, pytest.mark.real_time]

SHORT: Final = [Fault.CUT_BEFORE, Fault.CUT_AFTER, Fault.CLOSE_HALF]


@pytest.fixture(params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> Backend:
    chosen: Backend = request.param
    return chosen


def striking(fault: Fault, commits: int) -> Nemesis:
    """Return what strikes so many commits, one at a time."""

    async def strike(world: World) -> None:
        await anyio.sleep(0.05)
        for number in range(1, commits + 1):
            world.wire.strike(fault)
            with anyio.move_on_after(5):  # with few executions there may be no commit any more
                while world.wire.struck[fault] < number:  # noqa: ASYNC110 (the proxy has no event for it)
                    await anyio.sleep(0.01)
        world.wire.left = 0
        assert world.wire.struck[fault]

    return strike


async def be_slow(world: World) -> None:
    world.wire.delay = 0.15
    await anyio.sleep(4)
    world.wire.delay = 0.0


async def be_silent(world: World) -> None:
    """Let nobody hear anything for longer than a lease, and then all of it, late."""
    for seconds in (0.5 * LEASE, 1.5 * LEASE):
        await anyio.sleep(0.2)
        await world.wire.be_silent(seconds)


async def cut_what_is_silent(world: World) -> None:
    """As a firewall that forgets its connections."""
    for _ in range(4):
        await anyio.sleep(0.2)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(world.wire.be_silent, 0.7)
            await anyio.sleep(0.6)
            world.wire.cut()


@pytest.mark.promise("P1", "P10", "I1", "I25", "I26")
@pytest.mark.parametrize("fault", SHORT, ids=lambda fault: fault.name.lower())
async def test_a_commit_that_is_cut_off_is_neither_lost_nor_doubled(own_postgres: Server, fault: Fault) -> None:
    await nothing_is_lost(own_postgres, striking(fault, 4), has_wire=True)


@pytest.mark.chaos
@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.name.lower())
async def test_many_commits_that_are_cut_off_are_neither_lost_nor_doubled(own_postgres: Server, fault: Fault) -> None:
    commits = 6 if fault is Fault.HANG_AFTER else 40
    await nothing_is_lost(own_postgres, striking(fault, commits), executions=400, has_wire=True, within=300)


@pytest.mark.chaos
@pytest.mark.parametrize("nemesis", [be_slow, be_silent, cut_what_is_silent], ids=lambda nemesis: nemesis.__name__)
async def test_a_network_that_is_slow_or_silent_loses_nothing(own_postgres: Server, nemesis: Nemesis) -> None:
    await nothing_is_lost(own_postgres, nemesis, executions=300, has_wire=True, within=180)
