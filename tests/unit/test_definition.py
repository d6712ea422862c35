"""Steps, routes and workflows as they are defined."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from datetime import timedelta
from enum import Enum
from time import perf_counter
from typing import Any, Literal

import pytest

from stepwell._context import Context
from stepwell._definition import (
    DEFAULT,
    Activity,
    Decision,
    Fail,
    Step,
    StepKind,
    Subworkflow,
    Succeed,
    Wait,
    Workflow,
    activity,
    decision,
    fail,
    route_label,
    subworkflow,
    succeed,
    wait,
)
from stepwell._retry import Retry
from tests.unit.refund import (
    REFUND_EDGES,
    CardDeclinedError,
    Colour,
    Ctx,
    Number,
    Order,
    Request,
    approval,
    denied,
    load,
    paid,
    pay,
    refund,
    route,
)


class Text(Enum):
    X = "x"


class Pair(Enum):
    A = (1, 2)


# -- steps -------------------------------------------------------------------------------------------------------------


def test_a_decorator_makes_a_handle_of_its_kind() -> None:
    child = refund()

    @subworkflow(child)
    def sub(ctx: Ctx) -> Request:
        return Request(1)

    kinds = {
        Activity: load, Decision: route, Wait: approval, Subworkflow: sub, Succeed: paid, Fail: denied
    }  # fmt: skip
    for kind, step in kinds.items():
        assert isinstance(step, kind | Step)
        assert step.kind == kind.__name__.lower()
    assert sub.child is child
    assert [step.kind for step in kinds.values()] == list(StepKind)


def test_a_step_is_named_after_its_function_unless_it_is_named() -> None:
    @activity(name="other", label="Other", description="something else")
    def one(ctx: Ctx) -> None: ...

    assert (load.name, load.label, load.description) == ("load", "load", "")
    assert (one.name, one.label, one.description) == ("other", "Other", "something else")
    assert repr(one) == "<activity other>"


def test_a_step_has_one_attempt_one_visit_and_the_timeout_of_the_engine_unless_told_otherwise() -> None:
    assert (load.retry.max_attempts, load.max_visits, load.timeout) == (1, 1, DEFAULT)
    assert repr(DEFAULT) == "DEFAULT"

    @activity(retry=5, timeout=timedelta(minutes=1), max_visits=3)
    def busy(ctx: Ctx) -> None: ...

    assert (busy.retry, busy.timeout, busy.max_visits) == (Retry.of(5), 60.0, 3)


def test_a_policy_and_no_timeout_are_taken_as_they_are() -> None:
    policy = Retry(4)

    @decision(retry=policy, timeout=None)
    def choose(ctx: Ctx) -> str:
        return "a"

    assert choose.retry is policy
    assert choose.timeout is None


def test_a_wait_waits_for_ever_unless_told_otherwise() -> None:
    @wait
    def endless(ctx: Ctx, signal: int) -> str:
        return "a"

    assert endless.timeout is None
    assert approval.timeout == 604_800.0


def test_every_decorator_can_be_called_without_arguments() -> None:
    assert isinstance(activity()(load.function), Activity)
    assert isinstance(decision()(route.function), Decision)
    assert isinstance(wait()(approval.function), Wait)
    assert isinstance(succeed()(paid.function), Succeed)
    assert isinstance(fail()(denied.function), Fail)


def test_a_step_can_not_be_changed() -> None:
    with pytest.raises(AttributeError):
        load.name = "other"  # type: ignore[misc] # pyright: ignore[reportAttributeAccessIssue]


def test_two_handles_of_one_function_are_not_equal() -> None:
    assert activity(pay.function) != activity(pay.function)
    assert len({load, load, pay}) == 2


def test_a_step_is_called_like_its_function() -> None:
    context = Context(Request(3))
    assert asyncio.run(load(context)) == Order(3)
    assert pay(Context(Request(3), outputs={load: Order(4)})) == 4
    assert route(context) == "auto"
    assert approval(context, Order(0)) == "no"
    assert paid(Context(Request(3), outputs={pay: 4})) == 4
    assert denied(context) == "denied"
    assert subworkflow(refund())(lambda ctx: Request(ctx.attempt))(context) == Request(1)


def test_calling_an_async_step_gives_a_coroutine_even_if_its_function_gives_another_awaitable() -> None:
    async def inner(ctx: Ctx) -> int:
        return 5

    @functools.wraps(inner)
    def wrapper(ctx: Ctx) -> Awaitable[int]:
        class Later:
            def __await__(self) -> Any:
                return inner(ctx).__await__()

        return Later()

    step = activity(wrapper)
    assert step.is_async
    assert asyncio.run(step(Context(None))) == 5


class Callables:
    async def method(self, ctx: Ctx) -> Order:
        return Order(1)

    def plain_method(self, ctx: Ctx) -> Order:
        return Order(1)


class AsyncCallable:
    async def __call__(self, ctx: Ctx) -> Order:
        return Order(1)


class PlainCallable:
    def __call__(self, ctx: Ctx) -> Order:
        return Order(1)


async def keyed(ctx: Ctx, key: str) -> Order:
    return Order(len(key))


def traced(function: Callable[[Ctx], Any]) -> Callable[[Ctx], Any]:
    @functools.wraps(function)
    def wrapper(ctx: Ctx) -> Any:
        return function(ctx)

    return wrapper


@pytest.mark.parametrize(
    ("handler", "is_async", "name"),
    [
        (load.function, True, "load"),
        (pay.function, False, "pay"),
        (functools.partial(keyed, key="k"), True, "keyed"),
        (functools.partial(functools.partial(keyed), key="k"), True, "keyed"),
        (Callables().method, True, "method"),
        (Callables().plain_method, False, "plain_method"),
        (AsyncCallable(), True, "AsyncCallable"),
        (functools.partial(AsyncCallable()), True, "AsyncCallable"),
        (PlainCallable(), False, "PlainCallable"),
        (traced(load.function), True, "load"),
        (traced(pay.function), False, "pay"),
    ],
)
def test_a_handler_is_seen_through_what_wraps_it(handler: Any, is_async: bool, name: str) -> None:  # noqa: FBT001
    step = activity(handler)
    assert (step.is_async, step.name, step.problems) == (is_async, name, ())
    output = Workflow[Any, Any]("w", version="1", start=step, edges=[step.then(paid)]).types.steps[name].output
    assert output in {Order, int}


# -- routes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "label"), [("auto", "auto"), (Colour.RED, "red"), (Number.TWO, "2"), (Text.X, "x")])
def test_a_route_is_a_string_or_an_enum_member(value: object, label: str) -> None:
    assert route_label(value) == label
    assert type(route_label(value)) is str


@pytest.mark.parametrize("value", [None, 1, True, 1.5, ["a"], ("a",), b"a", object(), Pair.A])
def test_nothing_else_is_a_route(value: object) -> None:
    with pytest.raises(TypeError, match="a route is a string or an Enum member"):
        route_label(value)


@pytest.mark.parametrize("colours", [[Colour.RED, Colour.BLUE], ["red", "blue"]])
def test_an_enum_and_its_values_are_the_same_routes(colours: list[Any]) -> None:
    @decision
    def choose(ctx: Ctx) -> Colour:
        return Colour.RED

    edges = [choose.to({colours[0]: paid, colours[1]: denied})]
    workflow = Workflow[Any, int]("w", version="1", start=choose, edges=edges)
    assert dict(workflow.routes["choose"]) == {"red": paid, "blue": denied}


def test_the_routes_of_each_kind_are_labelled() -> None:
    workflow = refund()
    assert dict(workflow.routes["load"]) == {"next": route}
    assert dict(workflow.routes["route"]) == {"auto": pay, "review": approval}
    assert dict(workflow.routes["approval"]) == {"yes": pay, "no": denied, "timeout": denied}
    assert dict(workflow.routes["pay"]) == {"next": paid, "catch:CardDeclinedError": denied}
    assert workflow.catches == {"pay": ((CardDeclinedError, "catch:CardDeclinedError"),)}


def test_the_routes_of_a_subworkflow_are_the_ends_of_its_child() -> None:
    sub = subworkflow(refund(), name="sub")(lambda ctx: Request(1))
    edges = [sub.to(succeeded=paid, failed=denied, cancelled=denied)]
    workflow = Workflow[Any, int]("w", version="1", start=sub, edges=edges)
    assert dict(workflow.routes["sub"]) == {"succeeded": paid, "failed": denied, "cancelled": denied}


def test_catches_keep_their_order_and_tell_namesakes_apart() -> None:
    def namesake(module: str) -> type[Exception]:
        return type("CardDeclinedError", (Exception,), {"__module__": module})

    errors: list[type[BaseException]] = [
        CardDeclinedError,
        namesake("shop"),
        namesake("shop"),
        namesake("shop"),
        Exception,
    ]
    workflow = refund(edges=[*REFUND_EDGES[:3], pay.then(paid, catch=dict.fromkeys(errors, denied))])
    assert [error for error, _ in workflow.catches["pay"]] == errors
    assert [label for _, label in workflow.catches["pay"]] == [
        "catch:CardDeclinedError",
        "catch:shop.CardDeclinedError",
        "catch:shop.CardDeclinedError#2",
        "catch:shop.CardDeclinedError#3",
        "catch:Exception",
    ]
    assert set(workflow.routes["pay"]) == {"next", *(label for _, label in workflow.catches["pay"])}


# -- workflows ---------------------------------------------------------------------------------------------------------


def test_a_workflow_knows_its_steps() -> None:
    workflow = refund(label="Refund", description="money back")
    assert (workflow.name, workflow.version, workflow.key) == ("refund", "1", ("refund", "1"))
    assert (workflow.label, workflow.description, workflow.start) == ("Refund", "money back", load)
    assert list(workflow.steps) == ["load", "route", "pay", "approval", "denied", "paid"]
    assert refund().label == "refund"


def test_one_step_serves_two_workflows() -> None:
    other = Workflow[Request, int]("other", version="1", start=pay, edges=[pay.then(paid)])
    assert other.steps["pay"] is refund().steps["pay"]
    assert set(other.routes["pay"]) == {"next"}


def test_a_workflow_may_be_one_terminal_step() -> None:
    workflow = Workflow[Any, int]("w", version="1", start=paid, edges=[])
    assert dict(workflow.routes) == {}
    assert workflow.reachable("paid") == frozenset()


def test_edges_may_come_from_any_iterable() -> None:
    assert refund(edges=iter([*REFUND_EDGES[:3], pay.then(paid)])).routes["pay"] == {"next": paid}


@pytest.mark.parametrize("table", ["steps", "routes", "catches"])
def test_the_tables_of_a_workflow_are_read_only(table: str) -> None:
    with pytest.raises(TypeError, match="does not support item assignment"):
        getattr(refund(), table)["load"] = None
    with pytest.raises(TypeError, match="does not support item assignment"):
        refund().routes["load"]["next"] = paid  # type: ignore[index] # pyright: ignore[reportIndexIssue]


def test_a_workflow_can_not_be_changed() -> None:
    workflow = refund()
    with pytest.raises(AttributeError, match="can't be changed, so 'version'"):
        workflow.version = "2"
    with pytest.raises(AttributeError, match="can't be changed, so 'version'"):
        del workflow.version


def test_reachable_is_what_may_still_come() -> None:
    @decision(max_visits=3)
    def again(ctx: Ctx) -> Literal["back", "on"]:
        return "on"

    edges = [load.then(again), again.to({"back": load, "on": pay}), pay.then(paid)]
    workflow = Workflow[Request, int]("w", version="1", start=load, edges=edges)
    assert workflow.reachable("load") == {"again", "load", "pay", "paid"}
    assert workflow.reachable("pay") == {"paid"}
    assert workflow.reachable("paid") == frozenset()
    assert workflow.reachable("load") is workflow.reachable("load")
    assert refund().reachable("approval") == {"pay", "denied", "paid"}


def test_children_are_listed_once() -> None:
    child = refund()
    one = subworkflow(child, name="one")(lambda ctx: Request(1))
    two = subworkflow(child, name="two")(lambda ctx: Request(1))
    edges = [
        one.to(succeeded=two, failed=denied, cancelled=denied),
        two.to(succeeded=paid, failed=denied, cancelled=denied),
    ]
    assert Workflow[Request, int]("w", version="1", start=one, edges=edges).children == (child,)
    assert child.children == ()


def test_ten_thousand_steps_are_checked_in_linear_time() -> None:
    steps = [activity(name=f"s{number}")(pay.function) for number in range(9_999)]
    edges = [step.then(target) for step, target in zip(steps, [*steps[1:], paid], strict=True)]
    before = perf_counter()
    workflow = Workflow[Any, int]("w", version="1", start=steps[0], edges=edges)
    assert len(workflow.reachable("s0")) == 9_999
    assert perf_counter() - before < 5
