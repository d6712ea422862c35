"""Faults that Hypothesis draws: a plan that breaks a promise shrinks to the few faults that it takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepwell import Context, Workflow, activity, succeed
from stepwell.testing import BACKENDS, FAULTS, Backend, Client, Fault, SimulationFailed, WorkerSettings, simulate
from tests.mutants.patches import switched_on
from tests.mutants.table import mutant
from tests.simulation.run import run_seed

FAULT: Final = st.builds(
    Fault,
    delay=st.floats(0, 4).map(lambda seconds: round(seconds, 2)),
    kind=st.sampled_from(FAULTS),
    victim=st.integers(0, 3),
    duration=st.floats(0.5, 12).map(lambda seconds: round(seconds, 2)),
)
LEASE: Final = 3.0


@pytest.mark.promise("P1", "P2", "P3", "P5")
@settings(max_examples=15, deadline=None, database=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(plan=st.lists(FAULT, max_size=10), seed=st.integers(0, 2**32), on=st.sampled_from(BACKENDS))
def test_no_plan_of_faults_breaks_a_promise(plan: list[Fault], seed: int, on: Backend) -> None:
    assert run_seed(seed, on, tuple(plan)).problems == []


async def sleep(ctx: Context[int]) -> str:
    await anyio.sleep(2)
    return "slept"


def riding(ctx: Context[int]) -> str:
    return "rode"


def one_activity() -> Workflow[int, str]:
    step = activity(name="work", timeout=None)(sleep)
    return Workflow[int, str]("one", version="1", start=step, edges=[step.then(succeed(name="done")(riding))])


async def start_two(client: Client) -> None:
    for number in range(2):
        await client.start(FLOW, number, id=f"e{number}")


FLOW: Final = one_activity()
STOPPED: Final = (Fault(1.0, "pause", 0, 10), Fault(0.0, "pause", 1, 10))
"""two of three workers stand still in the middle of a step for longer than their leases"""


def run(backend: Backend, faults: Sequence[Fault], seeds: int) -> None:
    settings = WorkerSettings(lease=LEASE, max_crashes=10, concurrency=1)
    report = simulate([FLOW], workload=start_two, seeds=seeds, backends=[backend], faults=faults, settings=settings)
    assert report.happened["journal: execution.succeeded"] == 2 * seeds


@pytest.mark.promise("P2", "I2", "I10")
def test_a_worker_that_was_stopped_beyond_its_lease_calls_nothing_more(backend: Backend) -> None:
    """It used to call a plain `def` decision or terminal that follows the step."""
    run(backend, STOPPED, seeds=10)


def test_the_test_before_can_fail(backend: Backend) -> None:
    defect = mutant("a decision rides along though the lease ran out")
    with switched_on(defect), pytest.raises(SimulationFailed, match="is begun by worker"):
        run(backend, STOPPED, seeds=10)


@pytest.mark.promise("P3", "I4")
def test_a_worker_that_is_cut_off_stops_before_another_begins(backend: Backend) -> None:
    run(backend, [Fault(0.4, "partition", victim, 12) for victim in (0, 1)], seeds=5)
