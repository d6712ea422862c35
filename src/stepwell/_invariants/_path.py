"""The visits of an execution are a path of its workflow's graph."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from stepwell._invariants._breach import Breach
from stepwell._invariants._journal import LEAVES
from stepwell._model import Entry, Kind, Stored

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stepwell._definition import Workflow

__all__ = ["check_path"]

_WRITTEN_AT: Final = {
    Kind.STEP_SUCCEEDED: ("activity",),
    Kind.STEP_ROUTED: ("decision",),
    Kind.STEP_SUSPENDED: ("wait", "subworkflow"),
    Kind.STEP_RESUMED: ("wait", "subworkflow"),
    Kind.SUCCEEDED: ("succeed",),
}
"""The kinds of step at which an entry may be written."""


def check_path(stored: Stored, workflow: Workflow[Any, Any]) -> Iterator[Breach]:
    """It begins at the start, each step is one of the graph, and each goes on along an edge of its own."""
    id = stored.row.id
    entries = [entry for entry in stored.journal if entry.step is not None and entry.kind is not Kind.SIGNAL_DISCARDED]
    if entries and entries[0].step != workflow.start.name:
        yield Breach.of("path", id, f"to begin at {workflow.start.name!r}", repr(entries[0].step), entries[0].seq)
    for entry in entries:
        step = workflow.steps.get(entry.step or "")
        if step is None:
            yield Breach.of("path", id, f"a step of workflow {workflow.name!r}", repr(entry.step), entry.seq)
        elif step.kind not in _WRITTEN_AT.get(entry.kind, (step.kind,)):
            yield Breach.of(
                "path", id, f"no {entry.kind.value} at step of kind {step.kind}", repr(entry.step), entry.seq
            )
    for before, entry in pairwise(entries):
        if before.kind in LEAVES and before.step in workflow.steps and entry.change == before.change:
            yield from _along(id, workflow, before, entry)


def _along(id: str, workflow: Workflow[Any, Any], before: Entry, entry: Entry) -> Iterator[Breach]:
    route = "next" if before.kind is Kind.STEP_SUCCEEDED else before.route
    if route is None and before.kind is Kind.STEP_FAILED:
        return  # nothing catches it: the end
    target = workflow.routes.get(before.step or "", {}).get(route or "")
    if target is None:
        yield Breach.of("path", id, f"an edge of {before.step!r}", f"route {route!r}", before.seq)
    elif target.name != entry.step:
        expected = f"{before.step!r} to lead by {route!r} to {target.name!r}"
        yield Breach.of("path", id, expected, repr(entry.step), entry.seq)
