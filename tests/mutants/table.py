"""All deliberate defects of the library, and what kills each: `python -m tests.mutants --list` prints them.

A test for a race has a mutant that it kills, and so has each bug that others of this kind had in production. What
survives fails `nox -s mutants`.
"""

from __future__ import annotations

from typing import Final

from tests.mutants.patches import Mutant
from tests.mutants.simulated import SIMULATED
from tests.mutants.tested import TESTED

__all__ = ["MUTANTS", "mutant"]

MUTANTS: Final = (*SIMULATED, *TESTED)


def mutant(name: str) -> Mutant:
    """Return the mutant of this name. Raises ValueError."""
    found = next((each for each in MUTANTS if each.name == name), None)
    if found is None:
        raise ValueError(f"there is no mutant {name!r}")
    return found
