"""Catalogue 4.1, what the tests of the definition leave open: starts, children, sizes, changes afterwards."""

from __future__ import annotations

import functools
from time import perf_counter
from typing import Any, Literal

import pytest

from stepwell import DefinitionError, Engine, Workflow, activity, decision, subworkflow, succeed
from stepwell.storage import Storage
from tests.engine.small import done, healthy, nothing, refused


def _codes(error: DefinitionError) -> list[str]:
    return [problem.code for problem in error.problems]


@pytest.mark.parametrize("start", [None, [nothing, done], (nothing,), "nothing", nothing.function, healthy])
def test_a_workflow_has_one_start_which_is_a_step(start: Any) -> None:
    with pytest.raises(DefinitionError, match=r"\[unknown-step\] start= must be a step") as caught:
        Workflow("w", version="1", start=start, edges=[nothing.then(done)])
    assert len(str(caught.value)) < 400


def test_a_workflow_without_a_start_is_told_by_python() -> None:
    loose: Any = Workflow
    with pytest.raises(TypeError, match="start"):
        loose("w", version="1", edges=[nothing.then(done)])


async def _same(ctx: Any) -> Any:
    return ctx.input


def _nest(levels: int) -> Workflow[int, int]:
    workflow = healthy
    for level in range(2, levels + 1):
        step: Any = subworkflow(workflow, name="below")(_same)
        edges = [step.to(succeeded=done, failed=refused, cancelled=refused)]
        workflow = Workflow[int, int](f"level{level}", version="1", start=step, edges=edges)
    return workflow


def test_workflows_lie_within_each_other_on_fifty_levels_at_most() -> None:
    deepest = _nest(50)
    assert deepest.levels == 50
    engine = Engine(workflows=[deepest])
    assert engine.describe("level2").version == "1"
    with pytest.raises(DefinitionError, match=r"\[too-many-levels\] step 'below'.*more than 50 levels") as caught:
        _nest(51)
    assert _codes(caught.value) == ["too-many-levels"]


@pytest.mark.anyio
async def test_workflows_within_workflows_come_to_their_end(storage: Storage) -> None:
    flow = _nest(12)
    async with Engine(storage, workflows=[flow]) as engine:
        execution = await engine.start(flow, 1, id="x" * 255)
        await engine.run_until_idle()
        assert await execution.result(60) == 1
        ids = [found.id for found in (await engine.find()).executions]
        assert (len(ids), max(len(id.encode()) for id in ids)) == (12, 255)


def test_a_workflow_can_not_be_its_own_child() -> None:
    later: list[Workflow[int, int]] = []
    step: Any = subworkflow(later)(nothing.function)  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match=r"\[bad-child\].*takes a Workflow, not \[\]"):
        Workflow("w", version="1", start=step, edges=[step.to(succeeded=done, failed=refused, cancelled=refused)])


def test_a_child_that_is_a_step_is_shown_by_its_name() -> None:
    step: Any = subworkflow(nothing)(nothing.function)  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match=r"takes a Workflow, not <activity nothing>"):
        Workflow("w", version="1", start=step, edges=[step.to(succeeded=done, failed=refused, cancelled=refused)])


@pytest.mark.parametrize("many", [1_000, 100_000])
def test_many_branches_are_taken_up_to_the_limit_of_edges(many: int) -> None:
    before = perf_counter()
    choose: Any = decision(name="choose")(lambda ctx: "r1")
    edges = [choose.to({f"r{number}": done for number in range(many)})]
    if many == 1_000:
        assert len(Workflow("w", version="1", start=choose, edges=edges).routes["choose"]) == many
    else:
        again: Any = decision(name="again")(lambda ctx: "r1")
        edges.append(again.to({"r": done}))
        with pytest.raises(DefinitionError, match=r"at most 100,000 edges; split it into subworkflows") as caught:
            Workflow("w", version="1", start=choose, edges=edges)
        assert _codes(caught.value) == ["too-many-edges"]
    assert perf_counter() - before < 5


def test_what_is_changed_after_it_was_given_changes_nothing() -> None:
    routes: dict[Any, Any] = {"a": done}
    choose: Any = decision(name="choose")(lambda ctx: "a")
    edges = [choose.to(routes)]
    flow = Workflow("w", version="1", start=choose, edges=edges)
    digest = flow.digest
    routes["b"] = refused
    edges.clear()
    assert list(flow.routes["choose"]) == ["a"]
    table: Any = flow.steps
    with pytest.raises(TypeError):
        table["more"] = nothing
    with pytest.raises(AttributeError, match="a workflow can't be changed"):
        flow.start = nothing
    assert Workflow("w", version="1", start=choose, edges=[choose.to({"a": done})]).digest == digest


def test_names_that_differ_in_case_are_different_steps() -> None:
    upper = activity(name="Nothing")(nothing.function)
    flow = Workflow[int, int]("w", version="1", start=nothing, edges=[nothing.then(upper), upper.then(done)])
    assert list(flow.steps) == ["nothing", "Nothing", "done"]


class Counter:
    def __init__(self) -> None:
        self.calls = 0

    async def bound(self, ctx: Any) -> int:
        self.calls += 1
        return self.calls

    async def __call__(self, ctx: Any) -> int:
        return await self.bound(ctx)


async def _partly(number: int, ctx: Any) -> int:
    return number


@pytest.mark.anyio
@pytest.mark.parametrize("storage_kind", ["memory"])
async def test_odd_but_sound_handlers_run(storage: Storage) -> None:
    counter = Counter()

    async def with_default(ctx: Any, shared: list[int] = []) -> int:  # noqa: B006 -- the mistake under test
        shared.append(1)
        return len(shared)

    handlers: dict[str, Any] = {
        "bound": counter.bound,
        "instance": counter,
        "partial": functools.partial(_partly, 7),
        "default": with_default,
    }
    for name, handler in handlers.items():
        step: Any = activity(name=name)(handler)
        flow = Workflow[int, int](f"f-{name}", version="1", start=step, edges=[step.then(done)])
        async with Engine(storage, workflows=[flow]) as engine:
            execution = await engine.start(flow, 5)
            await engine.run_until_idle()
            assert await execution.result(60) == 5
    assert counter.calls == 2


@pytest.mark.anyio
async def test_a_route_without_an_edge_is_told_with_the_value_that_was_seen(storage: Storage) -> None:
    @decision
    def choose(ctx: Any) -> Any:
        return "neither"

    @succeed
    def other(ctx: Any) -> Literal[2]:
        return 2

    flow = Workflow[int, int]("w", version="1", start=choose, edges=[choose.to({"one": done, "two": other})])
    async with Engine(storage, workflows=[flow]) as engine:
        execution = await engine.start(flow, 5)
        await engine.run_until_idle()
        error = (await execution.get()).error
        assert (error.code, "returned 'neither', which is none of its routes: one, two" in error.message) == (
            "unknown_route",
            True,
        )
