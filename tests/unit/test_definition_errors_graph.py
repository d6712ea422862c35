"""What is wrong with a graph as a whole: steps out of reach, dead ends, cycles without a bound, and too many steps."""

from __future__ import annotations

from time import perf_counter
from typing import Literal

import pytest

from stepwell._definition import Workflow, activity, decision
from tests.unit.mistakes import Ctx, approval, codes, denied, lenient, load, paid, pay, problems, route, undecorated


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
