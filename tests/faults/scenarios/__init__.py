"""Scenarios that together take every transition there is. Each plays in a world whose storage may be spoilt anywhere.

A scenario is written so that its end is the same whatever call fails, hangs or comes late: its steps have no timeout
that a hang could reach, unless that is what it is about, and its clients ask again after a StorageError.
"""

from __future__ import annotations

from tests.faults.scenarios import children, control, steps, waits, workers
from tests.faults.scenarios._registry import SCENARIOS, Scenario

__all__ = ["SCENARIOS", "Scenario", "children", "control", "steps", "waits", "workers"]
