"""Every storage keeps every promise, on every backend."""

from __future__ import annotations

import pytest

from stepwell.storage import Storage
from stepwell.testing import STORAGE_CHECKS, Check

pytestmark = [pytest.mark.anyio, pytest.mark.synthetic]


@pytest.mark.promise("P2", "P5", "P10", "I3", "I11", "I16", "I23", "I24", "I25", "I41", "I42")
@pytest.mark.parametrize("check", STORAGE_CHECKS, ids=lambda check: check.__name__)
async def test_a_storage_keeps_its_promise(check: Check, storage: Storage) -> None:
    await check(storage)


async def test_all_checks_run_on_one_database_in_any_order(storage: Storage) -> None:
    for check in reversed(STORAGE_CHECKS):
        await check(storage)
