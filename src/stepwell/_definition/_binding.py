"""Binding: the types of all steps of a workflow, resolved when it is registered and no earlier.

By then every module is imported, so a name that was defined after the workflow is found.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from stepwell._context import Outcome
from stepwell._definition._steps import Activity, Step, Subworkflow, Succeed, Wait
from stepwell._definition._types import StepTypes, Unresolved, WorkflowTypes, received, resolve, returned
from stepwell._errors import Problem, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping


def bound(
    workflow: object, start: Step[Any, Any], steps: Mapping[str, Step[Any, Any]]
) -> tuple[WorkflowTypes, list[Problem]]:
    """Return the types of a workflow and its steps, and a problem for every payload type that can't be resolved."""
    problems: list[Problem] = []
    arguments: list[Any] = []
    for what, annotation in zip(("input", "output"), _arguments(workflow), strict=True):
        try:
            arguments.append(resolve(annotation, start.function))
        except Unresolved as error:
            arguments.append(Any)
            name, why = error.args
            message = f"the {what} type {quoted(name)} can't be resolved ({why}); pass the class itself, not its name"
            problems.append(Problem("unresolved-type", None, message))
    given, output = arguments
    found: dict[str, StepTypes] = {}
    for step in steps.values():
        try:
            found[step.name] = _types_of(step, output)
        except Unresolved as error:
            found[step.name] = StepTypes()
            problems.append(_unresolved(step, *error.args))
    return WorkflowTypes(given, output, MappingProxyType(found)), problems


def _arguments(workflow: object) -> tuple[Any, Any]:
    """Return `In, Out` of `Workflow[In, Out](…)`, or of the base of a subclass; `Any` where there are none."""
    for generic in (getattr(workflow, "__orig_class__", None), *getattr(type(workflow), "__orig_bases__", ())):
        arguments = get_args(generic)
        if len(arguments) == 2 and not any(isinstance(argument, TypeVar) for argument in arguments):
            return arguments
    return Any, Any


def _types_of(step: Step[Any, Any], output: Any) -> StepTypes:
    match step:
        case Activity():
            given = returned(step.function) if step.returns is None else resolve(step.returns, step.function)
            return StepTypes(given, known=given is not Any)
        case Wait():
            given = received(step.function, 1) if step.signal is None else resolve(step.signal, step.function)
            return StepTypes(given, given, known=given is not Any)
        case Subworkflow():
            outcome: Any = Outcome  # subscripted with a type that only the run time knows
            return StepTypes(outcome[step.child.types.output], known=True)
        case Succeed():
            return StepTypes(output, known=output is not Any)
        case _:
            return StepTypes()


def _unresolved(step: Step[Any, Any], name: str, why: str) -> Problem:
    what, instead = (
        ("signal's", "signal=<the type> to @wait")
        if isinstance(step, Wait)
        else ("return", "returns=<the type> to @activity")
    )
    return Problem(
        "unresolved-type",
        step.name,
        f"the {what} annotation {quoted(name)} can't be resolved ({why}); "
        f"import it where the function can see it at run time, or pass {instead}",
    )
