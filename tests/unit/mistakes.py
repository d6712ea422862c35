"""Steps to define wrong workflows with, and what is told of the mistakes in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import pytest

from stepwell._context import Context
from stepwell._definition import Workflow, activity, decision, fail, subworkflow, succeed, wait
from stepwell._errors import DefinitionError, Problem

__all__ = [
    "Ctx",
    "approval",
    "child",
    "codes",
    "denied",
    "endless",
    "lenient",
    "load",
    "one_step",
    "paid",
    "pay",
    "problems",
    "route",
    "sub",
    "undecorated",
]

Ctx = Context[Any]


@activity
def load(ctx: Ctx) -> None: ...


@activity
def pay(ctx: Ctx) -> None: ...


@decision
def route(ctx: Ctx) -> Literal["auto", "review"]:
    return "auto"


@wait(timeout=60)
def approval(ctx: Ctx, signal: str) -> Literal["yes", "no"]:
    return "yes"


@wait
def endless(ctx: Ctx, signal: str) -> Literal["yes"]:
    return "yes"


@succeed
def paid(ctx: Ctx) -> None: ...


@fail
def denied(ctx: Ctx) -> None: ...


def undecorated(ctx: Ctx) -> None: ...


child = Workflow[Any, None]("child", version="1", start=paid, edges=[])


@subworkflow(child)
def sub(ctx: Ctx) -> None: ...


def problems(start: Any = load, edges: Any = (), name: Any = "w", version: Any = "1", **options: Any) -> list[Problem]:
    """Return what is wrong with a definition, which must be something."""
    with pytest.raises(DefinitionError) as caught:
        Workflow(name, version=version, start=start, edges=edges, **options)
    return list(caught.value.problems)


def codes(start: Any = load, edges: Any = (), **options: Any) -> list[tuple[str, str | None]]:
    return [(problem.code, problem.step) for problem in problems(start, edges, **options)]


def lenient(value: Any) -> Any:
    """Hide a value from the type checkers, which find these mistakes too."""
    return value


def one_step(decorator: Callable[[Any], Any], handler: Any = undecorated) -> list[Problem]:
    step = decorator(handler)
    return problems(step, [step.then(paid)])
