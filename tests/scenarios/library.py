"""The workflows that scenarios are about, by name. Each has few steps; what these do is the scenario's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from stepwell import StepCrashed, StepTimedOut, StepwellError, Workflow
from tests.scenarios.handlers import Broken, Script, Steps, Worse

__all__ = ["LIBRARY", "Make", "Order"]


@dataclass(frozen=True)
class Order:
    """An input of which not every JSON value is one."""

    item: str
    amount: int


class Make:
    """Makes the workflows of one scenario, under names that no other scenario has."""

    def __init__(self, script: Script, *, suffix: str) -> None:
        self.steps = Steps(script)
        self._suffix = suffix

    def workflow(self, name: str, version: str) -> Workflow[Any, Any]:
        """Return a workflow of the library."""
        return LIBRARY[name](self, version)

    def made(self, name: str, version: str, start: Any, *edges: Any, of: Any = Any) -> Workflow[Any, Any]:
        """Return a workflow of these steps, whose input is *of* that type."""
        full = self.full_name(name)
        return Workflow[of, Any](full, version=version, start=start, edges=edges)

    def full_name(self, name: str) -> str:
        """Return the name under which the scenario's workflow is registered."""
        return f"{name}.{self._suffix}"


def lone(make: Make, version: str) -> Workflow[Any, Any]:
    """done."""
    return make.made("lone", version, make.steps.succeed("done"))


def doomed(make: Make, version: str) -> Workflow[Any, Any]:
    """failed."""
    return make.made("doomed", version, make.steps.fail("failed"))


def single(make: Make, version: str) -> Workflow[Any, Any]:
    """work → done."""
    work = make.steps.activity("work")
    return make.made("single", version, work, work.then(make.steps.succeed("done")))


def booking(make: Make, version: str) -> Workflow[Any, Any]:
    """book, which is transactional, → done; a failure → refused."""
    book = make.steps.transactional("book")
    catch = {Broken: make.steps.fail("refused")}
    return make.made("booking", version, book, book.then(make.steps.succeed("done"), catch=catch))


def typed(make: Make, version: str) -> Workflow[Any, Any]:
    """work, which returns a whole number, → done; the input is an Order."""
    work = make.steps.activity("work", returns=int)
    return make.made("typed", version, work, work.then(make.steps.succeed("done")), of=Order)


def line(make: Make, version: str) -> Workflow[Any, Any]:
    """work → more → last → done."""
    work, more, last = (make.steps.activity(name) for name in ("work", "more", "last"))
    done = make.steps.succeed("done")
    return make.made("line", version, work, work.then(more), more.then(last), last.then(done))


def caught(make: Make, version: str) -> Workflow[Any, Any]:
    """work → done; Worse → mend → done; Broken → refused; a timeout → late; a crash → buried."""
    steps = make.steps
    work, mend = steps.activity("work"), steps.activity("mend")
    done, refused, late, buried = steps.succeed("done"), *(steps.fail(n) for n in ("refused", "late", "buried"))
    catch = {Worse: mend, Broken: refused, StepTimedOut: late, StepCrashed: buried}
    return make.made("caught", version, work, work.then(done, catch=catch), mend.then(done))


def careful(make: Make, version: str) -> Workflow[Any, Any]:
    """work → done; whatever the engine itself raises → mended; any other Exception → failed."""
    steps = make.steps
    work, done, mended, failed = steps.activity("work"), *map(steps.succeed, ("done", "mended")), steps.fail("failed")
    return make.made("careful", version, work, work.then(done, catch={StepwellError: mended, Exception: failed}))


def choice(make: Make, version: str) -> Workflow[Any, Any]:
    """work → route → done, more → done, or failed."""
    steps = make.steps
    work, route, more = steps.activity("work"), steps.decision("route", "on"), steps.activity("more")
    done, failed = steps.succeed("done"), steps.fail("failed")
    edges = (work.then(route), route.to({"on": done, "more": more, "off": failed}), more.then(done))
    return make.made("choice", version, work, *edges)


def fork(make: Make, version: str) -> Workflow[Any, Any]:
    """route → done or failed."""
    route = make.steps.decision("route", "on")
    done, failed = make.steps.succeed("done"), make.steps.fail("failed")
    return make.made("fork", version, route, route.to({"on": done, "off": failed}))


def loop(make: Make, version: str) -> Workflow[Any, Any]:
    """work → again → work, or done."""
    work, again = make.steps.activity("work"), make.steps.decision("again", "on")
    done = make.steps.succeed("done")
    return make.made("loop", version, work, work.then(again), again.to({"again": work, "on": done}))


def spin(make: Make, version: str) -> Workflow[Any, Any]:
    """work → again → again …, or done: after the activity nothing but what may ride."""
    work, again = make.steps.activity("work"), make.steps.decision("again", "on")
    done = make.steps.succeed("done")
    return make.made("spin", version, work, work.then(again), again.to({"again": again, "on": done}))


def gate(make: Make, version: str) -> Workflow[Any, Any]:
    """gate → more → done on "go", stopped on "stop"; late where it has a timeout."""
    steps = make.steps
    wait, more = steps.wait("gate"), steps.activity("more")
    edges = (_gate_edges(make, wait, more), more.then(steps.succeed("done")))
    return make.made("gate", version, wait, *edges)


