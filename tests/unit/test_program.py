"""What is worked out once per workflow, and the lazy views that handlers are given."""

from __future__ import annotations

import pickle
from typing import Any

import msgspec
import pytest

from stepwell._codec import LimitExceeded, UnsupportedType
from stepwell._definition import Workflow, activity, succeed
from stepwell._errors import SignalRejected, SpuriousCancellation, StepNotRun, UnknownRoute, quoted
from stepwell._failure import Failure
from stepwell._history import History, StepHistory
from stepwell._limits import Limits
from stepwell._model import Status
from stepwell._program import Program, StoredPast
from tests.engine.small import Ctx, single


async def work(ctx: Ctx) -> int:
    return 1


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError


def test_a_workflow_beyond_the_limit_of_steps_is_refused() -> None:
    with pytest.raises(LimitExceeded, match="it has 2 steps, the limit is 1"):
        Program(single(work), 30.0, Limits(graph=1))


def test_outputs_are_decoded_when_asked_for_and_once() -> None:
    steps = {
        "work": StepHistory(name="work", status=Status.SUCCEEDED, visits=1, output='{"a":1}', succeeded=3),
        "other": StepHistory(name="other", status=Status.RUNNING, visits=1),
    }
    outputs = StoredPast(Program(single(work), None, Limits()), History(steps=steps)).outputs()
    assert outputs["work"] == {"a": 1}
    assert outputs["work"] is outputs["work"]
    assert (list(outputs), len(outputs), "other" in outputs) == (["work"], 1, False)


def test_failures_are_those_of_the_steps_that_failed_for_good() -> None:
    failure = Failure(type="ValueError", message="no")
    text = msgspec.json.encode(failure).decode()
    steps = {
        "work": StepHistory(name="work", status=Status.FAILED, visits=1, error=text),
        "other": StepHistory(name="other", status=Status.WAITING, visits=1, error=text),
    }
    failures = StoredPast(Program(single(work), None, Limits()), History(steps=steps)).failures()
    assert (failures["work"], list(failures), len(failures), "other" in failures) == (failure, ["work"], 1, False)


def test_errors_name_the_step_whatever_the_value() -> None:
    assert quoted(Unprintable()) == "<Unprintable object>"
    assert "'route'" in str(UnknownRoute("flow", "route", None, ("a", "b")))
    assert "'work'" in str(SpuriousCancellation("flow", "work"))
    assert "didn't take the signal" in str(SignalRejected("id", "gate", "ValueError: no"))
    copy: StepNotRun = pickle.loads(pickle.dumps(StepNotRun("work")))  # noqa: S301 -- our own bytes
    assert (copy.step, copy.what) == ("work", "output")


def test_a_type_that_can_not_be_stored_is_told_with_its_place() -> None:
    class Odd:
        pass

    @activity(returns=Odd)
    async def give(ctx: Any) -> Any: ...

    @succeed
    def done(ctx: Any) -> int:
        return 1

    flow = Workflow[int, int]("flow", version="1", start=give, edges=[give.then(done)])
    with pytest.raises(UnsupportedType, match=r"^step 'give' of workflow 'flow': its result: the type .*Odd can't be"):
        Program(flow, None, Limits())
    odd: Any = Workflow[Odd, int]
    with pytest.raises(UnsupportedType, match=r"^workflow 'flow': its input: the type .*Odd can't be stored"):
        Program(odd("flow", version="1", start=done, edges=[]), None, Limits())
