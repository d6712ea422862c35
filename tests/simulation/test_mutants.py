"""The simulation finds deliberate defects; all of them are tried by `nox -s mutants`, here those that show at once."""

from __future__ import annotations

from typing import Final

import pytest

from stepwell.testing import Backend
from tests.simulation.mutants import MUTANTS, Mutant, switched_on
from tests.simulation.run import run_seed

SHOW_AT_ONCE: Final = (
    "the token is not raised by a claim",
    "a signal is marked as used in a second transaction",
    "an attempt is not counted at its claim",
)
FIRST_SEEDS: Final = 12


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_can_be_switched_on_and_leaves_nothing_behind(mutant: Mutant) -> None:
    """What it changes is there: a mutant whose source moved on would find nothing, and look as if it were caught."""
    with switched_on(mutant):
        pass
    with switched_on(mutant):
        pass


@pytest.mark.parametrize("name", SHOW_AT_ONCE)
def test_a_defect_is_found_within_a_few_seeds(name: str, backend: Backend) -> None:
    mutant = next(mutant for mutant in MUTANTS if mutant.name == name)
    with switched_on(mutant):
        assert any(run_seed(seed, backend, mutant.plan).problems for seed in range(FIRST_SEEDS))
