"""Everything that can be wrong with a definition, found at once.

Rule 1: each mistake is told once. What only follows from another problem (the target of a broken edge can't be
reached) is not told, for mending the one mends the other.
Rule 2: time is linear in the size of the graph; a graph that is too large is refused before it is looked at.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeGuard

from stepwell._definition._making import NAME_RULE, is_name
from stepwell._definition._steps import RESERVED, TIMEOUT, Edges, Step, is_step, shown
from stepwell._definition._types import Unresolved, declared_routes, returned
from stepwell._errors import Problem, quoted
from stepwell._graph import StepKind, cycles, reached, reversed_edges

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_STEPS: Final = 10_000
MOST_EDGES: Final = 100_000
MOST_LEVELS: Final = 50
"""of workflows within workflows"""
_LISTED: Final = 10
_COMPARED: Final = 200
_VERSION_LENGTH: Final = 128


@dataclass(slots=True)
class Table:
    """The steps and edges of a workflow while they are being gathered, and what was wrong with them on the way."""

    steps: dict[str, Step[Any, Any]] = field(default_factory=dict[str, Step[Any, Any]])
    routes: dict[str, dict[str, Step[Any, Any]]] = field(default_factory=dict[str, dict[str, Step[Any, Any]]])
    catches: dict[str, tuple[tuple[type[BaseException], str], ...]] = field(
        default_factory=dict[str, tuple[tuple[type[BaseException], str], ...]]
    )
    broken: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    """by step, the routes whose target is no step"""
    incomplete: set[str | None] = field(default_factory=set[str | None])
    """the steps of which some edges were refused; None if it is not known of which"""
    namesakes: set[str] = field(default_factory=set[str])
    problems: list[Problem] = field(default_factory=list[Problem])
    is_too_large: bool = False
    """so that nothing else is looked at"""

    @property
    def successors(self) -> dict[str, list[str]]:
        """For each step, the steps that may follow it, each once."""
        return {name: list({target.name: None for target in routes.values()}) for name, routes in self.routes.items()}

    @property
    def is_whole(self) -> bool:
        """Whether no edge is lost."""
        return not self.broken and not self.incomplete and not self.namesakes

    def may_end(self, name: str) -> bool:
        """Whether a step has no edges, or lost some, so that nobody knows what follows it."""
        return name not in self.routes or name in self.broken or name in self.incomplete or name in self.namesakes

    def tell(self, code: str, step: str | None, message: str) -> None:
        """Add a problem."""
        self.problems.append(Problem(code, step, message))


def check_header(name: object, version: object, label: object, description: object) -> Iterator[Problem]:
    """Yield what is wrong with a workflow's name, version and texts."""
    if not is_name(name):
        yield Problem("bad-name", None, f"a workflow's name {NAME_RULE}, not {quoted(name)}")
    if not isinstance(version, str):
        yield Problem("bad-version", None, f"the version must be a string, such as version='1', not {quoted(version)}")
    elif not 1 <= len(version) <= _VERSION_LENGTH or not version.isprintable() or version != version.strip():
        rule = f"must be 1 to {_VERSION_LENGTH} printable characters without spaces around them"
        yield Problem("bad-version", None, f"the version {rule}, not {quoted(version)}")
    for what, text in (("label", label), ("description", description)):
        if text is not None and not isinstance(text, str):
            yield Problem("bad-label", None, f"{what} must be a string, not {quoted(text)}")


def tabulate(start: object, edges: object) -> Table:
    """Gather all steps and edges into a table, with the problems of each handle and each set of edges."""
    table = Table()
    given = _listed(edges, table)
    sources = {edge.source.name for edge in given}
    if is_step(start):
        _add(start, table)
    else:
        table.tell("unknown-step", None, f"start= must be a step: {_not_a_step(start, sources)}")
        table.incomplete.add(None)
    count = 0
    for edge in given:
        count += len(edge.targets)
        if len(table.steps) > MOST_STEPS or count > MOST_EDGES:
            break
        _add_edges(edge, table, sources)
    for what, number, most in (("steps", len(table.steps), MOST_STEPS), ("edges", count, MOST_EDGES)):
        if number > most:
            message = f"a workflow has at most {most:,} {what}; split it into subworkflows"
            table.problems = [Problem(f"too-many-{what}", None, message)]
            table.is_too_large = True
            break
    return table


