"""Every promise of `stepwell.storage.Storage` as a check that any storage must pass.

A check is a function named `check_…` in one of these modules; whoever adds one there has added it to the suite.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stepwell.testing._storage_checks import (
    _changes,
    _claims,
    _concurrency,
    _definitions,
    _leases,
    _loads,
    _payloads,
    _purges,
    _queries,
    _signals,
    _units,
    _wakes,
)

if TYPE_CHECKING:
    from types import ModuleType

    from stepwell.testing._scene import Check

__all__ = ["STORAGE_CHECKS"]


def _checks(*modules: ModuleType) -> tuple[Check, ...]:
    return tuple(value for module in modules for name, value in vars(module).items() if name.startswith("check_"))


STORAGE_CHECKS: Final[tuple[Check, ...]] = _checks(
    *(_changes, _units, _wakes, _signals, _claims, _leases, _loads, _queries, _definitions, _payloads),
    *(_purges, _concurrency),
)
"""All checks, from simple to hard: where several fail, the first is the one to look at."""
