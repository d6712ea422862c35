from __future__ import annotations

import copy
import pickle
from collections.abc import AsyncIterator, Callable, Iterator
from enum import Enum
from time import perf_counter
from typing import Any, Literal

import pytest

from stepwell._context import Context
from stepwell._definition import (
    DEFAULT,
    Edges,
    Workflow,
    activity,
    decision,
    fail,
    subworkflow,
    succeed,
    wait,
)
from stepwell._errors import DefinitionError, Problem, StepwellError
from stepwell._retry import Retry

Ctx = Context[Any]


@activity
def load(ctx: Ctx) -> None: ...


@activity
def pay(ctx: Ctx) -> None: ...


@decision
def route(ctx: Ctx) -> Literal["auto", "review"]:
    return "auto"


@wait(timeout=60)
def approval(ctx: Ctx, signal: str) -> Literal["yes", "no"]:
    return "yes"


@wait
def endless(ctx: Ctx, signal: str) -> Literal["yes"]:
    return "yes"


@succeed
def paid(ctx: Ctx) -> None: ...


@fail
def denied(ctx: Ctx) -> None: ...


def undecorated(ctx: Ctx) -> None: ...


child = Workflow[Any, None]("child", version="1", start=paid, edges=[])


@subworkflow(child)
def sub(ctx: Ctx) -> None: ...


def problems(start: Any = load, edges: Any = (), name: Any = "w", version: Any = "1", **options: Any) -> list[Problem]:
    """Return what is wrong with a definition, which must be something."""
    with pytest.raises(DefinitionError) as caught:
        Workflow(name, version=version, start=start, edges=edges, **options)
    return list(caught.value.problems)


def codes(start: Any = load, edges: Any = (), **options: Any) -> list[tuple[str, str | None]]:
    return [(problem.code, problem.step) for problem in problems(start, edges, **options)]


def lenient(value: Any) -> Any:
    """Hide a value from the type checkers, which find these mistakes too."""
    return value


def one_step(decorator: Callable[[Any], Any], handler: Any = undecorated) -> list[Problem]:
    step = decorator(handler)
    return problems(step, [step.then(paid)])


# -- the error itself --------------------------------------------------------------------------------------------------


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(DefinitionError) as caught:
        Workflow(
            "w w",
            version=lenient(1),
            start=load,
            edges=[load.then(route), route.to(lenient({"auto": pay, "reviw": endless})), endless.to({"yes": paid})],
        )
    assert str(caught.value).splitlines() == [
        "workflow 'w w' has 5 problems:",
        "  [bad-name] a workflow's name must be a letter or _, then up to 127 letters, digits or any of _ . -, "
        "not 'w w'",
        "  [bad-version] the version must be a string, such as version='1', not 1",
        "  [unknown-route] step 'route': has an edge for 'reviw', which its return annotation does not allow; "
        "did you mean 'review'?",
        "  [missing-edge] step 'route': may return 'review', for which it has no edge; "
        "add 'review': <a step> to its .to(…)",
        "  [dead-end] step 'pay': has no edges; add what its .then(…) returns to edges=",
    ]


def test_a_definition_error_is_a_value_error_with_its_problems() -> None:
    error = DefinitionError("w", (Problem("dead-end", "a", "has no edges"),))
    assert isinstance(error, StepwellError)
    assert isinstance(error, ValueError)
    assert str(error) == "workflow 'w' has a problem:\n  [dead-end] step 'a': has no edges"


def test_a_definition_error_can_be_pickled_and_copied() -> None:
    error = DefinitionError("w", (Problem("dead-end", "a", "has no edges"),))
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301 - our own bytes
        assert twin.problems == error.problems
        assert str(twin) == str(error)


def test_many_problems_are_told_in_part_and_kept_whole() -> None:
    steps = [activity(name=f"s{number}")(undecorated) for number in range(200)]
    with pytest.raises(DefinitionError) as caught:
        Workflow("w", version="1", start=paid, edges=[step.then(paid) for step in steps])
    assert len(caught.value.problems) == 200
    assert str(caught.value).endswith("… and 150 more, in .problems")


