"""Tries to kill a mutant: by the simulation in this process, by a test in another one that runs on a mutated copy."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stepwell.testing import BACKENDS, Backend
from tests.mutants.patches import PROJECT, SOURCE, BySeeds, ByTest, Mutant, mutated_copy, switched_on
from tests.mutants.table import mutant as named
from tests.simulation.run import run_seed

__all__ = ["Verdict", "attempt", "copy_without_defect", "failing_seeds", "not_passing"]

_LIMIT: Final = 150
"""seconds after which a test is given up: more than it is given by `faulthandler_timeout`"""
_PASSED, _FAILED = 0, 1  # what pytest exits with


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant."""

    name: str
    is_killed: bool
    how: str
    """the seeds, or the test"""
    seconds: float
    told: str = ""
    """how the test failed; or, if the mutant lives, all that pytest printed"""


def attempt(name: str, *, clean: Path, seeds: range) -> Verdict:
    """Try to kill that mutant; *clean* is a copy of the source without any defect."""
    mutant = named(name)
    began = time.perf_counter()
    if isinstance(mutant.killer, ByTest):
        is_killed, how, told = _by_test(mutant, mutant.killer, clean)
    else:
        found = [next(_finding(mutant, backend, seeds), None) for backend in BACKENDS]
        seen = " / ".join(f"none of {len(seeds)}" if seed is None else f"seed {seed}" for seed in found)
        is_killed, how, told = None not in found, f"{seen} ({' / '.join(BACKENDS)})", ""
    return Verdict(name, is_killed, how, time.perf_counter() - began, told)


def failing_seeds(name: str, backend: Backend, *, seeds: range) -> int:
    """Return how many of the seeds find that mutant."""
    return sum(1 for _ in _finding(named(name), backend, seeds))


def _finding(mutant: Mutant, backend: Backend, seeds: range) -> Iterator[int]:
    """Give the seeds that find the defect."""
    assert isinstance(mutant.killer, BySeeds)
    with switched_on(mutant):
        for seed in seeds:
            if run_seed(seed, backend, mutant.killer.plan).problems:
                yield seed


def _by_test(mutant: Mutant, test: ByTest, clean: Path) -> tuple[bool, str, str]:
    """Run the test with the defect. It must fail: a process that breaks in another way has tested nothing."""
    with tempfile.TemporaryDirectory(prefix="mutant") as folder:
        source = Path(folder) / "src"
        mutated_copy(clean, source, mutant.patches)
        code, told = _run(source, [test.id])
    failed = next((line for line in told.splitlines() if line.startswith("FAILED ")), None)
    if code == _FAILED and failed is not None:
        return True, test.short, failed.rpartition(f"{test.id} - ")[2]
    return False, f"passes: {test.short}" if code == _PASSED else f"pytest exited with {code}: {test.short}", told


def copy_without_defect(target: Path) -> None:
    """Copy the source, and see to it that a process which is to run on a copy does so. Raises RuntimeError."""
    mutated_copy(SOURCE, target, ())
    ask = [sys.executable, "-c", "import stepwell; print(stepwell.__file__)"]
    told = subprocess.run(ask, env=_environment(target), cwd=PROJECT, capture_output=True, text=True, check=True)
    if not Path(told.stdout.strip()).is_relative_to(target):
        raise RuntimeError(f"a process that was to run on {target} has imported {told.stdout.strip()}")


def not_passing(source: Path, tests: Sequence[str]) -> str | None:
    """Return what pytest tells where not all of these tests run and pass; None where they do."""
    code, told = _run(source, tests, limit=_LIMIT * 4)
    lines = told.splitlines()
    summary = lines[-1] if lines else ""
    return None if code == _PASSED and summary.startswith(f"{len(tests)} passed") else told


def _run(source: Path, tests: Sequence[str], *, limit: float = _LIMIT) -> tuple[int, str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(f"tests/{test}" for test in tests)]
    try:
        done = subprocess.run(
            command,
            env=_environment(source),
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return -1, f"no end within {limit:g} s"
    return done.returncode, done.stdout


def _environment(source: Path) -> dict[str, str]:
    """The copy comes before whatever is installed; and with `CI` set, a test that lacks its server is no skip."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(source), *sys.path]), "CI": "true"}
