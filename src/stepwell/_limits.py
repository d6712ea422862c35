"""What one payload, error, tag list, execution or graph may cost: checked at the door, before anything is stored."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

from stepwell._errors import StepwellError
from stepwell._failure import describe

_LEAST: Final = {"error": 1024}
_MOST: Final = {"depth": 500}  # what is nested deeper can't be read back near Python's own recursion limit of 1,000


class InvalidArgument(StepwellError, ValueError):
    """Raised when an argument can't be what the caller meant; the message says what is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Positive whole numbers; anything else raises `InvalidArgument`, which names all problems at once.

    Attributes:
        payload: Bytes of an input, an output or a signal's payload as JSON text.
        depth: Levels of nested lists and objects in a payload; at most 500.
        error: Bytes of a stored failure as JSON text; at least 1,024.
        tags: Tags of one execution.
        pending_signals: Signals that one execution keeps until a wait uses them.
        graph: Steps of one workflow.
    """

    payload: int = 1024 * 1024
    depth: int = 100
    error: int = 64 * 1024
    tags: int = 32
    pending_signals: int = 1_000
    graph: int = 10_000

    def __post_init__(self) -> None:
        problems = [
            problem
            for field in fields(self)
            if (problem := _problem(field.name, getattr(self, field.name))) is not None
        ]
        if problems:
            raise InvalidArgument("Limits: " + "; ".join(problems))


def _problem(name: str, value: object) -> str | None:
    least = _LEAST.get(name, 1)
    most = _MOST.get(name)
    if type(value) is int and least <= value and (most is None or value <= most):
        return None
    bounds = f"of at least {least:,}" if most is None else f"from {least:,} to {most:,}"
    return f"{name} must be a whole number {bounds}, not {describe(value)}"
