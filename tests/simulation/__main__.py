"""Runs seeds, or a single one again, or the mutants: `python -m tests.simulation --help`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Final

from stepwell.testing import BACKENDS, Backend, Outcome
from tests.simulation.mutants import MUTANTS, Mutant, switched_on
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
    parser.add_argument("--mutants", action="store_true", help="run with each deliberate defect until it is found")
    parser.add_argument(
        "--count", action="store_true", help="with --mutants: run all seeds, and count those that find it"
    )
    parser.add_argument("--mutant", type=int, help="with the defect of this number")
    arguments = parser.parse_args()
    backends: list[Backend] = arguments.backend or list(BACKENDS)
    if arguments.mutants:
        return _run_mutants(backends, arguments)
    mutant: int | None = arguments.mutant
    if mutant is not None:
        with switched_on(MUTANTS[mutant]):
            return _run(backends, arguments)
    return _run(backends, arguments)


def _run(backends: list[Backend], arguments: argparse.Namespace) -> int:
    first, count = (arguments.start, arguments.seeds) if arguments.seed is None else (arguments.seed, 1)
    is_well = True
    for backend in backends:
        began = time.perf_counter()
        happened: Counter[str] = Counter()
        failing: list[Outcome] = []
        digests: list[str] = []
        for outcome in _outcomes(backend, first, count, arguments.processes):
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


def _outcomes(backend: Backend, first: int, count: int, processes: int) -> Iterator[Outcome]:
    """Give each as soon as it is there: what fails early in a long run is told early."""
    seeds = range(first, first + count)
    if processes == 1:
        yield from (run_seed(seed, backend) for seed in seeds)
    else:
        with ProcessPoolExecutor(processes) as pool:
            yield from pool.map(run_seed, seeds, [backend] * count, chunksize=_BATCH)


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


def _run_mutants(backends: list[Backend], arguments: argparse.Namespace) -> int:
    """Run with each defect until it is found, or all seeds to count; one that is never found is a failure."""
    survived: list[str] = []
    seeds = range(arguments.start, arguments.start + arguments.seeds)
    chosen = MUTANTS if arguments.mutant is None else MUTANTS[arguments.mutant : arguments.mutant + 1]
    for mutant in chosen:
        told: list[str] = []
        for backend in backends:
            found = list(islice(_finding(mutant, backend, seeds), None if arguments.count else 1))
            if not found:
                survived.append(f"{mutant.name} ({backend})")
            told.append(f"{len(found)} of {len(seeds)}" if arguments.count or not found else f"seed {found[0]}")
        print(f"{' / '.join(told)}: {mutant.name}", flush=True)
    print(f"{len(chosen)} defects on {' and '.join(backends)}; not found: {survived or 'none'}")
    return 1 if survived else 0


def _finding(mutant: Mutant, backend: Backend, seeds: range) -> Iterator[int]:
    """Give the seeds that find the defect."""
    with switched_on(mutant):
        for seed in seeds:
            if run_seed(seed, backend, mutant.plan).problems:
                yield seed


if __name__ == "__main__":
    sys.exit(main())
