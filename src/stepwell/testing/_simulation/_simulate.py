"""`simulate`: many seeds, one verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from stepwell.testing._simulation._loops import BACKENDS, Backend
from stepwell.testing._simulation._nodes import WorkerSettings
from stepwell.testing._simulation._world import Outcome, Scenario, Trial, run_trial

if TYPE_CHECKING:
    from stepwell import Workflow
    from stepwell.testing._simulation._client import Client
    from stepwell.testing._simulation._faults import Fault
    from stepwell.testing._simulation._oracle import StoredCheck

__all__ = ["SimulationFailed", "SimulationReport", "simulate"]

_SHOWN = 10
_REPLAY = "simulate(…, seeds=[{seed}], backends=[{backend!r}])"


class SimulationFailed(AssertionError):
    """Raised when a run under faults breaks a promise; tells which, and how to run it again.

    Attributes:
        outcome: What came of the run.
    """

    def __init__(self, outcome: Outcome, replay: str) -> None:
        shown = "\n  ".join(outcome.problems[:_SHOWN])
        more = len(outcome.problems) - _SHOWN
        rest = f"\n  … and {more} more" if more > 0 else ""
        again = replay.format(seed=outcome.seed, backend=outcome.backend)
        super().__init__(f"seed {outcome.seed} on {outcome.backend}:\n  {shown}{rest}\nTo run it again: {again}")
        self.outcome = outcome


@dataclass
class SimulationReport:
    """What came of all runs."""

    runs: int = 0
    happened: Counter[str] = field(default_factory=Counter[str])
    """how often each fault, each consequence and each kind of journal entry came about: one that never did was not
    tested"""
    outcomes: list[Outcome] = field(default_factory=list[Outcome])

    @property
    def failures(self) -> list[Outcome]:
        """The runs in which a promise was broken, where the first one isn't raised."""
        return [outcome for outcome in self.outcomes if outcome.problems]


def simulate(
    workflows: Sequence[Workflow[Any, Any]] | Callable[[Random], Scenario],
    *,
    workload: Callable[[Client], Awaitable[None]] | None = None,
    seeds: int | Iterable[int] = 100,
    backends: Sequence[Backend] = BACKENDS,
    faults: Sequence[Fault] | None = None,
    workers: int = 3,
    settings: WorkerSettings | None = None,
    checks: Sequence[StoredCheck] = (),
    fail_fast: bool = True,
    replay: str = _REPLAY,
) -> SimulationReport:
    """Run workflows on the real engine under simulated faults, once for each seed and backend; report what came of it.

    A run has *workers* processes with a worker each and one without, in virtual time, on a storage in memory behind a
    wire. *workload* does with a `Client` what clients do. For 25 virtual seconds processes die, stop and go on, are cut
    off, lose messages and restart (*faults*, or what the seed draws); then all is mended, and everything must come to
    its end within 400 virtual seconds. Promises are checked at every commit and every call of a handler.

    The same seed is the same run, whatever the hash seed, as long as handlers keep to virtual time and to random
    numbers of their own seeds. Handlers must not use threads; `def` activities are called in line. In place of
    workflows, a function may draw a `Scenario` from the seed's generator, that has its settings and checks in it.

    Raises SimulationFailed for the first run that breaks a promise; with *fail_fast* False all are reported.
    """
    scenario = _scenario(workflows, workload, settings, tuple(checks))
    report = SimulationReport()
    for seed in range(seeds) if isinstance(seeds, int) else seeds:
        for backend in backends:
            plan = None if faults is None else tuple(faults)
            trial = Trial(seed, backend, scenario, plan, workers=workers)
            outcome = run_trial(trial)
            report.runs += 1
            report.happened.update(outcome.happened)
            report.outcomes.append(outcome)
            if outcome.problems and fail_fast:
                raise SimulationFailed(outcome, replay)
    return report


def _scenario(
    workflows: Sequence[Workflow[Any, Any]] | Callable[[Random], Scenario],
    workload: Callable[[Client], Awaitable[None]] | None,
    settings: WorkerSettings | None,
    checks: tuple[StoredCheck, ...],
) -> Callable[[Random], Scenario]:
    if callable(workflows):
        return workflows
    if workload is None:
        raise TypeError("simulate needs a workload: what clients do with the workflows")
    given = Scenario(workflows, workload, settings=WorkerSettings() if settings is None else settings, checks=checks)
    return lambda _: given
