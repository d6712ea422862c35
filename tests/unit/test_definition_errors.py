"""What is wrong with names, options and handlers is told all at once, when the workflow is defined."""

from __future__ import annotations

import copy
import pickle
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from stepwell._definition import DEFAULT, Workflow, activity, decision, wait
from stepwell._errors import DefinitionError, Problem, StepwellError
from stepwell._retry import Retry
from tests.unit.mistakes import Ctx, codes, endless, lenient, load, one_step, paid, pay, problems, route, undecorated

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


def test_a_wrong_policy_is_told_where_it_is_made() -> None:
    with pytest.raises(ValueError, match="bad Retry"):
        Retry(max_attempts=0)


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
