"""What must hold after every commit of a driver: the promises, and what only the driver can see."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepwell._history import History
from stepwell._invariants import check_children, check_execution, check_parent, children_of
from stepwell._model import LEGAL

if TYPE_CHECKING:
    from tests.support.driver import Driver

__all__ = ["check"]


def check(driver: Driver, id: str) -> None:
    """Raise AssertionError where a promise about this execution is broken."""
    assert all(after in LEGAL[before] for before, after in driver.pairs), driver.pairs
    stored = driver.load(id)
    assert History.of(stored.journal) == driver.histories[id], "folding on is folding from the first entry"
    breaches = check_execution(stored, driver.workflow_of(id))
    breaches += check_children(stored, {child: driver.rows[child] for child in children_of(stored)})
    if stored.row.parent is not None:
        breaches += check_parent(stored, driver.load(stored.row.parent))
    assert not breaches, "\n".join([*map(str, breaches), *map(str, stored.journal)])
