"""Graphs as data: the nodes and edges of a workflow, and what can be asked of them.

Rule 1: nothing here knows of handlers or types; names in, names out.
Rule 2: every question is answered in time linear in the size of the graph, and without recursion.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from stepwell._retry import Retry

__all__ = ["Graph", "GraphEdge", "GraphNode", "StepKind"]

Successors: TypeAlias = "Mapping[str, Collection[str]]"
"""For each node, the nodes that may follow it."""


class StepKind(StrEnum):
    """What a step does."""

    ACTIVITY = "activity"
    DECISION = "decision"
    WAIT = "wait"
    SUBWORKFLOW = "subworkflow"
    SUCCEED = "succeed"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class GraphNode:
    """A step as it is described; a timeout of `"default"` is the engine's."""

    name: str
    kind: StepKind
    label: str
    description: str
    retry: Retry | None
    timeout: float | str | None
    max_visits: int

    def to_json(self) -> dict[str, Any]:
        """Return the node as plain JSON."""
        retry = None
        if self.retry is not None:
            retry = dataclasses.asdict(self.retry)
            retry["give_up_on"] = [error.__qualname__ for error in self.retry.give_up_on]
        return {
            "name": self.name,
            "kind": self.kind.value,
            "label": self.label,
            "description": self.description,
            "retry": retry,
            "timeout": self.timeout,
            "max_visits": self.max_visits,
        }


@dataclass(frozen=True, slots=True)
class GraphEdge:
    """An edge: the step it leaves, the step it leads to, and the route that takes it."""

    source: str
    target: str
    label: str

    def to_json(self) -> dict[str, Any]:
        """Return the edge as plain JSON."""
        return {"from": self.source, "to": self.target, "label": self.label}


@dataclass(frozen=True, slots=True)
class Graph:
    """A workflow as data: its start, its nodes and its edges, in the order in which they were written."""

    workflow: str
    version: str
    label: str
    description: str
    start: str
    nodes: tuple[GraphNode, ...]
    edges: tuple[GraphEdge, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the graph as plain JSON, ready for any encoder."""
        return {
            "workflow": self.workflow,
            "version": self.version,
            "label": self.label,
            "description": self.description,
            "start": self.start,
            "nodes": [node.to_json() for node in self.nodes],
            "edges": [edge.to_json() for edge in self.edges],
        }


def reached(starts: Iterable[str], successors: Successors) -> set[str]:
    """Return the nodes that can be arrived at from *starts*; these themselves only if they lie on a cycle."""
    found: set[str] = set()
    queue: deque[str] = deque(starts)
    while queue:
        for name in successors.get(queue.popleft(), ()):
            if name not in found:
                found.add(name)
                queue.append(name)
    return found


def reversed_edges(successors: Successors) -> dict[str, list[str]]:
    """Return for each node the nodes that it may follow."""
    predecessors: dict[str, list[str]] = {}
    for source, targets in successors.items():
        for target in targets:
            predecessors.setdefault(target, []).append(source)
    return predecessors


def cycles(successors: Successors) -> list[list[str]]:
    """Return one cycle for each knot (nodes that can all reach one another), as a path that ends where it began."""
    return [_cycle_in(set(knot), knot[0], successors) for knot in _knots(successors)]


def _cycle_in(knot: set[str], start: str, successors: Successors) -> list[str]:
    """Walk on inside the knot until a node comes up again: what lies between is a cycle."""
    path: dict[str, None] = {}
    node = start
    while node not in path:
        path[node] = None
        node = next(name for name in successors[node] if name in knot)
    names = list(path)
    return [*names[names.index(node) :], node]


def _knots(successors: Successors) -> list[list[str]]:
    """Return the strongly connected components that hold a cycle (Tarjan 1972, with a stack of its own)."""
    found: list[list[str]] = []
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: dict[str, None] = {}
    for root in successors:
        if root in index:
            continue
        work = [(root, iter(successors[root]))]
        index[root] = low[root] = len(index)
        stack[root] = None
        while work:
            node, targets = work[-1]
            for target in targets:
                if target not in index:
                    index[target] = low[target] = len(index)
                    stack[target] = None
                    work.append((target, iter(successors.get(target, ()))))
                    break
                if target in stack:
                    low[node] = min(low[node], index[target])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    knot = _popped(stack, node)
                    if len(knot) > 1 or node in successors.get(node, ()):
                        found.append(knot)
    return found


def _popped(stack: dict[str, None], node: str) -> list[str]:
    """Take off the stack all down to a node, and return it in the order in which it was pushed."""
    knot: list[str] = []
    while not knot or knot[-1] != node:
        knot.append(stack.popitem()[0])
    return knot[::-1]
