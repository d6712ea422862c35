"""What the cases run on."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from stepwell.storage import Storage
from stepwell.testing import check_invariants
from tests.support.storages import StorageFactory


@pytest.fixture
async def store(storage_factory: StorageFactory) -> AsyncIterator[Storage]:
    """An opened storage in which, after the test, every journal folds to its row and no execution is stranded."""
    async with storage_factory() as opened:
        yield opened
        assert await check_invariants(opened) > 0
