"""The scenarios by name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from tests.faults.world import World

__all__ = ["SCENARIOS", "Scenario", "scenario"]

Scenario = Callable[[World], Awaitable[None]]

SCENARIOS: Final[dict[str, Scenario]] = {}


def scenario(play: Scenario) -> Scenario:
    """Make a scenario known under the function's name."""
    SCENARIOS[getattr(play, "__name__")] = play  # noqa: B009 -- a Callable has no name for the type checker
    return play
