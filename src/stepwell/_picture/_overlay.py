"""What a picture shows of one execution, in the words of the picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Mark", "Overlay", "StepMark"]


class Mark(StrEnum):
    """How a step stands; each has a sign of its own."""

    DONE = "done"
    ACTIVE = "active"
    HELD = "held"
    """it waits: for a retry, a signal, a child, or the end of a pause"""
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class StepMark:
    """What became of one step."""

    mark: Mark
    note: str
    """a few words below its label; may be empty"""
    detail: str
    """what is added to its title"""
    is_current: bool


@dataclass(frozen=True, slots=True)
class Overlay:
    """What became of all steps that were visited, by name; and how often each edge was taken, by step and route."""

    summary: str
    steps: Mapping[str, StepMark]
    taken: Mapping[tuple[str, str], int]