def _listed(edges: object, table: Table) -> list[Edges[Any, Any, Any]]:
    if not _is_listed(edges):
        table.tell("bad-edge", None, f"edges= takes a list of what .then(…) and .to(…) return, not {quoted(edges)}")
        table.incomplete.add(None)
        return []
    found: list[Edges[Any, Any, Any]] = []
    for item in edges:
        if _is_edges(item):
            found.append(item)
            continue
        hint = "; a terminal step has no edges" if is_step(item) and item.is_terminal else ""
        table.tell("bad-edge", None, f"edges= takes what .then(…) and .to(…) return, not {shown(item)}{hint}")
        table.incomplete.add(None)
    return found


def _is_listed(value: object) -> TypeGuard[Iterable[object]]:
    return isinstance(value, Iterable) and not isinstance(value, str | Mapping)


def _is_edges(value: object) -> TypeGuard[Edges[Any, Any, Any]]:
    return isinstance(value, Edges)


def _add(step: Step[Any, Any], table: Table) -> None:
    known = table.steps.setdefault(step.name, step)
    if known is step:
        return
    if step.name not in table.namesakes:
        table.namesakes.add(step.name)
        table.tell("duplicate-step", step.name, "is the name of two different steps; give one another with name=…")


def _add_edges(edge: Edges[Any, Any, Any], table: Table, sources: set[str]) -> None:
    source = edge.source
    _add(source, table)
    if source.is_terminal:
        table.tell(
            "terminal-source", source.name, f"is a {source.kind} step, in which the execution ends; it has no edges"
        )
    if source.name in table.routes and table.steps[source.name] is source:
        table.tell("duplicate-edges", source.name, "is given edges twice; put all of them into one .then(…) or .to(…)")
        table.incomplete.add(source.name)
    routes = table.routes.setdefault(source.name, {})
    table.problems += edge.problems
    if edge.problems:
        table.incomplete.add(source.name)
    for label, target in edge.targets:
        if is_step(target):
            routes.setdefault(label, target)
            _add(target, table)
        else:
            message = f"the edge {quoted(label)} leads to no step: {_not_a_step(target, sources)}"
            table.tell("unknown-step", source.name, message)
            table.broken.setdefault(source.name, set()).add(label)
    if edge.catches:
        table.catches[source.name] = edge.catches


def _not_a_step(value: object, names: Collection[str]) -> str:
    if isinstance(value, str):
        return f"{quoted(value)} is a string; pass the step itself{_did_you_mean(value, names)}"
    name = getattr(value, "__qualname__", None)
    if callable(value) and isinstance(name, str):
        return f"{name} is a plain function; decorate it, for example with @activity"
    return f"{quoted(value)} is not a step; decorate a function, for example with @activity"


def _did_you_mean(word: str, known: Collection[str]) -> str:
    if len(known) > _COMPARED:  # each comparison is slow, and there may be as many mistakes as names
        return ""
    close = difflib.get_close_matches(word[:_VERSION_LENGTH], known, n=1)
    return f"; did you mean {quoted(close[0])}?" if close else ""


def check_steps(table: Table) -> set[str]:
    """Add the problems of each step by itself; return the steps whose routes can't be resolved yet."""
    unresolved: set[str] = set()
    for step in table.steps.values():
        table.problems += step.problems
        if step.kind is StepKind.WAIT:
            table.problems += _check_timeout(step, table)
        if not step.is_terminal and step.name not in table.routes:
            how = ".then(…)" if hasattr(step, "then") else ".to(…)"
            table.tell("dead-end", step.name, f"has no edges; add what its {how} returns to edges=")
            continue
        try:
            labels = {*table.routes.get(step.name, ()), *table.broken.get(step.name, ())}
            table.problems += check_routes(step, labels, complete=step.name not in table.incomplete)
        except Unresolved:
            unresolved.add(step.name)
    return unresolved