def asking(make: Make, version: str) -> Workflow[Any, Any]:
    """work → gate → more → done on "go", stopped on "stop"; late where it has a timeout."""
    steps = make.steps
    work, wait, more = steps.activity("work"), steps.wait("gate"), steps.activity("more")
    edges = (work.then(wait), _gate_edges(make, wait, more), more.then(steps.succeed("done")))
    return make.made("asking", version, work, *edges)


def _gate_edges(make: Make, wait: Any, more: Any) -> Any:
    routes = {"go": more, "stop": make.steps.fail("stopped")}
    return wait.to(routes, timeout=make.steps.fail("late")) if make.steps.has_timeout("gate") else wait.to(routes)


def gates(make: Make, version: str) -> Workflow[Any, Any]:
    """first → second on "on", → first on "again"; second → first on "back", → done on "on"."""
    first, second = make.steps.wait("first"), make.steps.wait("second")
    done = make.steps.succeed("done")
    edges = (first.to({"on": second, "again": first}), second.to({"on": done, "back": first}))
    return make.made("gates", version, first, *edges)


def typed_gate(make: Make, version: str) -> Workflow[Any, Any]:
    """gate, which takes an Order and resolves by itself, → done on "go"."""
    wait = make.steps.wait("gate", signal=Order)
    return make.made("typed_gate", version, wait, wait.to({"go": make.steps.succeed("done")}))


def child(make: Make, version: str) -> Workflow[Any, Any]:
    """task → finished."""
    task = make.steps.activity("task")
    return make.made("child", version, task, task.then(make.steps.succeed("finished")))


def asking_child(make: Make, version: str) -> Workflow[Any, Any]:
    """ask → finished on "go", turned_down on "stop"."""
    ask = make.steps.wait("ask")
    routes = {"go": make.steps.succeed("finished"), "stop": make.steps.fail("turned_down")}
    return make.made("asking_child", version, ask, ask.to(routes))


def parent(make: Make, version: str) -> Workflow[Any, Any]:
    """sub, a child, → done, failed or gone."""
    return _around(make, version, "parent", child(make, version))


def asking_parent(make: Make, version: str) -> Workflow[Any, Any]:
    """sub, an asking child, → done, failed or gone."""
    return _around(make, version, "asking_parent", asking_child(make, version))


def _around(make: Make, version: str, name: str, inner: Workflow[Any, Any]) -> Workflow[Any, Any]:
    steps = make.steps
    sub = steps.subworkflow("sub", inner)
    edges = sub.to(succeeded=steps.succeed("done"), failed=steps.fail("failed"), cancelled=steps.fail("gone"))
    return make.made(name, version, sub, edges)


def prepared_parent(make: Make, version: str) -> Workflow[Any, Any]:
    """prepare → sub, a child, → more → done, or failed."""
    steps = make.steps
    prepare, sub, more = (
        steps.activity("prepare"),
        steps.subworkflow("sub", child(make, version)),
        steps.activity("more"),
    )
    failed = steps.fail("failed")
    edges = (
        prepare.then(sub),
        sub.to(succeeded=more, failed=failed, cancelled=failed),
        more.then(steps.succeed("done")),
    )
    return make.made("prepared_parent", version, prepare, *edges)


def parent_then_gate(make: Make, version: str) -> Workflow[Any, Any]:
    """sub, a child, → gate, however it ended, → done on "go"."""
    steps = make.steps
    sub, wait = steps.subworkflow("sub", child(make, version)), steps.wait("gate")
    edges = (sub.to(succeeded=wait, failed=wait, cancelled=wait), wait.to({"go": steps.succeed("done")}))
    return make.made("parent_then_gate", version, sub, *edges)


def grandparent(make: Make, version: str) -> Workflow[Any, Any]:
    """top, an asking parent, → over, or lost."""
    steps = make.steps
    top = steps.subworkflow("top", asking_parent(make, version))
    over, lost = steps.succeed("over"), steps.fail("lost")
    return make.made("grandparent", version, top, top.to(succeeded=over, failed=lost, cancelled=lost))


def repeating_parent(make: Make, version: str) -> Workflow[Any, Any]:
    """sub, a child, → again → sub, or done."""
    steps = make.steps
    sub, again = steps.subworkflow("sub", child(make, version)), steps.decision("again", "on")
    failed = steps.fail("failed")
    edges = (
        sub.to(succeeded=again, failed=failed, cancelled=failed),
        again.to({"again": sub, "on": steps.succeed("done")}),
    )
    return make.made("repeating_parent", version, sub, *edges)


LIBRARY: Final[dict[str, Callable[[Make, str], Workflow[Any, Any]]]] = {
    build.__name__: build
    for build in (
        *(lone, doomed, single, booking, typed, line, caught, careful, choice, fork, loop, spin),
        *(gate, asking, gates, typed_gate),
        *(parent, asking_parent, prepared_parent, parent_then_gate, grandparent, repeating_parent),
    )
}
