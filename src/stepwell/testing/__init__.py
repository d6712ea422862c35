"""Help for tests: of storages, whose contract is `STORAGE_CHECKS`.

A storage of your own is right when it passes them all, on asyncio and on Trio:

    @pytest.mark.anyio
    @pytest.mark.parametrize("check", STORAGE_CHECKS, ids=lambda check: check.__name__)
    async def test_contract(check, storage):
        await check(storage)
"""

from __future__ import annotations

from stepwell.testing._scene import Check, ContractBroken
from stepwell.testing._storage_checks import STORAGE_CHECKS

__all__ = ["STORAGE_CHECKS", "Check", "ContractBroken"]
