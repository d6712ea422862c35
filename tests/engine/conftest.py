"""What the engine's tests run on."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from stepwell.storage import Storage
from tests.engine.faulty import Faulty
from tests.engine.flows import check_all
from tests.support.storages import StorageFactory


@pytest.fixture
async def store(storage_factory: StorageFactory) -> AsyncIterator[Storage]:
    """An opened storage in which, after the test, every execution must be sound and none stranded."""
    async with storage_factory() as opened:
        yield opened
        await check_all(opened)


@pytest.fixture
def faulty(store: Storage) -> Faulty:
    """The test's storage, for an engine that is to meet faults."""
    return Faulty(store)
