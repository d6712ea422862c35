from __future__ import annotations

import json
from itertools import pairwise
from typing import Any, Literal

from hypothesis import given
from hypothesis import strategies as st

from stepwell._context import Context
from stepwell._definition import StepKind, Workflow, activity, decision, fail, subworkflow, succeed, wait
from stepwell._graph import cycles, reached, reversed_edges
from stepwell._retry import Retry

Ctx = Context[Any]

names = st.integers(0, 7).map(str)
graphs = st.dictionaries(names, st.lists(names, max_size=4), max_size=8)


class CardDeclinedError(Exception):
    pass


@activity(label='Load "the" order', description="from the shop", retry=Retry(give_up_on=(KeyError,)), timeout=30)
def load(ctx: Ctx) -> None: ...


@decision(max_visits=3)
def route(ctx: Ctx) -> Literal["again", "on"]:
    return "on"


@wait(timeout=60)
def approval(ctx: Ctx, signal: str) -> Literal["yes"]:
    return "yes"


@succeed
def done(ctx: Ctx) -> None: ...


@fail(timeout=None)
def failed(ctx: Ctx) -> str:
    return "failed"


child = Workflow[Any, None]("child", version="1", start=done, edges=[])


@subworkflow(child)
def sub(ctx: Ctx) -> None: ...


def make(name: str = "all", **options: Any) -> Workflow[Any, None]:
    return Workflow[Any, None](
        name,
        version="1",
        start=load,
        edges=[
            load.then(route, catch={CardDeclinedError: failed}),
            route.to({"again": load, "on": approval}),
            approval.to({"yes": sub}, timeout=failed),
            sub.to(succeeded=done, failed=failed, cancelled=failed),
        ],
        **options,
    )


def test_a_graph_lists_all_nodes_and_edges() -> None:
    graph = make(label="All", description="every kind").graph
    assert (graph.workflow, graph.version, graph.label, graph.description) == ("all", "1", "All", "every kind")
    assert graph.start == "load"
    assert [(node.name, node.kind) for node in graph.nodes] == [
        ("load", StepKind.ACTIVITY),
        ("route", StepKind.DECISION),
        ("failed", StepKind.FAIL),
        ("approval", StepKind.WAIT),
        ("sub", StepKind.SUBWORKFLOW),
        ("done", StepKind.SUCCEED),
    ]
    assert [(edge.source, edge.target, edge.label) for edge in graph.edges] == [
        ("load", "route", "next"),
        ("load", "failed", "catch:CardDeclinedError"),
        ("route", "load", "again"),
        ("route", "approval", "on"),
        ("approval", "sub", "yes"),
        ("approval", "failed", "timeout"),
        ("sub", "done", "succeeded"),
        ("sub", "failed", "failed"),
        ("sub", "failed", "cancelled"),
    ]


def test_a_graph_is_made_once() -> None:
    workflow = make()
    assert workflow.graph is workflow.graph
    assert workflow.graph == make().graph


def test_a_graph_is_plain_json() -> None:
    plain = make().graph.to_json()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["edges"][0] == {"from": "load", "to": "route", "label": "next"}
    assert plain["nodes"][0] == {
        "name": "load",
        "kind": "activity",
        "label": 'Load "the" order',
        "description": "from the shop",
        "retry": {
            "max_attempts": 3,
            "backoff": 1.0,
            "multiplier": 2.0,
            "max_backoff": 300.0,
            "jitter": 0.1,
            "give_up_on": ["KeyError"],
        },
        "timeout": 30.0,
        "max_visits": 1,
    }


def test_a_node_tells_whose_timeout_it_has() -> None:
    timeouts = {node.name: node.timeout for node in make().graph.nodes}
    assert timeouts == {
        "load": 30.0, "route": "default", "failed": None, "approval": 60.0, "sub": "default", "done": "default"
    }  # fmt: skip


def test_only_steps_that_are_tried_again_have_a_retry() -> None:
    assert {node.name for node in make().graph.nodes if node.retry is not None} == {"load", "route"}


def test_without_a_format_it_is_the_representation() -> None:
    workflow = make()
    assert f"{workflow}" == repr(workflow) == "<Workflow all 1: 6 steps>"


def reference_reached(start: str, graph: dict[str, list[str]]) -> set[str]:
    found: set[str] = set()
    todo = list(graph.get(start, ()))
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += graph.get(name, ())
    return found


@given(graphs, names)
def test_what_is_reached_is_what_a_walk_finds(graph: dict[str, list[str]], start: str) -> None:
    assert reached([start], graph) == reference_reached(start, graph)


@given(graphs)
def test_reversed_edges_lead_back(graph: dict[str, list[str]]) -> None:
    back = reversed_edges(graph)
    assert {(a, b) for a, targets in graph.items() for b in targets} == {(a, b) for b in back for a in back[b]}


@given(graphs)
def test_there_is_one_cycle_for_each_knot(graph: dict[str, list[str]]) -> None:
    found = cycles(graph)
    for cycle in found:
        assert cycle[0] == cycle[-1]
        assert len(set(cycle)) == len(cycle) - 1
        assert all(after in graph[before] for before, after in pairwise(cycle))
    onward = {name: reference_reached(name, graph) for name in graph}
    mutual = {a: frozenset(b for b in graph if b in onward[a] and a in onward[b]) for a in graph}
    knots = set(mutual.values()) - {frozenset()}
    assert len(found) == len(knots)
    assert {mutual[cycle[0]] for cycle in found} == knots


def test_a_long_chain_needs_no_recursion() -> None:
    chain = {str(n): [str(n + 1)] for n in range(20_000)}
    assert cycles(chain) == []
    chain["20000"] = ["0"]
    assert [len(cycle) for cycle in cycles(chain)] == [20_002]
