"""What a run tells: JSON for programs, and a short table for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from benchmarks._plan import Benchmark, Figure, Measured, Samples

__all__ = ["as_json", "table"]

_NAME: Final = 40


def as_json(benchmark: Benchmark, samples: Samples) -> dict[str, Any]:
    """Return all that was found out in one benchmark; `rounds` holds each single number."""
    return {
        "title": benchmark.title,
        "settings": {variant.name: dict(variant.settings) for variant in benchmark.variants(samples.scale)},
        "figures": [{**asdict(figure), "is_met": figure.is_met} for figure in benchmark.figures(samples)],
        "rounds": {name: [_numbers(one) for one in measured] for name, measured in samples.rounds.items()},
        **benchmark.details(samples),
    }


def _numbers(measured: Measured) -> dict[str, float]:
    return {name: value for name, value in measured.items() if isinstance(value, int | float)}


def table(title: str, figures: Sequence[Figure]) -> str:
    """Return the figures as a table, with one line each, without those that are minor."""
    head = f"{'':{_NAME}} {'median':>10} {'lowest':>10} {'highest':>10} {'':16} {'ratio':>7}"
    return "\n".join(["", title, head, *(_line(figure) for figure in figures if not figure.is_minor), ""])


def _line(figure: Figure) -> str:
    numbers = " ".join(f"{_short(value):>10}" for value in (figure.median, figure.low, figure.high))
    line = f"{figure.name:{_NAME}} {numbers} {figure.unit:16}"
    if figure.ratio is not None and figure.ceiling_median is not None:
        line += f" {_short(figure.ratio):>7} of {_short(figure.ceiling_median)} ({figure.ceiling})"
    return f"{line}{_target(figure)}".rstrip()


def _target(figure: Figure) -> str:
    if figure.target is None or figure.is_met is None:
        return ""
    return f"; {figure.target.kind} {figure.target.limit:g}: {'met' if figure.is_met else 'MISSED'}"


def _short(value: float) -> str:
    """Write a number with three digits that count."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"
