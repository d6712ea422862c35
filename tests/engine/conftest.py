"""What the engine's tests run on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from stepwell.storage import Storage
from stepwell.testing import check_invariants
from tests.engine.faulty import Faulty
from tests.support.storages import StorageFactory

if TYPE_CHECKING:  # it needs the driver
    from tests.engine.orders import Orders


@pytest.fixture
async def store(storage_factory: StorageFactory) -> AsyncIterator[Storage]:
    """An opened storage in which, after the test, every execution must be sound and none stranded."""
    async with storage_factory() as opened:
        yield opened
        await check_invariants(opened)


@pytest.fixture
def faulty(store: Storage) -> Faulty:
    """The test's storage, for an engine that is to meet faults."""
    return Faulty(store)


@pytest.fixture
async def orders(anyio_backend: object, postgres_database: str) -> AsyncIterator[Orders]:
    """A database with a table of the user's, in which, after the test, every execution must be sound."""
    from tests.engine.orders import open_orders  # noqa: PLC0415 (the driver is only needed here)

    async with open_orders(postgres_database) as opened:
        yield opened
        await check_invariants(await opened.storage())
