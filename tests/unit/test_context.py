from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from stepwell._context import Context, Outcome
from stepwell._definition import activity
from stepwell._errors import StepNotRun, StepwellError
from stepwell._failure import Failure


@dataclass(frozen=True)
class Order:
    total: int


@activity
async def load_order(ctx: Context[str]) -> Order:
    return Order(len(ctx.input))


@activity
def pay(ctx: Context[str]) -> int:
    return ctx.output(load_order).total


class Lazy(Mapping[str, Any]):
    """A mapping that tells which of its values were looked at, as the engine's are decoded only then."""

    def __init__(self, **values: Any) -> None:
        self.values_ = values
        self.seen: list[str] = []

    def __getitem__(self, key: str) -> Any:
        self.seen.append(key)
        return self.values_[key]

    def __iter__(self) -> Iterator[str]:
        self.seen.append("iter")
        return iter(self.values_)

    def __len__(self) -> int:
        return len(self.values_)


def test_a_step_is_called_with_a_context_made_by_hand() -> None:
    assert pay(Context("o-1", outputs={load_order: Order(3)})) == 3


def test_outputs_are_found_by_handle_and_by_name() -> None:
    context = Context("", outputs={load_order: Order(3), "pay": 4})
    assert context.output(load_order) == context.output("load_order") == Order(3)
    assert context.output(pay) == 4
    assert dict(context.outputs) == {"load_order": Order(3), "pay": 4}


def test_the_output_of_a_step_that_did_not_run_is_an_error() -> None:
    with pytest.raises(StepNotRun, match="'pay' has no output") as caught:
        Context("").output(pay)
    assert isinstance(caught.value, StepwellError | LookupError)
    assert caught.value.step == "pay"


def test_a_default_takes_the_place_of_an_output_that_is_not_there() -> None:
    assert Context("").output(pay, default=None) is None
    assert Context("").output("pay", default=7) == 7


def test_an_output_of_none_is_an_output() -> None:
    assert Context("", outputs={pay: None}).output(pay, default=1) is None


def test_a_failure_is_found_like_an_output() -> None:
    failure = Failure("CardDeclined", "no money")
    context = Context("", failures={pay: failure})
    assert context.failure(pay) is context.failure("pay") is failure
    assert context.failure(load_order, default=None) is None
    with pytest.raises(StepNotRun, match="'load_order' has no failure"):
        context.failure(load_order)


def test_a_lazy_mapping_is_looked_at_only_where_it_is_asked() -> None:
    outputs = Lazy(a=1, b=2)
    context = Context("", outputs=outputs)
    assert outputs.seen == []
    assert context.output("a") == 1
    assert set(outputs.seen) == {"a"}
    assert context.outputs is outputs


def test_data_merges_the_outputs_that_are_objects_in_order() -> None:
    context = Context(
        "", outputs={"a": {"x": 1, "y": 1}, "b": 5, "c": [1], "d": None, load_order: Order(3), "e": {"y": 2}}
    )
    assert context.data == {"x": 1, "y": 2, "total": 3}


def test_data_leaves_out_what_is_no_json() -> None:
    assert Context("", outputs={"a": object(), "b": {"x": 1}}).data == {"x": 1}


def test_data_is_computed_once_and_only_when_asked() -> None:
    asked: list[int] = []

    def compute() -> dict[str, Any]:
        asked.append(1)
        return {"x": 1}

    context = Context("", data=compute)
    assert asked == []
    assert context.data == context.data == {"x": 1}
    assert asked == [1]


def test_data_can_be_given() -> None:
    assert Context("", outputs={"a": {"x": 1}}, data={"y": 2}).data == {"y": 2}


@pytest.mark.parametrize("view", ["data", "outputs", "metadata"])
def test_the_views_are_read_only(view: str) -> None:
    context = Context("", outputs={"a": {"x": 1}}, metadata={"m": 1})
    with pytest.raises(TypeError, match="does not support item assignment"):
        getattr(context, view)["x"] = 2


@pytest.mark.parametrize("name", ["input", "data", "attempt", "idempotency_key", "anything"])
def test_a_context_can_not_be_changed(name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(Context(""), name, 1)


def test_what_a_handler_mutates_does_not_leak_from_the_computed_data() -> None:
    outputs = {"a": {"list": [1]}}
    Context("", outputs=outputs).data["list"].append(2)
    assert outputs == {"a": {"list": [1]}}


def test_the_idempotency_key_names_the_visit_from_the_second_on() -> None:
    assert Context("", execution_id="e", step="s").idempotency_key == "e:s"
    assert Context("", execution_id="e", step="s", attempt=9).idempotency_key == "e:s"
    assert Context("", execution_id="e", step="s", visit=2).idempotency_key == "e:s:2"
    assert Context("", idempotency_key="k").idempotency_key == "k"


def test_what_is_given_comes_back() -> None:
    context = Context(
        "in", execution_id="e", workflow="w", version="2", step="s", attempt=3, visit=4, metadata={"k": 1}, tags=["t"]
    )
    assert (context.input, context.execution_id, context.workflow, context.version) == ("in", "e", "w", "2")
    assert (context.step, context.attempt, context.visit, context.tags) == ("s", 3, 4, ("t",))
    assert context.metadata == {"k": 1}
    assert repr(context) == "<Context of 'w' 'e', step 's', visit 4, attempt 3>"


def test_without_metadata_there_is_an_empty_mapping() -> None:
    assert Context("").metadata == {}


def test_the_log_is_the_one_that_was_given() -> None:
    log = logging.getLogger("test")
    assert Context("", log=log).log is log


def test_a_log_may_be_made_when_it_is_first_asked_for_and_then_stays_the_same() -> None:
    made: list[logging.Logger] = []

    def make() -> logging.Logger:
        made.append(logging.getLogger("test"))
        return made[-1]

    context = Context("", log=make)
    assert made == []
    assert context.log is context.log is made[0]
    assert len(made) == 1


def test_a_context_made_by_hand_logs_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    log = Context("").log
    log.debug("a %s", 1)
    log.exception("b", extra={"x": 1})
    log.log(logging.ERROR, "c")
    assert caplog.records == []


def test_an_outcome_is_a_value() -> None:
    assert Outcome("succeeded", Order(1), id="e/s") == Outcome[Order]("succeeded", Order(1), id="e/s")
    with pytest.raises(AttributeError):
        Outcome("failed").status = "succeeded"  # type: ignore[misc] # pyright: ignore[reportAttributeAccessIssue]


def test_the_connection_is_the_one_that_was_given() -> None:
    connection = object()
    assert Context("o-1", connection=connection).connection is connection


def test_without_a_connection_the_context_says_how_a_step_gets_one() -> None:
    with pytest.raises(RuntimeError, match=r"step 'pay' has no connection: make it @activity\(transactional=True\)"):
        _ = Context("o-1", step="pay").connection
