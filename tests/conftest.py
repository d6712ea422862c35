"""Fixtures for all tests.

A test marked `anyio` runs on asyncio and on Trio, in virtual time. Marked `real_time` as well, it runs on the wall
clock: for child processes and for handlers in worker threads, which virtual time can't see at work.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from stepwell.storage._protocol import Storage
from stepwell.testing import check_invariants
from tests.support.storages import STORAGE_KINDS, Clock, StorageFactory, StorageKind, database
from tests.support.virtual_time import Backend, VirtualTime

ON_DEMAND = {
    "pgbouncer": "behind PgBouncer, whose program must be installed",
    "chaos": "faults for minutes",
    "faults": "every fault",
}
"""Marks of tests that run only where they are asked for: each has an option, and a nox session of its own."""


def pytest_addoption(parser: pytest.Parser) -> None:
    for mark, what in ON_DEMAND.items():
        parser.addoption(f"--{mark}", action="store_true", help=f"run the tests {what}, and no others")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    asked = next((mark for mark in ON_DEMAND if config.getoption(mark)), None)
    chosen = [item for item in items if _mark_of(item) == asked]
    config.hook.pytest_deselected(items=[item for item in items if _mark_of(item) != asked])
    items[:] = chosen


def _mark_of(item: pytest.Item) -> str | None:
    return next((mark for mark in ON_DEMAND if item.get_closest_marker(mark)), None)


pytest_plugins = ["tests.support.postgres.fixtures"]


@pytest.fixture(params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> Backend:
    chosen: Backend = request.param
    return chosen


@pytest.fixture
def time_source(request: pytest.FixtureRequest, backend: Backend) -> VirtualTime | None:
    """None where the test is marked `real_time`."""
    return None if request.node.get_closest_marker("real_time") else VirtualTime(backend)


@pytest.fixture
def anyio_backend(backend: Backend, time_source: VirtualTime | None) -> tuple[str, dict[str, Any]]:
    if time_source is not None:
        return time_source.anyio_backend
    if backend == "trio":
        return "trio", {"restrict_keyboard_interrupt_to_checkpoints": True}
    return "asyncio", {"debug": True}


@pytest.fixture
def virtual_time(time_source: VirtualTime | None) -> VirtualTime:
    if time_source is None:
        pytest.fail("a test marked real_time has no virtual time")
    return time_source


@pytest.fixture
def clock(time_source: VirtualTime | None) -> Clock:
    """The clock of the test's storages, in seconds since 1970."""
    return time.time if time_source is None else time_source.clock()


@pytest.fixture(params=STORAGE_KINDS)
def storage_kind(request: pytest.FixtureRequest) -> StorageKind:
    chosen: StorageKind = request.param
    return chosen


@pytest.fixture
def storage_address(request: pytest.FixtureRequest, storage_kind: StorageKind, tmp_path: Path) -> str:
    """Where the test's database is: its file, or its URL. A server is started only if its kind needs one."""
    if storage_kind != "postgres":
        return str(tmp_path / "stepwell.db")
    dsn: str = request.getfixturevalue("postgres_dsn")
    return dsn


@pytest.fixture
async def storage_factory(  # noqa: PLR0917 (fixtures come by their names)
    request: pytest.FixtureRequest,
    anyio_backend: tuple[str, dict[str, Any]],
    storage_kind: StorageKind,
    storage_address: str,
    clock: Clock,
    time_source: VirtualTime | None,
) -> AsyncIterator[StorageFactory]:
    """Opens connections to one fresh database: `async with storage_factory() as storage`.

    After the test, what the database holds must be sound.
    """
    async with database(storage_kind, storage_address, clock=clock, time=time_source) as factory:
        yield factory
        if CHECKING.isdisjoint(request.fixturenames):
            async with factory() as opened:
                await check_sound(request, opened)


@pytest.fixture
async def storage(request: pytest.FixtureRequest, storage_factory: StorageFactory) -> AsyncIterator[Storage]:
    """An opened storage, once per kind; its calls hold virtual time. After the test, what it holds must be sound."""
    async with storage_factory() as opened:
        yield opened
        await check_sound(request, opened)


CHECKING = frozenset({"storage", "store"})
"""Fixtures that check what they have opened themselves."""


async def check_sound(request: pytest.FixtureRequest, opened: Storage) -> None:
    """Every promise holds of what a test has left behind, unless it is marked `synthetic`."""
    if request.node.get_closest_marker("synthetic") is None:
        await check_invariants(opened)
