"""What is read from annotations: the types of inputs, outputs and signals, and the routes of decisions and waits."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Awaitable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest

from stepwell._context import Context, Outcome
from stepwell._definition import StepTypes, Workflow, activity, decision, subworkflow, succeed, wait
from stepwell._errors import DefinitionError
from tests.unit.refund import REFUND_EDGES, Colour, Ctx, Number, Order, Request, denied, paid, pay, refund

if TYPE_CHECKING:  # what a handler can't see at run time
    from decimal import Decimal

    HiddenContext = Context[Any]
    HiddenRoutes = Literal["a"]

if sys.version_info >= (3, 12):
    from typing import TypeAliasType
else:
    from typing_extensions import TypeAliasType

Ways = TypeAliasType("Ways", Literal["a", "b"])


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