def test_a_decorator_does_not_raise() -> None:
    assert activity(lenient(42)).problems
    assert decision(name="no good", retry=0, timeout=-1, max_visits=0)(route.function).problems


# -- names and texts ---------------------------------------------------------------------------------------------------

BAD_NAMES = [
    "", "9a", "a b", "a\n", "a\0", "a/b", "../x", "é", "naïve", "a'", 'a"', "a%", "x" * 129, "\u202ea", "\ud800",
    "a\u200b", "\uff4coad", " a", "a ", "-a", ".a", 5, b"a", ["a"], True,
]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
def test_a_bad_name_is_refused_and_shown_in_ascii(name: Any) -> None:
    told = problems(paid, name=name)
    assert [problem.code for problem in told] == ["bad-name"]
    assert str(DefinitionError(name, tuple(told))).isascii() or "…" in str(told[0])

    step = activity(name=name)(undecorated)
    told = problems(step, [step.then(paid)])
    assert [problem.code for problem in told] == ["bad-name"]
    assert str(told[0]).replace("…", "").isascii()


@pytest.mark.parametrize("name", ["a", "_", "A9", "load_order", "a.b-c", "x" * 128])
def test_a_good_name_is_taken(name: str) -> None:
    step = activity(name=name)(undecorated)
    assert name in Workflow(name, version="1", start=step, edges=[step.then(paid)]).steps


def test_a_lambda_needs_a_name() -> None:
    nameless: Callable[[Ctx], None] = lambda ctx: None  # noqa: E731
    (problem,) = one_step(activity, nameless)
    assert problem.code == "bad-name"
    assert "pass name=" in problem.message


@pytest.mark.parametrize(
    "version", ["", " ", "1 ", "a\nb", "\0", "x" * 129, 1, 1.0, None, True, b"1", "\ud800"], ids=ascii
)
def test_a_bad_version_is_refused(version: Any) -> None:
    assert codes(paid, version=version) == [("bad-version", None)]


@pytest.mark.parametrize("version", ["1", "2026-01-31", "v1.2+build", "première édition"])
def test_any_printable_text_is_a_version(version: str) -> None:
    assert Workflow("w", version=version, start=paid, edges=[]).version == version


def test_labels_and_descriptions_are_texts() -> None:
    assert codes(paid, label=5, description=b"x") == [("bad-label", None), ("bad-label", None)]
    step = activity(label=lenient(5), description=lenient(None))(undecorated)
    assert codes(step, [step.then(paid)]) == [("bad-label", "undecorated"), ("bad-label", "undecorated")]


# -- options of steps --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("retry", [0, -1, "3", True, None, 2.5, float("nan"), float("inf"), [3]])
def test_a_bad_retry_is_refused(retry: Any) -> None:
    assert [problem.code for problem in one_step(activity(retry=retry))] == ["bad-retry"]


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), "30s", True, 10**12, [1]])
def test_a_bad_timeout_is_refused(timeout: Any) -> None:
    assert [problem.code for problem in one_step(activity(timeout=timeout))] == ["bad-timeout"]


def test_a_wait_has_no_default_timeout() -> None:
    step = wait(timeout=lenient(DEFAULT))(endless.function)
    assert codes(step, [step.to({"yes": paid}, timeout=paid)]) == [("bad-timeout", "endless")]


@pytest.mark.parametrize("max_visits", [0, -1, 1.5, "2", True, None])
def test_a_bad_bound_is_refused(max_visits: Any) -> None:
    assert [problem.code for problem in one_step(activity(max_visits=max_visits))] == ["bad-max-visits"]


@pytest.mark.parametrize("transactional", [1, "yes", None])
def test_what_is_transactional_is_so_or_not(transactional: Any) -> None:
    (problem,) = one_step(activity(transactional=transactional))
    assert problem.code == "bad-transactional"
    assert "must be True or False" in problem.message


