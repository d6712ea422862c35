"""`draw`: the picture of a workflow, and of how one execution of it stands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from stepwell._checks import InvalidArgument
from stepwell._definition import StepKind, Workflow
from stepwell._failure import Failure, describe
from stepwell._graph import Graph, GraphNode
from stepwell._model import Kind, Status
from stepwell._picture import NEXT, Mark, Overlay, StepMark, svg

if TYPE_CHECKING:
    from stepwell._execution import Execution, JournalEntry, StepState

__all__ = ["draw"]

_LISTED: Final = 30
_MARKS: Final = {
    Status.QUEUED: Mark.HELD,
    Status.RUNNING: Mark.ACTIVE,
    Status.WAITING: Mark.HELD,
    Status.SUSPENDED: Mark.HELD,
    Status.PAUSED: Mark.HELD,
    Status.SUCCEEDED: Mark.DONE,
    Status.FAILED: Mark.FAILED,
    Status.CANCELLED: Mark.CANCELLED,
}
_ROUTED: Final = frozenset({Kind.STEP_ROUTED, Kind.STEP_RESUMED, Kind.STEP_FAILED})


def draw(
    what: Workflow[Any, Any] | Graph, execution: Execution | None = None, *, journal: Iterable[JournalEntry] = ()
) -> str:
    """Return a workflow's picture as the text of an SVG file, the same for the same arguments.

    With an *execution*, the picture shows how it stands: the steps that were visited, each with a sign for what became
    of it, its attempts and visits and, in its title, its failure; the step where it is; and the edges that were taken.
    Steps tell of their last visit only. With the whole *journal*, each edge that was taken in any visit is shown, and
    how often. An execution from a page of `find` has no steps: it shows where it stands, and the path if the journal is
    given.

    Light or dark is chosen by whoever shows it. It holds no script and refers to nothing outside, and no text in it is
    markup, whatever the labels and the failures say. It takes 0.03 to 0.1 s for 1,000 steps.

    Raises InvalidArgument if *what* is neither a workflow nor a graph whose edges join its nodes, if the execution is
    of another workflow or version, and for a journal without an execution.
    """
    graph = _graph_of(what)
    entries = list(journal)
    if execution is None:
        if entries:
            raise InvalidArgument("a journal can only be drawn together with its execution")
        return svg(graph)
    if (execution.workflow, execution.version) != (graph.workflow, graph.version):
        theirs = f"version {describe(execution.version)} of {describe(execution.workflow)}"
        ours = f"version {describe(graph.version)} of {describe(graph.workflow)}"
        raise InvalidArgument(f"execution {describe(execution.id)} is of {theirs} and can't be drawn on {ours}")
    return svg(graph, _overlay(graph, execution, entries))


def _graph_of(what: object) -> Graph:
    graph: object = what.graph if isinstance(what, Workflow) else what
    if not isinstance(graph, Graph):
        raise InvalidArgument(f"draw() takes a Workflow or a Graph, not {describe(graph)}")
    names = {node.name for node in graph.nodes}
    if len(names) < len(graph.nodes):
        raise InvalidArgument("a graph with two nodes of one name can't be drawn")
    ends = [graph.start, *(name for edge in graph.edges for name in (edge.source, edge.target))]
    missing = next((name for name in ends if name not in names), None)
    if missing is not None:
        raise InvalidArgument(f"a graph without the node {describe(missing)}, which it refers to, can't be drawn")
    return graph


def _overlay(graph: Graph, execution: Execution, journal: list[JournalEntry]) -> Overlay:
    kinds = {node.name: node.kind for node in graph.nodes}
    taken = _taken_by_entries(journal) if journal else _taken_by_steps(execution, kinds)
    marks = {node.name: mark for node in graph.nodes if (mark := _mark(node, execution)) is not None}
    where = f" at {execution.current_step}" if execution.current_step else ""
    visited = list(execution.steps)
    path = ", ".join(visited[:_LISTED]) + (f" and {len(visited) - _LISTED} more" if len(visited) > _LISTED else "")
    summary = f"Execution {execution.id} is {execution.status}{where}."
    return Overlay(f"{summary} Visited: {path}." if path else summary, marks, taken)


def _taken_by_entries(journal: Iterable[JournalEntry]) -> Counter[tuple[str, str]]:
    taken: Counter[tuple[str, str]] = Counter()
    for entry in journal:
        route = NEXT if entry.kind == Kind.STEP_SUCCEEDED else entry.route if entry.kind in _ROUTED else None
        if entry.step is not None and route is not None:
            taken[entry.step, route] += 1
    return taken


def _taken_by_steps(execution: Execution, kinds: dict[str, StepKind]) -> dict[tuple[str, str], int]:
    taken: dict[tuple[str, str], int] = {}
    for step in execution.steps.values():
        if step.route is not None:
            taken[step.name, step.route] = 1
        elif step.status is Status.SUCCEEDED and kinds.get(step.name) is StepKind.ACTIVITY:
            taken[step.name, NEXT] = 1
    return taken


def _mark(node: GraphNode, execution: Execution) -> StepMark | None:
    """Return how a step stands; None if it was not visited."""
    step = execution.steps.get(node.name)
    is_current = execution.current_step == node.name
    if step is None:
        if not is_current:
            return None
        return StepMark(_MARKS[execution.status], str(execution.status), str(execution.status), is_current=True)
    status = execution.status if is_current else step.status
    mark = Mark.FAILED if node.kind is StepKind.FAIL and status is Status.SUCCEEDED else _MARKS[status]
    return StepMark(mark, _note(step, status, is_current=is_current), _detail(step, status), is_current)


def _note(step: StepState, status: Status, *, is_current: bool) -> str:
    words = [str(status)] if is_current or status in (Status.FAILED, Status.CANCELLED) else []
    if step.visits > 1:
        words.append(f"visit {step.visits}" if is_current else f"{step.visits} visits")
    if step.attempts > 1:
        words.append(f"attempt {step.attempts}" if is_current else f"{step.attempts} attempts")
    return " · ".join(words)


def _detail(step: StepState, status: Status) -> str:
    facts = [f"{status}, visit {step.visits}" + (f", attempt {step.attempts}" if step.attempts else "")]
    if step.route is not None:
        facts.append(f"route {step.route}")
    if isinstance(step.error, Failure):
        facts.append(step.error.summary)
    return " · ".join(facts)
