"""A primary that is gone for good, and its standby in its place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import anyio
import pytest
from anyio import to_thread

from tests.engine.harmed import World, nothing_is_lost
from tests.support.postgres import PostgresUnavailable, Server, launched
from tests.support.postgres.fixtures import unavailable
from tests.support.postgres.outsider import outsider

pytestmark = [pytest.mark.anyio, pytest.mark.real_time, pytest.mark.chaos]


@pytest.fixture(params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture
def pair() -> Iterator[tuple[Server, Server]]:
    """A primary, and the standby that follows it."""
    with ExitStack() as stack:
        try:
            primary = stack.enter_context(launched(settings={"synchronous_commit": "on"}))
        except PostgresUnavailable as error:
            unavailable(error)
        primary.stop()
        standby = stack.enter_context(launched(which=primary.major, standby_of=primary))
        primary.start()
        yield primary, standby


async def test_a_standby_that_takes_over_goes_on_with_all_that_was_acknowledged(pair: tuple[Server, Server]) -> None:
    primary, standby = pair
    async with outsider(primary.dsn) as dba:
        await dba.until("SELECT count(*) = 1 FROM pg_stat_replication WHERE state = 'streaming'")
        await dba.execute("ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
        await dba.until("SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'")

    async def fail_over(_: World) -> None:
        await anyio.sleep(1)  # while there is much under way
        await to_thread.run_sync(primary.stop, "immediate")
        await anyio.sleep(0.5)
        async with outsider(standby.dsn) as dba:
            assert await dba.value("SELECT pg_promote()")

    await nothing_is_lost(primary, fail_over, executions=300, standby=standby, within=180)
