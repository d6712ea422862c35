"""Help for tests: of what a storage holds after one (`check_invariants`), and of storages themselves.

    async with MemoryStorage() as storage, Engine(storage, workflows=[refund]) as engine:
        ...
    await check_invariants(storage)  # nothing is lost, doubled or stranded

The contract of a storage is `STORAGE_CHECKS`.

A storage of your own is right when it passes them all, on asyncio and on Trio:

    @pytest.mark.anyio
    @pytest.mark.parametrize("check", STORAGE_CHECKS, ids=lambda check: check.__name__)
    async def test_contract(check, storage):
        await check(storage)
"""

from __future__ import annotations

from stepwell.testing._invariants import InvariantsBroken, check_invariants
from stepwell.testing._scene import Check, ContractBroken
from stepwell.testing._storage_checks import STORAGE_CHECKS

__all__ = ["STORAGE_CHECKS", "Check", "ContractBroken", "InvariantsBroken", "check_invariants"]
