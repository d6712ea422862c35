"""What holds between a parent and its children, which are read one after the other.

A child is created in the commit that suspends its parent, and wakes its parent in the commit that ends it. So of two
reads the later one can only know more. A suspicion is a breach if it still stands when the first is read again and has
not changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepwell._history import History
from stepwell._invariants._breach import Breach
from stepwell._invariants._journal import ENDS
from stepwell._invariants._row import is_due
from stepwell._model import TERMINAL, Entry, Kind, Row, Status, Stored
from stepwell._transition import child_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["check_children", "check_parent", "children_of"]


def children_of(stored: Stored) -> tuple[str, ...]:
    """Return the ids of the children that an execution says it has."""
    return tuple(dict.fromkeys(entry.ref for entry in _births(stored) if entry.ref is not None))


def _births(stored: Stored) -> Iterator[Entry]:
    return (entry for entry in stored.journal if entry.kind is Kind.STEP_SUSPENDED and entry.ref is not None)


def check_children(stored: Stored, children: Mapping[str, Row]) -> list[Breach]:
    """Return what is broken between an execution and its *children*, whose rows were read after it.

    There is one child of each visit of a subworkflow, under the one id that it can have, and it is there. Who waits for
    a child that has ended is due.
    """
    row, found, visits = stored.row, list[Breach](), set[tuple[str | None, int]]()
    for entry in _births(stored):
        expected = child_id(row.id, entry.step or "", entry.visit)
        if entry.ref != expected or (entry.step, entry.visit) in visits:
            found.append(Breach.of("child", row.id, f"one child, {expected!r}", f"{entry.ref!r}", entry.seq))
            continue
        visits.add((entry.step, entry.visit))
        child = children.get(expected)
        if child is None:
            found.append(Breach.of("child", row.id, f"its child {expected!r}", "no such execution", entry.seq))
        elif child.parent != row.id:
            text = f"one whose parent is {child.parent!r}"
            found.append(Breach.of("child", row.id, f"its child {expected!r}", text, entry.seq))
    if row.status is Status.SUSPENDED and not is_due(row, stored.now):
        known = History.of(stored.journal).steps.get(row.step or "")
        child = None if known is None else children.get(known.child or "")
        if child is not None and child.status in TERMINAL:
            expected = f"to be due, for its child {child.id!r} has {child.status}"
            found.append(Breach.of("stranded", row.id, expected, f"due {row.due_at}, and it is {stored.now}"))
    return found


def check_parent(stored: Stored, parent: Stored | None) -> list[Breach]:
    """Return what is broken between a child and its *parent*, which was read after it.

    The parent is there and has created it; where the child has ended, the parent was told so in the same commit, unless
    the parent had ended before.
    """
    row = stored.row
    if parent is None:
        return [Breach.of("child", row.id, f"its parent {row.parent!r}", "no such execution")]
    if row.id not in children_of(parent):
        return [Breach.of("child", row.id, f"a parent, {row.parent!r}, that has created it", "one that has not")]
    if row.status not in TERMINAL or any(entry.kind in ENDS for entry in parent.journal):
        return []
    change = stored.journal[-1].change
    if any(entry.kind is Kind.WOKEN and entry.ref == row.id and entry.change == change for entry in parent.journal):
        return []
    return [Breach.of("told", row.id, f"its parent {row.parent!r} to be told that it has {row.status}", "no entry")]
