"""What is wrong with edges and routes is told when the workflow is defined, with the step and a cure."""

from __future__ import annotations

from enum import Enum
from typing import Any, Literal

import pytest

from stepwell._definition import Edges, Workflow, activity, decision, fail, subworkflow, succeed, wait
from tests.unit.mistakes import (
    Ctx,
    approval,
    child,
    codes,
    denied,
    endless,
    lenient,
    load,
    paid,
    pay,
    problems,
    route,
    sub,
    undecorated,
)

# -- edges -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (undecorated, "undecorated is a plain function; decorate it"),
        ("pay", "'pay' is a string; pass the step itself"),
        ("lod", "'lod' is a string; pass the step itself; did you mean 'load'?"),
        (None, "None is not a step"),
        (child, "is not a step"),
        (42, "42 is not a step"),
    ],
)
def test_a_target_that_is_no_step_is_told_once(target: Any, text: str) -> None:
    (problem,) = problems(load, [load.then(target)])
    assert (problem.code, problem.step) == ("unknown-step", "load")
    assert text in problem.message


def test_a_start_that_is_no_step_is_told() -> None:
    (problem,) = problems(undecorated, [load.then(paid)])
    assert (problem.code, problem.step) == ("unknown-step", None)
    assert "undecorated is a plain function" in problem.message


def test_every_target_is_looked_at() -> None:
    edges: Any = [
        load.then(lenient("route"), catch={KeyError: lenient("denied")}),
        route.to({"auto": lenient(undecorated), "review": approval}),
        approval.to({"yes": lenient(None), "no": sub}, timeout=lenient("denied")),
        sub.to(succeeded=lenient(1), failed=lenient(2), cancelled=lenient(3)),
    ]
    assert codes(load, edges) == [
        ("unknown-step", "load"),
        ("unknown-step", "load"),
        ("unknown-step", "route"),
        ("unknown-step", "approval"),
        ("unknown-step", "approval"),
        ("unknown-step", "sub"),
        ("unknown-step", "sub"),
        ("unknown-step", "sub"),
    ]


@pytest.mark.parametrize("edges", [None, 5, "edges", {"load": paid}])
def test_edges_are_a_list(edges: Any) -> None:
    assert ("bad-edge", None) in codes(paid, edges)


@pytest.mark.parametrize("item", [paid, load, None, ("load", "paid"), undecorated])
def test_every_item_of_the_edges_is_what_then_and_to_return(item: Any) -> None:
    assert codes(load, [load.then(paid), item]) == [("bad-edge", None)]


def test_a_terminal_step_among_the_edges_is_told_to_have_none() -> None:
    (problem,) = problems(load, [load.then(paid), paid])
    assert "a terminal step has no edges" in problem.message


def test_a_terminal_step_has_no_edges() -> None:
    edge = Edges[Any, Any, Any](paid, (("next", load),))
    assert ("terminal-source", "paid") in codes(load, [load.then(paid), edge])


def test_two_steps_with_one_name_are_refused() -> None:
    twin = activity(name="load")(undecorated)
    assert codes(load, [load.then(twin), twin.then(paid)]) == [("duplicate-step", "load")]
    other = succeed(name="pay")(undecorated)
    assert codes(load, [load.then(pay), pay.then(other)]) == [("duplicate-step", "pay")]


def test_one_name_is_told_once_however_many_steps_have_it() -> None:
    twins = [fail(name="same")(undecorated) for _ in range(5)]
    step = decision(name="choose")(lambda ctx: "a")
    told = codes(step, [step.to({f"r{number}": twin for number, twin in enumerate(twins)})])
    assert told == [("duplicate-step", "same")]


def test_a_step_has_its_edges_once() -> None:
    assert codes(load, [load.then(paid), load.then(denied)]) == [("duplicate-edges", "load")]


# -- routes ------------------------------------------------------------------------------------------------------------


def test_a_route_without_an_edge_and_an_edge_without_a_route_are_told() -> None:
    told = problems(route, [route.to(lenient({"auto": paid, "deny": denied}))])
    assert [(problem.code, problem.step) for problem in told] == [("unknown-route", "route"), ("missing-edge", "route")]
    assert "'deny'" in told[0].message
    assert "it returns 'auto', 'review'" in told[0].message
    assert "'review'" in told[1].message


