"""Drawn workflows on simulated processes under drawn faults: every promise holds at every commit, and all ends well.

The long form is `nox -s simulation`. A seed that fails is kept in `regressions/`, and run here from then on.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from stepwell.testing import FAULTS, Backend, Fault, simulate
from tests.simulation.run import REGRESSIONS, REPLAY, run_seed
from tests.simulation.scenario import drawn_scenario

SEEDS: Final = 25
PROJECT: Final = Path(__file__).parents[2]

CONSEQUENCES: Final = (
    "cancellation ignored",
    "carried out during a pause",
    "carried out for the dead",
    "carried out late",
    "claim lost after",
    "claim lost before",
    "commit lost after",
    "commit lost before",
    "held up by a partition",
    "load lost before",
    "loop blocked",
    "no answer",
    "poison struck",
    "renew lost after",
    "renew lost before",
    "stopped 0 to 1 s before its lease's end",
    "stopped when its process went on",
    "worker lacks a version",
)
ENTRIES: Final = (
    "execution.cancelled",
    "execution.claimed",
    "execution.failed",
    "execution.paused",
    "execution.pausing",
    "execution.queued",
    "execution.released",
    "execution.resumed",
    "execution.succeeded",
    "execution.woken",
    "step.failed",
    "step.interrupted",
    "step.resumed",
    "step.retry",
    "step.routed",
    "step.started",
    "step.succeeded",
    "step.suspended",
)


@pytest.mark.promise(
    "P1",
    "P2",
    "P3",
    "P4",
    "P5",
    "P6",
    "P7",
    "P8",
    "P9",
    "P10",
    "P12",
    "I2",
    "I3",
    "I4",
    "I5",
    "I10",
    "I13",
    "I14",
    "I16",
    "I17",
    "I20",
)
def test_every_promise_holds_under_every_kind_of_fault(backend: Backend) -> None:
    report = simulate(drawn_scenario, seeds=SEEDS, backends=[backend], replay=REPLAY)
    assert report.runs == SEEDS
    _check_that_it_came_to(report.happened)


def _check_that_it_came_to(happened: Counter[str]) -> None:
    """What never came about was not tested."""
    expected = (*FAULTS, *CONSEQUENCES, *(f"journal: {entry}" for entry in ENTRIES))
    assert [what for what in expected if not happened[what]] == []


def test_what_failed_once_holds(backend: Backend) -> None:
    kept = [json.loads(path.read_text()) for path in sorted(REGRESSIONS.glob("*.json"))]
    mine = [known for known in kept if known["backend"] == backend]
    assert mine
    for known in mine:
        plan = tuple(Fault(*fault) for fault in known["faults"]) if "faults" in known else None
        assert run_seed(known["seed"], backend, plan).problems == [], known["found"]


def test_a_seed_is_the_same_run_under_any_hash_seed(backend: Backend) -> None:
    command = [sys.executable, "-m", "tests.simulation", "--seeds", "3", "--backend", backend, "--digest"]
    runs = [
        subprocess.Popen(
            command,
            cwd=PROJECT,
            env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": ":".join(sys.path)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for hash_seed in ("1", "2")
    ]
    told = [run.communicate(timeout=120)[0].splitlines()[-1] for run in runs]
    assert told[0] == told[1]
    assert told[0].startswith(f"{backend} ['")
    assert len(set(told[0].split())) == 4, "three seeds are three different runs"