def check_routes(step: Step[Any, Any], labels: Collection[str], *, complete: bool = True) -> list[Problem]:
    """Return what is wrong between the routes that a decision or wait may return and its edges.

    With edges that are not *complete* (some were refused), a missing one is not told. Raises `Unresolved` if the return
    annotation can't be resolved.
    """
    if step.kind not in (StepKind.DECISION, StepKind.WAIT) or step.problems:
        return []
    try:
        declared = declared_routes(returned(step.function))
    except TypeError as error:
        return [Problem("bad-annotation", step.name, str(error))]
    if declared is None:
        return []
    reserved = step.kind is StepKind.WAIT and TIMEOUT in declared
    problems = [Problem("reserved-route", step.name, RESERVED)] if reserved else []
    own = [label for label in labels if not (label == TIMEOUT and step.kind is StepKind.WAIT)]
    for label in sorted(set(own).difference(declared)):
        hint = _did_you_mean(label, declared) or f"; it returns {_list(declared)}"
        message = f"has an edge for {quoted(label)}, which its return annotation does not allow{hint}"
        problems.append(Problem("unknown-route", step.name, message))
    for label in declared if complete else ():
        if label not in labels:
            message = (
                f"may return {quoted(label)}, for which it has no edge; add {quoted(label)}: <a step> to its .to(…)"
            )
            problems.append(Problem("missing-edge", step.name, message))
    return problems


def _check_timeout(step: Step[Any, Any], table: Table) -> Iterator[Problem]:
    routed = TIMEOUT in table.routes.get(step.name, ()) or TIMEOUT in table.broken.get(step.name, ())
    if step.timeout is not None and not routed and step.name in table.routes:
        yield Problem(
            "timeout-without-route", step.name, "has a timeout and no edge for it; add timeout=<a step> to its .to(…)"
        )
    if step.timeout is None and routed:
        yield Problem(
            "route-without-timeout", step.name, "has an edge for its timeout and none; add timeout=… to its @wait"
        )


def check_graph(start: str, table: Table) -> Iterator[Problem]:
    """Yield what is wrong with the whole: steps that can't be reached or never end, and cycles without a bound."""
    successors = table.successors
    found = {start, *reached([start], successors)}
    if table.is_whole:  # what is behind a broken edge is not lost, only not found
        for name in table.steps:
            if name not in found:
                yield Problem(
                    "unreachable-step", name, f"can't be reached from the start, {quoted(start)}; add an edge"
                )
    terminal = [step.name for step in table.steps.values() if step.is_terminal]
    open_ended = [name for name in table.steps if table.may_end(name)]
    ended = {*open_ended, *reached(open_ended, reversed_edges(successors))}
    stuck = [name for name in table.steps if name in found and name not in ended]
    if table.is_whole and not found.intersection(terminal):
        yield Problem(
            "no-terminal", None, "no succeed or fail step can be reached from the start; no execution would end"
        )
    elif stuck:
        yield Problem("dead-end", stuck[0], f"no succeed or fail step can be reached from {_list(stuck)}")
    once = {
        name: [target for target in targets if table.steps[target].max_visits == 1]
        for name, targets in successors.items()
        if table.steps[name].max_visits == 1
    }
    for cycle in cycles(once) if not table.namesakes else ():
        shown = cycle if len(cycle) <= _LISTED else [*cycle[:_LISTED], "…", cycle[-1]]
        message = f"the cycle {' → '.join(shown)} has no bound; give one of its steps max_visits=n"
        yield Problem("unbounded-cycle", cycle[0], message)


def _list(names: Collection[str]) -> str:
    shown = [quoted(name) for _, name in zip(range(_LISTED), names, strict=False)]
    return ", ".join(shown) + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")