def test_a_transactional_activity_must_not_run_in_a_thread() -> None:
    def blocking(ctx: Ctx) -> None: ...

    (problem,) = one_step(activity(transactional=True), blocking)
    assert problem.code == "bad-transactional"
    assert "takes an `async def`" in problem.message


def test_a_transactional_activity_that_is_no_handler_has_that_problem_alone() -> None:
    assert [problem.code for problem in one_step(activity(transactional=True), 42)] == ["bad-handler"]


def test_everything_wrong_with_one_step_is_told() -> None:
    told = one_step(activity(name="no good", retry=0, timeout=0, max_visits=0, label=lenient(1)), lenient(None))
    assert {problem.code for problem in told} == {
        "bad-name", "bad-handler", "bad-retry", "bad-timeout", "bad-max-visits", "bad-label"
    }  # fmt: skip


# -- handlers ----------------------------------------------------------------------------------------------------------


def generator(ctx: Ctx) -> Iterator[int]:
    yield 1


async def async_generator(ctx: Ctx) -> AsyncIterator[int]:
    yield 1


def no_parameter() -> None: ...


def too_many(ctx: Ctx, key: str) -> None: ...


def keyword_only(ctx: Ctx, *, key: str) -> None: ...


def only_keywords(**options: Any) -> None: ...


class Handler:
    def __init__(self, ctx: Ctx) -> None: ...


@pytest.mark.parametrize(
    ("handler", "text"),
    [
        (42, "42 is not callable"),
        ("load", "'load' is not callable"),
        (Handler, "the class Handler is no handler"),
        (generator, "is a generator"),
        (async_generator, "is a generator"),
        (no_parameter, "takes ()"),
        (too_many, "nothing provides 'key'"),
        (keyword_only, "nothing provides 'key'"),
        (only_keywords, "takes (options)"),
    ],
)
def test_a_handler_that_can_not_be_called_is_refused(handler: Any, text: str) -> None:
    (problem,) = one_step(activity, handler)
    assert problem.code == "bad-handler"
    assert text in problem.message


def test_a_coroutine_that_was_made_already_is_no_handler() -> None:
    async def call() -> None: ...

    coroutine = call()
    try:
        (problem,) = one_step(activity, coroutine)
    finally:
        coroutine.close()
    assert "was called already; pass the function" in problem.message


def test_a_wait_takes_the_signal_too() -> None:
    step = wait(lenient(undecorated))
    (problem,) = problems(step, [step.to({"a": paid})])
    assert problem.code == "bad-handler"
    assert "context and signal" in problem.message


def starred(*arguments: Any) -> None: ...


def defaulted(ctx: Ctx, key: str = "") -> None: ...


@pytest.mark.parametrize("handler", [starred, defaulted, print])
def test_a_handler_may_take_more_than_it_is_given(handler: Any) -> None:
    step = activity(handler)
    assert Workflow("w", version="1", start=step, edges=[step.then(paid)]).steps[step.name] is step


def test_calling_a_step_whose_handler_is_none_tells_why() -> None:
    step: Any = activity(lenient("load"))
    with pytest.raises(TypeError, match="'load' is not callable"):
        step(undecorated)


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


# -- the whole graph ---------------------------------------------------------------------------------------------------


def test_a_step_that_can_not_be_reached_is_told() -> None:
    assert codes(load, [load.then(paid), pay.then(denied)]) == [
        ("unreachable-step", "pay"),
        ("unreachable-step", "denied"),
    ]


def test_what_is_behind_a_broken_edge_is_not_told_to_be_unreachable() -> None:
    assert codes(load, [load.then(lenient(undecorated)), pay.then(denied)]) == [("unknown-step", "load")]


def test_a_step_without_edges_is_a_dead_end() -> None:
    (problem,) = problems(route, [route.to({"auto": paid, "review": pay})])
    assert (problem.code, problem.step) == ("dead-end", "pay")
    assert ".then(…)" in problem.message
    (problem,) = problems(load, [load.then(approval, catch={KeyError: denied})])
    assert (problem.code, problem.step) == ("dead-end", "approval")
    assert ".to(…)" in problem.message


