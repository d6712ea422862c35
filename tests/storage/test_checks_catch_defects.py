"""A check that can't fail is a bug: each one finds a storage that has the defect it was made for."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from types import ModuleType

import anyio
import pytest

from stepwell.testing import STORAGE_CHECKS, Check, ContractBroken
from tests.storage.defects import (
    of_changes,
    of_claims,
    of_definitions,
    of_leases,
    of_purges,
    of_reads,
    of_signals,
    of_units,
)
from tests.storage.defects.defective import Defective
from tests.support.virtual_time import VirtualTime

CHECKS = {check.__name__: check for check in STORAGE_CHECKS}


def defects(*modules: ModuleType) -> Iterator[type[Defective]]:
    for module in modules:
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, Defective) and value is not Defective:
                yield value


CASES = [
    (defect, f"check_{name}")
    for defect in defects(of_units, of_changes, of_signals, of_claims, of_leases, of_reads, of_definitions, of_purges)
    for name in defect.caught_by.split()
]


def run(check: Check, kind: type[Defective]) -> None:
    """Run a check in virtual time: one that waits for what a defect prevents costs nothing."""
    time = VirtualTime("asyncio")
    name, options = time.anyio_backend
    anyio.run(partial(check, kind(clock=time.clock())), backend=name, backend_options=options)


@pytest.mark.parametrize(("defect", "name"), CASES, ids=[f"{defect.__name__}-{name}" for defect, name in CASES])
def test_a_defect_is_caught(defect: type[Defective], name: str) -> None:
    with pytest.raises(ContractBroken):
        run(CHECKS[name], defect)


def test_each_check_can_fail() -> None:
    proven = {name for _, name in CASES}
    assert proven == set(CHECKS)
