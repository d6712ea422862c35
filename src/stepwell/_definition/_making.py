"""Making a handle: every argument of a decorator is checked here, and what is wrong is written on the handle."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from stepwell._definition._handlers import is_async, misfit, name_of
from stepwell._definition._steps import DEFAULT, ONCE, Default, Step, Wait
from stepwell._errors import Problem, quoted
from stepwell._retry import Retry, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stepwell._definition._steps import Timeout

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}", re.ASCII)
NAME_RULE: Final = "must be a letter or _, then up to 127 letters, digits or any of _ . -"
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})

StepT = TypeVar("StepT", bound=Step[Any, Any])


def make(
    kind: Callable[..., StepT],
    function: object,
    *,
    name: object,
    label: object,
    description: object,
    max_visits: object = 1,
    retry: object = ONCE,
    timeout: object = DEFAULT,
    given: tuple[str, ...] = ("context",),
    own: Mapping[str, object] = _NOTHING,
) -> StepT:
    """Make a handle of a kind; *given* names the handler's arguments, *own* are the fields of this kind alone."""
    problems: list[tuple[str, str]] = []
    wanted = name_of(function) if name is None else name
    step = wanted if isinstance(wanted, str) else quoted(wanted)
    if not is_name(wanted):
        hint = "; pass name=…" if name is None else ""
        problems.append(("bad-name", f"a step's name {NAME_RULE}{hint}"))
    unfit = misfit(function, *given)
    if unfit is not None:
        problems.append(("bad-handler", unfit))
    if timeout is DEFAULT and kind is Wait:
        problems.append(("bad-timeout", "a wait has no default timeout; pass how long to wait, or None for ever"))
    transactional = own.get("transactional", False)
    if not isinstance(transactional, bool):
        problems.append(("bad-transactional", f"transactional must be True or False, not {quoted(transactional)}"))
    elif transactional and unfit is None and not is_async(function):
        problems.append(
            ("bad-transactional", "transactional=True takes an `async def`: no connection can go to a thread")
        )
    fields = {
        "label": _text(step if label is None else label, "label", problems),
        "description": _text(description, "description", problems),
        "max_visits": _visits(max_visits, problems),
        "retry": _retry(retry, problems),
        "timeout": _timeout(timeout, problems),
    }
    told = tuple(Problem(code, step, message) for code, message in problems)
    return kind(name=step, function=function, is_async=is_async(function), problems=told, **fields, **own)


def is_name(value: object) -> bool:
    """Tell whether a value may be the name of a step or a workflow."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _text(value: object, what: str, problems: list[tuple[str, str]]) -> str:
    if isinstance(value, str):
        return value
    problems.append(("bad-label", f"{what} must be a string, not {quoted(value)}"))
    return ""


def _visits(value: object, problems: list[tuple[str, str]]) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    problems.append(("bad-max-visits", f"max_visits must be a whole number of 1 or more, not {quoted(value)}"))
    return 1


def _retry(value: Any, problems: list[tuple[str, str]]) -> Retry:
    try:
        return Retry.of(value)
    except ValueError:
        message = f"retry must be a number of attempts, 1 or more, or a Retry, not {quoted(value)}"
        problems.append(("bad-retry", message))
        return ONCE


def _timeout(value: Any, problems: list[tuple[str, str]]) -> Timeout:
    if value is None or isinstance(value, Default):
        return value
    try:
        return seconds(value, "timeout", positive=True)
    except (TypeError, ValueError) as error:
        problems.append(("bad-timeout", str(error)))
        return DEFAULT
