"""Runs seeds, or a single one again: `python -m tests.simulation --help`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import Final

from stepwell.testing import BACKENDS, Backend, Fault, Outcome
from tests.mutants.patches import BySeeds, Mutant, switched_on
from tests.mutants.table import mutant as named
from tests.simulation.run import REGRESSIONS, run_seed

_BATCH: Final = 25
_SHOWN: Final = 5


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seed", type=int, help="run this one again, and say all that is wrong")
    parser.add_argument("--seeds", type=int, default=300, help="how many to run on each backend")
    parser.add_argument("--start", type=int, default=0, help="the first of them")
    parser.add_argument("--backend", choices=BACKENDS, action="append", help="only this one")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--digest", action="store_true", help="print what all runs come to, to compare")
    parser.add_argument("--mutant", type=named, metavar="NAME", help="with this deliberate defect of tests.mutants")
    arguments = parser.parse_args()
    backends: list[Backend] = arguments.backend or list(BACKENDS)
    mutant: Mutant | None = arguments.mutant
    if mutant is None:
        return _run(backends, arguments)
    with switched_on(mutant):
        return _run(backends, arguments)


def _run(backends: list[Backend], arguments: argparse.Namespace) -> int:
    first, count = (arguments.start, arguments.seeds) if arguments.seed is None else (arguments.seed, 1)
    killer = None if arguments.mutant is None else arguments.mutant.killer
    plan = killer.plan if isinstance(killer, BySeeds) else None
    is_well = True
    for backend in backends:
        began = time.perf_counter()
        happened: Counter[str] = Counter()
        failing: list[Outcome] = []
        digests: list[str] = []
        for outcome in _outcomes(backend, range(first, first + count), plan, arguments.processes):
            happened.update(outcome.happened)
            digests.append(outcome.digest)
            if outcome.problems:
                failing.append(outcome)
                _tell(outcome, keep=arguments.mutant is None and arguments.seed is None)
        took = time.perf_counter() - began
        print(f"{backend}: {count} seeds from {first}, {len(failing)} failing, {count / took * 60:.0f} a minute")
        if arguments.digest:
            print(f"{backend} {digests}")
        elif arguments.seed is None:
            print("  " + ", ".join(f"{what} {times}" for what, times in sorted(happened.items())))
        is_well = is_well and not failing
    return 0 if is_well else 1


def _outcomes(backend: Backend, seeds: range, plan: tuple[Fault, ...] | None, processes: int) -> Iterator[Outcome]:
    """Give each as soon as it is there: what fails early in a long run is told early."""
    if processes == 1:
        yield from (run_seed(seed, backend, plan) for seed in seeds)
    else:
        with ProcessPoolExecutor(processes) as pool:
            yield from pool.map(run_seed, seeds, repeat(backend), repeat(plan), chunksize=_BATCH)


def _tell(outcome: Outcome, *, keep: bool) -> None:
    """Say what is wrong, and keep the seed for a test that runs it again."""
    print(f"seed {outcome.seed} on {outcome.backend}:")
    for problem in outcome.problems[:_SHOWN]:
        print(f"  {problem}")
    print(f"  again: python -m tests.simulation --seed {outcome.seed} --backend {outcome.backend}")
    if keep:
        path = Path(REGRESSIONS) / f"seed-{outcome.seed}-{outcome.backend}.json"
        kept = {"seed": outcome.seed, "backend": outcome.backend, "found": outcome.problems[0]}
        path.write_text(json.dumps(kept, indent=2) + "\n")
        print(f"  kept as {path}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
