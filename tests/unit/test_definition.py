from __future__ import annotations

import asyncio
import functools
import inspect
import sys
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, StrEnum
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest

from stepwell._context import Context, Outcome
from stepwell._definition import (
    DEFAULT,
    Activity,
    Decision,
    Fail,
    Step,
    StepKind,
    StepTypes,
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
from stepwell._errors import DefinitionError
from stepwell._retry import Retry

if TYPE_CHECKING:  # what a handler can't see at run time
    from decimal import Decimal

    HiddenContext = Context[Any]
    HiddenRoutes = Literal["a"]

if sys.version_info >= (3, 12):
    from typing import TypeAliasType
else:
    from typing_extensions import TypeAliasType

Ctx = Context[Any]


@dataclass(frozen=True)
class Request:
    amount: int


@dataclass(frozen=True)
class Order:
    total: int


class CardDeclinedError(Exception):
    pass


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Text(Enum):
    X = "x"


class Pair(Enum):
    A = (1, 2)


Ways = TypeAliasType("Ways", Literal["a", "b"])


class Number(Enum):
    ONE = 1
    TWO = 2


@activity
async def load(ctx: Ctx) -> Order:
    return Order(ctx.input.amount)


@decision
def route(ctx: Ctx) -> Literal["auto", "review"]:
    return "auto"


@wait(timeout=timedelta(days=7))
def approval(ctx: Ctx, signal: Order) -> Literal["yes", "no"]:
    return "yes" if signal.total else "no"


@activity
def pay(ctx: Ctx) -> int:
    return ctx.output(load).total


@succeed
def paid(ctx: Ctx) -> int:
    return ctx.output(pay)


@fail
def denied(ctx: Ctx) -> str:
    return "denied"


REFUND_EDGES = [
    load.then(route),
    route.to({"auto": pay, "review": approval}),
    approval.to({"yes": pay, "no": denied}, timeout=denied),
    pay.then(paid, catch={CardDeclinedError: denied}),
]


def refund(**options: Any) -> Workflow[Request, int]:
    given: dict[str, Any] = {
        "version": "1",
        "start": load,
        "edges": REFUND_EDGES,
    }
    return Workflow[Request, int]("refund", **{**given, **options})


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


# -- types -------------------------------------------------------------------------------------------------------------


def test_types_are_those_of_the_annotations() -> None:
    sub = subworkflow(refund(), name="sub")(lambda ctx: Request(1))
    edges = [*REFUND_EDGES[:3], pay.then(sub), sub.to(succeeded=paid, failed=denied, cancelled=denied)]
    types = refund(edges=edges).bind()
    assert (types.input, types.output) == (Request, int)
    assert dict(types.steps) == {
        "load": StepTypes(Order, known=True),
        "route": StepTypes(),
        "approval": StepTypes(Order, Order, known=True),
        "pay": StepTypes(int, known=True),
        "paid": StepTypes(int, known=True),
        "denied": StepTypes(),
        "sub": StepTypes(Outcome[int], known=True),
    }


def test_types_are_resolved_once() -> None:
    workflow = refund()
    assert workflow.bind() is workflow.types is workflow.bind()


def test_without_a_subscript_and_annotations_everything_is_any() -> None:
    step = activity(name="a")(lambda ctx: None)
    end = succeed(name="end")(lambda ctx: None)
    types = Workflow("w", version="1", start=step, edges=[step.then(end)]).types
    assert (types.input, types.output) == (Any, Any)
    assert types.steps["a"] == types.steps["end"] == StepTypes(Any, Any, known=False)


def test_a_subclass_names_its_types_in_its_base() -> None:
    class Refund(Workflow[Request, int]):
        pass

    types = Refund("refund", version="1", start=pay, edges=[pay.then(paid)]).types
    assert (types.input, types.output) == (Request, int)


def test_returning_none_is_a_known_type() -> None:
    @activity
    def nothing(ctx: Ctx) -> None: ...

    types = Workflow[None, int]("w", version="1", start=nothing, edges=[nothing.then(paid)]).types
    assert types.steps["nothing"] == StepTypes(type(None), known=True)
    assert types.input is type(None)


@pytest.mark.parametrize("form", [Awaitable[Order], Coroutine[Any, Any, Order]])
def test_what_is_awaited_is_taken_out_of_its_annotation(form: Any) -> None:
    def handler(ctx: Any) -> Any: ...

    handler.__annotations__["return"] = form
    step = activity(handler)
    types = Workflow[Any, int]("w", version="1", start=step, edges=[step.then(paid)]).types
    assert types.steps["handler"].output is Order


def test_a_local_class_is_found_in_the_closure() -> None:
    @dataclass
    class Local:
        x: int

    @activity
    def make(ctx: Ctx) -> Local:
        return Local(1)

    types = Workflow[Any, int]("w", version="1", start=make, edges=[make.then(paid)]).types
    assert types.steps["make"].output is Local


def test_a_context_that_can_not_be_resolved_is_in_nobodys_way() -> None:
    @activity
    def make(ctx: HiddenContext) -> Order:
        return Order(1)

    @wait
    def hear(ctx: HiddenContext, signal: Order) -> Literal["on"]:
        return "on"

    edges = [make.then(hear), hear.to({"on": paid})]
    types = Workflow[Any, int]("w", version="1", start=make, edges=edges).types
    assert types.steps["make"].output is Order
    assert types.steps["hear"].signal is Order


def test_a_payload_type_that_can_not_be_resolved_is_an_error_that_tells_what_to_pass() -> None:
    @activity
    def price(ctx: Ctx) -> Decimal: ...  # type: ignore[empty-body]

    @wait
    def bid(ctx: Ctx, signal: Decimal) -> Literal["on"]:
        return "on"

    edges: Any = [price.then(bid), bid.to({"on": paid})]
    workflow = Workflow[Any, int]("w", version="1", start=price, edges=edges)
    with pytest.raises(DefinitionError) as caught:
        workflow.bind()
    assert [(problem.code, problem.step) for problem in caught.value.problems] == [
        ("unresolved-type", "price"),
        ("unresolved-type", "bid"),
    ]
    assert "returns=" in caught.value.problems[0].message
    assert "signal=" in caught.value.problems[1].message


def test_returns_and_signal_take_the_place_of_annotations() -> None:
    @activity(returns=int)
    def price(ctx: Ctx) -> Decimal: ...  # type: ignore[empty-body]

    @wait(signal=str)
    def bid(ctx: Ctx, signal: Decimal) -> Literal["on"]:
        return "on"

    edges: Any = [price.then(bid), bid.to({"on": paid})]
    types = Workflow[Any, int]("w", version="1", start=price, edges=edges).types
    assert types.steps["price"].output is int
    assert types.steps["bid"].signal is str


def test_an_input_type_that_can_not_be_resolved_is_an_error() -> None:
    workflow = Workflow["Decimal", "int"]("w", version="1", start=paid, edges=[])
    with pytest.raises(DefinitionError, match=r"unresolved-type.*the input type 'Decimal'"):
        workflow.bind()


def test_a_return_annotation_that_can_not_be_resolved_only_skips_the_check_of_the_routes() -> None:
    @decision
    def choose(ctx: Ctx) -> HiddenRoutes:
        return "a"

    workflow = Workflow[Any, int]("w", version="1", start=choose, edges=[choose.to({"a": paid})])
    assert workflow.bind().steps["choose"] == StepTypes()


def test_routes_that_are_resolved_late_are_checked_late() -> None:
    scope: dict[str, Any] = {"Literal": Literal}
    exec("def choose(ctx) -> 'Routes': return 'a'", scope)  # noqa: S102
    choose = decision(scope["choose"])
    workflow = Workflow[Any, Any]("w", version="1", start=choose, edges=[choose.to({"a": paid, "c": denied})])
    scope["Routes"] = Literal["a", "b"]
    with pytest.raises(DefinitionError) as caught:
        workflow.bind()
    assert {problem.code for problem in caught.value.problems} == {"unknown-route", "missing-edge"}


@pytest.mark.parametrize(
    ("annotation", "routes"),
    [
        (Literal["a", "b"], {"a", "b"}),
        (Literal["a"] | Literal["b"], {"a", "b"}),
        (Annotated[Literal["a", "b"], "note"], {"a", "b"}),
        (Colour, {"red", "blue"}),
        (Number, {"1", "2"}),
        (Literal[Colour.RED], {"red"}),
        (Literal["a"] | Number, {"a", "1", "2"}),
        (Awaitable[Literal["a"]], {"a"}),
        (str, {"whatever"}),
        (Any, {"whatever"}),
        (inspect.Signature.empty, {"whatever"}),
    ],
)
def test_routes_are_read_from_every_form_of_annotation(annotation: Any, routes: set[str]) -> None:
    def handler(ctx: Any) -> Any: ...

    if annotation is inspect.Signature.empty:
        del handler.__annotations__["return"]
    else:
        handler.__annotations__["return"] = annotation
    step = decision(handler)
    workflow = Workflow[Any, Any]("w", version="1", start=step, edges=[step.to(dict.fromkeys(routes, paid))])
    assert set(workflow.routes["handler"]) == routes


def test_a_type_alias_names_the_routes_behind_it() -> None:
    def handler(ctx: Any) -> Any: ...

    handler.__annotations__["return"] = Ways
    step = decision(handler)
    with pytest.raises(DefinitionError, match="missing-edge"):
        Workflow("w", version="1", start=step, edges=[step.to({"a": paid})])


def test_a_builtin_that_tells_nothing_of_itself_has_unknown_types() -> None:
    builtin: Any = getattr
    step, hear = activity(builtin), wait(name="hear")(builtin)
    types = Workflow("w", version="1", start=step, edges=[step.then(hear), hear.to({"a": paid})]).types
    assert types.steps["getattr"] == types.steps["hear"] == StepTypes()


def test_a_signal_that_comes_as_one_of_many_arguments_has_their_type() -> None:
    def hear(*arguments: Order) -> str:
        return "a"

    handler: Any = hear
    step = wait(handler)
    assert Workflow("w", version="1", start=step, edges=[step.to({"a": paid})]).types.steps["hear"].signal is Order


def test_a_closure_that_is_not_filled_yet_is_in_nobodys_way() -> None:
    def outer() -> Any:
        @activity
        def early(ctx: Ctx) -> Order:
            return later()

        step = early
        workflow = Workflow[Any, Any]("w", version="1", start=step, edges=[step.then(paid)])
        types = workflow.types

        def later() -> Order:
            return Order(1)

        return types

    assert outer().steps["early"].output is Order


def test_wrappers_that_wrap_each_other_come_to_an_end() -> None:
    def one(ctx: Ctx) -> Order: ...  # type: ignore[empty-body]

    def two(ctx: Ctx) -> Order: ...  # type: ignore[empty-body]

    one.__dict__["__wrapped__"], two.__dict__["__wrapped__"] = two, one
    assert not activity(one).is_async
    assert activity(one).name == "one"


# -- digests -----------------------------------------------------------------------------------------------------------


def test_a_digest_is_the_same_for_the_same_definition() -> None:
    digest = refund().digest
    assert len(digest) == 64
    assert refund().digest == digest


def test_a_digest_is_the_same_in_every_process_and_release() -> None:
    """A change of this value makes every stored workflow look changed: it needs a reason and a note."""
    assert refund().digest == "3957ddfeeaf7eea23d0be87951de3c8e411993d7a17d11da664d4805c9aced02"


@pytest.mark.parametrize(
    "options",
    [
        {"label": "Other"},
        {"description": "other"},
        {"version": "2"},
        {"edges": REFUND_EDGES[::-1]},
    ],
)
def test_labels_and_the_order_of_edges_are_not_in_the_digest(options: dict[str, Any]) -> None:
    assert refund(**options).digest == refund().digest


def with_pay(step: Activity[Any, Any, Any], catch: dict[type[BaseException], Step[Any, Any]] | None = None) -> str:
    edges = [
        load.then(route),
        route.to({"auto": step, "review": approval}),
        approval.to({"yes": step, "no": denied}, timeout=denied),
        step.then(paid, catch={CardDeclinedError: denied} if catch is None else catch),
    ]
    return refund(edges=edges).digest


def test_retries_timeouts_and_bounds_are_not_in_the_digest() -> None:
    other = activity(name="pay", label="Pay", description="now", retry=9, timeout=1, max_visits=4)
    assert with_pay(other(pay.function)) == refund().digest


def test_a_type_that_only_moved_to_another_module_is_not_in_the_digest() -> None:
    moved = type("Order", (), {"__module__": "elsewhere", "__qualname__": "make.<locals>.Order"})
    other = activity(name="load", returns=moved)(load.function)
    edges = [other.then(route), *REFUND_EDGES[1:]]
    assert refund(start=other, edges=edges).digest == refund().digest


def test_names_kinds_edges_catches_and_types_are_in_the_digest() -> None:
    digests = {
        refund().digest,
        with_pay(activity(name="pay2")(pay.function)),
        with_pay(activity(name="pay", returns=float)(pay.function)),
        with_pay(activity(name="pay", returns=int | None)(pay.function)),
        with_pay(activity(name="pay", returns=list[int])(pay.function)),
        with_pay(activity(name="pay", returns=list[str])(pay.function)),
        with_pay(activity(name="pay", returns=Literal["a"])(pay.function)),
        with_pay(activity(name="pay")(pay.function), catch={}),
        with_pay(activity(name="pay")(pay.function), catch={CardDeclinedError: denied, Exception: denied}),
        with_pay(activity(name="pay")(pay.function), catch={CardDeclinedError: paid}),
        with_pay(activity(name="pay")(pay.function), catch={KeyError: denied, ValueError: denied}),
        with_pay(activity(name="pay")(pay.function), catch={ValueError: denied, KeyError: denied}),
        Workflow[Request, int]("other", version="1", start=pay, edges=[pay.then(paid)]).digest,
        Workflow[Order, int]("other", version="1", start=pay, edges=[pay.then(paid)]).digest,
        Workflow[Request, Any]("other", version="1", start=pay, edges=[pay.then(paid)]).digest,
    }
    assert len(digests) == 15


def test_the_same_type_written_otherwise_is_the_same_in_the_digest() -> None:
    def digest_of(returns: Any) -> str:
        return with_pay(activity(name="pay", returns=returns)(pay.function))

    assert digest_of(int | None) == digest_of(None | int)
    assert digest_of(Literal["a", "b"]) == digest_of(Literal["b", "a"])
    assert digest_of(Annotated[int, "note"]) == digest_of(int)
    assert digest_of("Order") == digest_of(Order)
    assert digest_of(Literal[Colour.RED]) != digest_of(Literal["red"])
    assert digest_of(tuple[int, ...]) != digest_of(tuple[int])
    assert digest_of(Callable[[int], str]) == digest_of(Callable[[int], str])


def test_the_version_of_a_child_is_in_the_digest() -> None:
    def digest_with(child: Workflow[Any, Any]) -> str:
        sub = subworkflow(child, name="sub")(lambda ctx: Request(1))
        edges = [sub.to(succeeded=paid, failed=denied, cancelled=denied)]
        return Workflow[Any, int]("w", version="1", start=sub, edges=edges).digest

    assert digest_with(refund()) == digest_with(refund(label="Other"))
    assert digest_with(refund()) != digest_with(refund(version="2"))
