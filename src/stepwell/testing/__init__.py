"""Help for tests.

Of what a storage holds after one, `check_invariants`:

    async with MemoryStorage() as storage, Engine(storage, workflows=[refund]) as engine:
        ...
    await check_invariants(storage)  # nothing is lost, doubled or stranded

Of workflows, under faults: `simulate` runs them with the real engine while simulated processes die, stop, are cut off
and start again, in virtual time, the same way for the same seed.

Of storages, whose contract is `STORAGE_CHECKS`. A storage of your own is right when it passes them all, on asyncio and
on Trio:

    @pytest.mark.anyio
    @pytest.mark.parametrize("check", STORAGE_CHECKS, ids=lambda check: check.__name__)
    async def test_contract(check, storage):
        await check(storage)
"""

from __future__ import annotations

from stepwell.testing._invariants import InvariantsBroken, check_invariants
from stepwell.testing._scene import Check, ContractBroken
from stepwell.testing._simulation import (
    BACKENDS,
    FAULTS,
    Backend,
    Client,
    Fault,
    Livelock,
    Outcome,
    Scenario,
    SimulationFailed,
    SimulationReport,
    WorkerSettings,
    simulate,
)
from stepwell.testing._storage_checks import STORAGE_CHECKS

__all__ = [
    "BACKENDS",
    "FAULTS",
    "STORAGE_CHECKS",
    "Backend",
    "Check",
    "Client",
    "ContractBroken",
    "Fault",
    "InvariantsBroken",
    "Livelock",
    "Outcome",
    "Scenario",
    "SimulationFailed",
    "SimulationReport",
    "WorkerSettings",
    "check_invariants",
    "simulate",
]