def test_a_workflow_without_an_end_is_told() -> None:
    loop = activity(name="loop", max_visits=2)(undecorated)
    assert codes(loop, [loop.then(load), load.then(loop)]) == [("no-terminal", None)]
    assert codes(load, []) == [("dead-end", "load"), ("no-terminal", None)]


def test_steps_that_never_come_to_an_end_are_told_together() -> None:
    loop = activity(name="loop", max_visits=2)(undecorated)
    (problem,) = problems(route, [route.to({"auto": paid, "review": loop}), loop.then(load), load.then(loop)])
    assert (problem.code, problem.step) == ("dead-end", "loop")
    assert "'loop', 'load'" in problem.message


def test_a_cycle_needs_a_bound() -> None:
    @decision
    def again(ctx: Ctx) -> Literal["back", "on"]:
        return "on"

    (problem,) = problems(load, [load.then(again), again.to({"back": load, "on": paid})])
    assert (problem.code, problem.step) == ("unbounded-cycle", "load")
    assert "load → again → load" in problem.message
    assert "max_visits" in problem.message


@pytest.mark.parametrize("bounded", ["load", "again"])
def test_a_cycle_through_a_bounded_step_is_legal(bounded: str) -> None:
    first = activity(name="load", max_visits=3 if bounded == "load" else 1)(undecorated)
    again = decision(name="again", max_visits=3 if bounded == "again" else 1)(lambda ctx: "on")
    edges = [first.then(again), again.to({"back": first, "on": paid})]
    assert Workflow("w", version="1", start=first, edges=edges).reachable("again") == {"load", "again", "paid"}


def test_a_bound_in_one_cycle_does_not_bound_another() -> None:
    bounded = activity(name="bounded", max_visits=3)(undecorated)
    again = decision(name="again")(lambda ctx: "on")
    edges = [load.then(again), again.to({"a": bounded, "b": load, "on": paid}), bounded.then(load)]
    assert codes(load, edges) == [("unbounded-cycle", "load")]


def test_a_step_that_leads_to_itself_is_a_cycle() -> None:
    again = decision(name="again")(lambda ctx: "on")
    (problem,) = problems(again, [again.to({"back": again, "on": paid})])
    assert problem.code == "unbounded-cycle"
    assert "again → again" in problem.message


def test_every_knot_is_told_of_and_a_long_cycle_is_shown_in_part() -> None:
    steps = [activity(name=f"s{number}")(undecorated) for number in range(50)]
    leave = decision(name="leave")(lambda ctx: "on")
    itself = decision(name="itself")(lambda ctx: "on")
    edges = [step.then(target) for step, target in zip(steps, [*steps[1:], leave], strict=True)]
    tail = [leave.to({"back": steps[0], "on": itself}), itself.to({"back": itself, "on": paid})]
    told = problems(steps[0], [*edges, *tail])
    assert [problem.code for problem in told] == ["unbounded-cycle", "unbounded-cycle"]
    assert "…" in " ".join(problem.message for problem in told)


def test_too_many_steps_are_refused_before_anything_else_is_looked_at() -> None:
    steps = [activity(name=f"s{number}")(undecorated) for number in range(20_000)]
    edges = [step.then(target) for step, target in zip(steps, [*steps[1:], paid], strict=True)]
    (problem,) = problems(steps[0], edges)
    assert problem.code == "too-many-steps"
    assert "10,000" in problem.message


def test_many_mistakes_are_found_in_linear_time() -> None:
    steps = [decision(name=f"s{number}")(route.function) for number in range(5_000)]
    edges = [step.to(lenient({"auto": f"s{number + 1}x"})) for number, step in enumerate(steps)]
    before = perf_counter()
    told = problems(steps[0], edges)
    assert {problem.code for problem in told} == {"unknown-step", "missing-edge"}
    assert perf_counter() - before < 5


def test_a_wrong_policy_is_told_where_it_is_made() -> None:
    with pytest.raises(ValueError, match="bad Retry"):
        Retry(max_attempts=0)
