"""The words of the benchmarks as values: what is run, how much of it, and what is told in the end."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

__all__ = [
    "BACKENDS",
    "Backend",
    "Benchmark",
    "Figure",
    "Measured",
    "Samples",
    "Scale",
    "Settings",
    "Target",
    "Variant",
    "figure",
]

Backend = Literal["asyncio", "trio"]
BACKENDS: Final[tuple[Backend, ...]] = ("asyncio", "trio")

Settings = Mapping[str, Any]
"""What a program is told; JSON."""
Measured = Mapping[str, Any]
"""What a program answers: numbers by name, and what else there is to tell; JSON."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is run.

    *executions* stand behind each figure of throughput, in all rounds together; what the other benchmarks make of the
    number stands in each of them. *hold* says how many seconds an old transaction is held open, where one is.
    """

    executions: int
    rounds: int
    is_profiled: bool = False
    hold: float = 60.0

    @property
    def per_round(self) -> int:
        """Executions of one round."""
        return math.ceil(self.executions / self.rounds)


@dataclass(frozen=True, slots=True)
class Variant:
    """One program with its settings. Each of its rounds runs in a process of its own."""

    name: str
    settings: Settings


@dataclass(frozen=True, slots=True)
class Samples:
    """What the programs answered: for each variant one answer a round."""

    scale: Scale
    rounds: Mapping[str, Sequence[Measured]]

    def of(self, variant: str, value: str, /) -> list[float]:
        """Return one number of a variant, round by round."""
        return [measured[value] for measured in self.rounds[variant]]


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure should reach: the median itself, or its ratio to the ceiling."""

    kind: Literal["at least", "at most"]
    limit: float
    of: Literal["median", "ratio"] = "ratio"


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that was measured: its median over the rounds, the lowest and highest, and what it is held against.

    `ratio` is the median of the rounds' own ratios to the ceiling: noise that lasts for a round strikes both. Figures
    that are minor stand in the JSON only.
    """

    name: str
    unit: str
    median: float
    low: float
    high: float
    rounds: int
    ceiling: str | None = None
    ceiling_median: float | None = None
    ratio: float | None = None
    target: Target | None = None
    is_minor: bool = False

    @property
    def is_met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        if self.target is None:
            return None
        value = self.ratio if self.target.of == "ratio" else self.median
        if value is None:
            return None
        return value >= self.target.limit if self.target.kind == "at least" else value <= self.target.limit


def figure(
    name: str,
    unit: str,
    values: Sequence[float],
    /,
    *,
    ceiling: tuple[str, Sequence[float]] | None = None,
    target: Target | None = None,
    is_minor: bool = False,
) -> Figure:
    """Return the figure of these rounds; *ceiling* is what it is, and its own value in each of the same rounds."""
    ratio: float | None = None
    if ceiling is not None and all(ceiling[1]):  # memory comes in pages: few tasks may take none
        ratio = statistics.median(own / other for own, other in zip(values, ceiling[1], strict=True))
    return Figure(
        name,
        unit,
        statistics.median(values),
        min(values),
        max(values),
        len(values),
        ceiling=None if ceiling is None else ceiling[0],
        ceiling_median=None if ceiling is None else statistics.median(ceiling[1]),
        ratio=ratio,
        target=target,
        is_minor=is_minor,
    )


def _no_details(_: Samples) -> dict[str, Any]:
    return {}


def _no_notes(_: Samples) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What belongs to one benchmark.

    *variants* gives the programs of one round in their order; *measure* is one of them, run in a process of its own
    with a folder of its own; *figures* makes of all answers what is told, *details* what stands besides in the JSON,
    and *notes* what stands below the table. All rounds together take at most *budget* (seconds). Those *on_postgres*
    need a server; those that aren't *is_default* only run if they are asked for.
    """

    name: str
    title: str
    variants: Callable[[Scale], Sequence[Variant]]
    measure: Callable[[Settings, Path], Measured]
    figures: Callable[[Samples], Sequence[Figure]]
    budget: float
    details: Callable[[Samples], Mapping[str, Any]] = field(default=_no_details)
    notes: Callable[[Samples], str] = field(default=_no_notes)
    on_postgres: bool = False
    is_default: bool = True
