"""The workflow: one immutable, checked table of steps and edges."""

from __future__ import annotations

import hashlib
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Generic, cast

import msgspec

from stepwell._definition._binding import bound
from stepwell._definition._checks import MOST_LEVELS, check_graph, check_header, check_routes, check_steps, tabulate
from stepwell._definition._steps import DEFAULT, Activity, Decision, Edges, Step, Subworkflow, is_step, shown
from stepwell._definition._types import Unresolved, WorkflowTypes, rendered
from stepwell._errors import DefinitionError, Problem, quoted
from stepwell._graph import Graph, GraphEdge, GraphNode, reached
from stepwell._picture import dot, mermaid, svg
from stepwell._typevars import InputT, OutT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from stepwell._definition._checks import Table

_FORMATS: Final[dict[str, Callable[[Graph], str]]] = {"dot": dot, "mermaid": mermaid, "svg": svg}


class Workflow(Generic[InputT, OutT]):
    """A named and versioned graph of steps: `Workflow[Input, Output]("name", version="1", start=…, edges=[…])`.

    The subscript is what input and output are decoded to. `format(workflow, "svg")` draws it, and so do `"mermaid"` and
    `"dot"`; a notebook shows the picture by itself.

    Attributes:
        name: The workflow's name.
        version: Its version; an execution stays on the one it began with.
        label: How people call it; the name if nothing else is given.
        description: What it is for.
        start: The step in which an execution begins.
        steps: All steps by name, in the order in which they were written.
        routes: For each step that is no end, the step to which each route leads.
        catches: For each activity that has any, the exception classes and routes of its `catch`, in order.
        children: The workflows that its subworkflow steps run, each once.
        levels: How deep workflows lie within it; 1 without children.
    """

    name: str
    version: str
    label: str
    description: str
    start: Step[Any, Any]
    steps: Mapping[str, Step[Any, Any]]
    routes: Mapping[str, Mapping[str, Step[Any, Any]]]
    catches: Mapping[str, tuple[tuple[type[BaseException], str], ...]]
    children: tuple[Workflow[Any, Any], ...]
    levels: int

    def __init__(
        self,
        name: str,
        *,
        version: str,
        start: Step[InputT, OutT],
        edges: Sequence[Edges[InputT, InputT, OutT]],
        label: str | None = None,
        description: str = "",
    ) -> None:
        """Check the whole definition; raises `DefinitionError` with all its problems."""
        table = tabulate(start, edges)
        table.problems[:0] = check_header(name, version, label, description)
        later = _checked(start, table)
        if table.problems:
            raise DefinitionError(name, tuple(table.problems))
        children = {step.child: None for step in table.steps.values() if isinstance(step, Subworkflow)}
        self.__dict__.update(
            name=name,
            version=version,
            label=name if label is None else label,
            description=description,
            start=start,
            steps=MappingProxyType(table.steps),
            routes=MappingProxyType({step: MappingProxyType(routes) for step, routes in table.routes.items()}),
            catches=MappingProxyType(table.catches),
            children=tuple(children),
            levels=1 + max((child.levels for child in children), default=0),
            _unresolved=later,
            _reachable={},
        )

    @property
    def key(self) -> tuple[str, str]:
        """The name and the version."""
        return self.name, self.version

    @cached_property
    def graph(self) -> Graph:
        """The nodes and edges as data."""
        edges = (
            GraphEdge(source, target.name, label)
            for source, routes in self.routes.items()
            for label, target in routes.items()
        )
        nodes = tuple(map(_node, self.steps.values()))
        return Graph(self.name, self.version, self.label, self.description, self.start.name, nodes, tuple(edges))

    @cached_property
    def types(self) -> WorkflowTypes:
        """The types of input, output and steps, resolved when they are first asked for.

        Raises `DefinitionError` if a payload type can't be resolved, or if an annotation that could not be resolved
        when the workflow was made turns out not to fit the edges.
        """
        types, problems = bound(self, self.start, self.steps)
        for name in cast("tuple[str, ...]", self.__dict__["_unresolved"]):
            try:
                problems += check_routes(self.steps[name], self.routes[name])
            except Unresolved:  # only the check of the routes is lost
                continue
        if problems:
            raise DefinitionError(self.name, tuple(problems))
        return types

    def bind(self) -> WorkflowTypes:
        """Resolve all types now, as registering with an engine does; raises `DefinitionError` if one can't be."""
        return self.types

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that executions depend on: names, kinds, edges, routes and types.

        Labels, descriptions, retries, timeouts and bounds may change under one version; so may the order in which
        edges are written, and the modules in which types are defined. Resolves the types.
        """
        types = self.types
        steps = {name: self._semantics(step) for name, step in self.steps.items()}
        content = {
            "name": self.name,
            "start": self.start.name,
            "input": rendered(types.input),
            "output": rendered(types.output),
            "steps": steps,
        }
        return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()

    def reachable(self, step_name: str) -> frozenset[str]:
        """Return the names of the steps that can be arrived at after this one; its own only if it lies on a cycle."""
        known = cast("dict[str, frozenset[str]]", self.__dict__["_reachable"])
        if step_name not in known:
            known[step_name] = frozenset(reached([step_name], self._successors))
        return known[step_name]

    @cached_property
    def _successors(self) -> dict[str, list[str]]:
        return {name: [target.name for target in routes.values()] for name, routes in self.routes.items()}

    def _semantics(self, step: Step[Any, Any]) -> dict[str, Any]:
        types = self.types.steps[step.name]
        content: dict[str, Any] = {
            "kind": step.kind.value,
            "output": rendered(types.output),
            "signal": rendered(types.signal),
            "edges": {label: target.name for label, target in self.routes.get(step.name, {}).items()},
            "catch": [label for _, label in self.catches.get(step.name, ())],
        }
        if isinstance(step, Subworkflow):
            content["child"] = step.child.key
        return content

    def __format__(self, spec: str) -> str:
        """Draw the graph: as `"svg"`, as `"mermaid"` text, or as `"dot"` for Graphviz.

        Without a format it is the representation. Raises ValueError for any other format.
        """
        if not spec:
            return repr(self)
        if spec not in _FORMATS:
            message = f"a workflow has no format {quoted(spec)}; there is {', '.join(map(repr, _FORMATS))}"
            raise ValueError(message)
        return _FORMATS[spec](self.graph)

    def _repr_svg_(self) -> str:
        """Return the picture that a notebook shows."""
        return svg(self.graph)

    def __repr__(self) -> str:
        """Show name, version and size."""
        return f"<Workflow {self.name} {self.version}: {len(self.steps)} steps>"

    if not TYPE_CHECKING:  # pragma: no branch

        def __setattr__(self, name: str, value: object) -> None:
            """Refuse: a definition never changes."""
            if name != "__orig_class__":  # which `typing` sets on a subscripted class, after __init__
                message = f"a workflow can't be changed, so {name!r} can't be set; make another with another version"
                raise AttributeError(message)
            self.__dict__[name] = value

        def __delattr__(self, name: str) -> None:
            """Refuse: a definition never changes."""
            message = f"a workflow can't be changed, so {name!r} can't be deleted"
            raise AttributeError(message)


def _checked(start: object, table: Table) -> tuple[str, ...]:
    """Add to the table all that is wrong with its steps and its graph; return the steps to look at again later."""
    if table.is_too_large:
        return ()
    later = check_steps(table)
    table.problems += _check_children(table)
    if is_step(start):
        table.problems += check_graph(start.name, table)
    return tuple(sorted(later))


def _check_children(table: Table) -> Iterator[Problem]:
    for step in table.steps.values():
        if isinstance(step, Subworkflow):
            child: Any = step.child
            if not isinstance(child, Workflow):
                yield Problem("bad-child", step.name, f"@subworkflow takes a Workflow, not {shown(child)}")
            elif child.levels >= MOST_LEVELS:
                message = f"has workflows within workflows on more than {MOST_LEVELS} levels; make it fewer"
                yield Problem("too-many-levels", step.name, message)


def _node(step: Step[Any, Any]) -> GraphNode:
    retry = step.retry if isinstance(step, Activity | Decision) else None
    timeout = step.timeout.value if step.timeout is DEFAULT else step.timeout
    return GraphNode(step.name, step.kind, step.label, step.description, retry, timeout, step.max_visits)
