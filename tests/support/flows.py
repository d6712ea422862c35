"""Small workflows for tests of the core. Their functions are never called: tests say what they came to."""

from __future__ import annotations

from typing import Any

from stepwell._definition import Step, Workflow, activity, decision, fail, subworkflow, succeed, wait
from stepwell._retry import Retry

__all__ = ["Broken", "chain", "choice", "failing", "gates", "loop", "parent", "patient", "spin"]


class Broken(Exception):
    """What the activities here may catch."""


def _plain(ctx: Any) -> Any: ...


def _resolver(ctx: Any, signal: Any) -> Any: ...


def _made(start: Step[Any, Any], *edges: Any, name: str = "w") -> Workflow[Any, Any]:
    return Workflow[Any, Any](name, version="1", start=start, edges=edges)


_done: Any = succeed(name="done")(_plain)
_failed: Any = fail(name="failed")(_plain)


def chain(*, retry: int | Retry = 1, catch: bool = False, error: type[BaseException] = Broken) -> Workflow[Any, Any]:
    """work → more → done; with *catch*, an error of work leads to failed."""
    work: Any = activity(name="work", retry=retry)(_plain)
    more: Any = activity(name="more")(_plain)
    return _made(work, work.then(more, catch={error: _failed} if catch else None), more.then(_done))


def choice(*, retry: int | Retry = 1) -> Workflow[Any, Any]:
    """work → route → done or failed."""
    work: Any = activity(name="work")(_plain)
    route: Any = decision(name="route", retry=retry)(_plain)
    return _made(work, work.then(route), route.to({"on": _done, "off": _failed}))


def gates(*, timeout: float | None = None) -> Workflow[Any, Any]:
    """first → second → done, both waits; the first may time out to failed, or go back to itself, twice."""
    first: Any = wait(name="first", timeout=timeout, max_visits=2)(_resolver)
    second: Any = wait(name="second")(_resolver)
    late = None if timeout is None else _failed
    return _made(first, first.to({"on": second, "again": first}, timeout=late), second.to({"on": _done}))


def patient(*, timeout: float | None = 30.0) -> Workflow[Any, Any]:
    """work → gate → more → done."""
    work: Any = activity(name="work")(_plain)
    gate: Any = wait(name="gate", timeout=timeout)(_resolver)
    more: Any = activity(name="more")(_plain)
    late = None if timeout is None else _failed
    return _made(work, work.then(gate), gate.to({"on": more}, timeout=late), more.then(_done))


def loop(*, catch: bool = False) -> Workflow[Any, Any]:
    """work → again → work, twice at most, → done; with *catch*, work takes its own errors."""
    work: Any = activity(name="work", max_visits=2)(_plain)
    again: Any = decision(name="again", max_visits=9)(_plain)
    return _made(
        work, work.then(again, catch={Exception: work} if catch else None), again.to({"again": work, "on": _done})
    )


def spin() -> Workflow[Any, Any]:
    """again → again, thirty times, → done: nothing but steps that may ride."""
    work: Any = activity(name="work")(_plain)
    again: Any = decision(name="again", max_visits=30)(_plain)
    return _made(work, work.then(again), again.to({"again": again, "on": _done}))


def failing() -> Workflow[Any, Any]:
    """Failed at once."""
    return _made(_failed)


def parent() -> Workflow[Any, Any]:
    """sub, which runs work → more → done, → done or failed."""
    work: Any = activity(name="work")(_plain)
    child = _made(work, work.then(_done), name="child")
    sub: Any = subworkflow(child, name="sub")(_plain)
    return _made(sub, sub.to(succeeded=_done, failed=_failed, cancelled=_failed))
