"""Runs one seed of the drawn scenario."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from stepwell.testing import Backend, Fault, Outcome, simulate
from tests.simulation.scenario import drawn_scenario

__all__ = ["REGRESSIONS", "REPLAY", "run_seed"]

REGRESSIONS: Final = Path(__file__).parent / "regressions"
REPLAY: Final = "python -m tests.simulation --seed {seed} --backend {backend}"


def run_seed(seed: int, backend: Backend, faults: tuple[Fault, ...] | None = None) -> Outcome:
    """Run a seed, with its own faults or others; whatever it breaks is in the outcome."""
    (outcome,) = simulate(drawn_scenario, seeds=[seed], backends=[backend], faults=faults, fail_fast=False).outcomes
    return outcome