def test_the_routes_of_a_wait_are_checked_too() -> None:
    told = codes(approval, [approval.to(lenient({"yess": paid, "no": denied}), timeout=denied)])
    assert told == [("unknown-route", "approval"), ("missing-edge", "approval")]


def test_a_decision_without_edges_for_its_routes_is_told_of_each() -> None:
    assert codes(route, [route.to({})])[:2] == [("missing-edge", "route"), ("missing-edge", "route")]


@pytest.mark.parametrize("routes", [None, ["auto"], "auto", 5])
def test_routes_are_a_mapping(routes: Any) -> None:
    assert codes(route, [route.to(routes)]) == [("bad-edge", "route")]


@pytest.mark.parametrize("label", [None, 1, True, ("a",), "", "a\nb", "x" * 129, "\u202e"], ids=ascii)
def test_a_bad_route_is_refused(label: Any) -> None:
    step = decision(name="choose")(lambda ctx: "a")
    assert codes(step, [step.to({label: paid, "a": paid})]) == [("bad-route", "choose")]


class Way(Enum):
    A = "a"


def test_two_edges_for_one_route_are_refused() -> None:
    step = decision(name="choose")(lambda ctx: "a")
    assert codes(step, [step.to(lenient({Way.A: paid, "a": denied}))]) == [("duplicate-route", "choose")]


@pytest.mark.parametrize(
    "annotation", [None, int, bool, Literal["a"] | None, Literal[1], Literal["a", None], dict, Literal[b"a"]]
)
def test_an_annotation_that_allows_what_is_no_route_is_refused(annotation: Any) -> None:
    def choose(ctx: Any) -> Any: ...

    choose.__annotations__["return"] = annotation
    step = decision(choose)
    assert codes(step, [step.to({"a": paid})]) == [("bad-annotation", "choose")]


def test_the_route_of_a_timeout_is_reserved_in_a_wait() -> None:
    @wait
    def hear(ctx: Ctx, signal: str) -> Literal["timeout"]:
        return "timeout"

    assert ("reserved-route", "hear") in codes(hear, [hear.to({"timeout": paid})])

    @decision
    def choose(ctx: Ctx) -> Literal["timeout"]:
        return "timeout"

    assert Workflow("w", version="1", start=choose, edges=[choose.to({"timeout": paid})]).routes["choose"]


def test_a_timeout_needs_a_route_and_the_reverse() -> None:
    assert codes(approval, [approval.to({"yes": paid, "no": denied})]) == [("timeout-without-route", "approval")]
    assert codes(endless, [endless.to({"yes": paid}, timeout=denied)]) == [("route-without-timeout", "endless")]


@pytest.mark.parametrize("missing", ["succeeded", "failed", "cancelled"])
def test_every_end_of_a_child_needs_a_route(missing: str) -> None:
    ends: dict[str, Any] = {"succeeded": paid, "failed": denied, "cancelled": denied}
    (problem,) = problems(sub, [sub.to(**{**ends, missing: lenient(None)})])
    assert (problem.code, problem.step) == ("missing-child-route", "sub")
    assert missing in problem.message
    del ends[missing]
    with pytest.raises(TypeError, match=missing):
        sub.to(**ends)


@pytest.mark.parametrize("workflow", [None, "child", load, Workflow, undecorated])
def test_a_child_is_a_workflow(workflow: Any) -> None:
    step: Any = subworkflow(workflow)(undecorated)
    edges = [step.to(succeeded=paid, failed=denied, cancelled=denied)]
    assert codes(step, edges) == [("bad-child", "undecorated")]


@pytest.mark.parametrize(
    "catch", [5, "KeyError", [KeyError], {"KeyError": denied}, {KeyError(): denied}, {int: denied}]
)
def test_a_catch_is_a_mapping_of_exception_classes(catch: Any) -> None:
    assert codes(load, [load.then(paid, catch=catch)]) == [("bad-catch", "load")]


def test_a_catch_that_never_matches_is_refused() -> None:
    (problem,) = problems(load, [load.then(paid, catch={LookupError: denied, KeyError: denied})])
    assert (problem.code, problem.step) == ("shadowed-catch", "load")
    assert "never gets to KeyError" in problem.message
    edges = [load.then(paid, catch={KeyError: denied, LookupError: denied})]
    assert len(Workflow("w", version="1", start=load, edges=edges).catches["load"]) == 2
