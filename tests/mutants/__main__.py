"""Kills every mutant, or says which survives: `python -m tests.mutants --help`."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

from stepwell.testing import BACKENDS, Backend
from tests.mutants.killing import Verdict, attempt, copy_without_defect, failing_seeds, not_passing
from tests.mutants.patches import BySeeds, ByTest, Mutant
from tests.mutants.table import MUTANTS

_NAME: Final = 92
_HOW: Final = 100


def main() -> int:
    arguments = _arguments()
    chosen = [mutant for mutant in MUTANTS if any(text in mutant.name for text in arguments.only)]
    if not chosen:
        print(f"no mutant's name contains {arguments.only}")
        return 2
    if arguments.list:
        _list(chosen)
        return 0
    seeds = range(arguments.start, arguments.start + arguments.seeds)
    with ProcessPoolExecutor(arguments.processes) as pool:
        if arguments.count:
            return _count(pool, chosen, seeds)
        return _kill(pool, chosen, seeds, is_verbose=arguments.verbose)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", default=[""], metavar="NAME", help="mutants whose names contain one of these"
    )
    parser.add_argument("--list", action="store_true", help="say what kills each, and kill none")
    parser.add_argument("--seeds", type=int, default=300, help="how many the simulation may take for each")
    parser.add_argument("--start", type=int, default=0, help="the first of them")
    parser.add_argument("--count", action="store_true", help="run all seeds, and count those that find each")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--verbose", action="store_true", help="say how each test failed")
    return parser.parse_args()


def _list(chosen: Sequence[Mutant]) -> None:
    for mutant in chosen:
        print(f"{mutant.name:{_NAME}}  {_told(mutant)}")
    print(f"{len(chosen)} mutants")


def _told(mutant: Mutant) -> str:
    return "simulation" if isinstance(mutant.killer, BySeeds) else mutant.killer.id


def _kill(pool: ProcessPoolExecutor, chosen: Sequence[Mutant], seeds: range, *, is_verbose: bool) -> int:
    """Print for each what killed it; what survives, or can't be tried, is a failure."""
    began = time.perf_counter()
    tests = sorted({mutant.killer.id for mutant in chosen if isinstance(mutant.killer, ByTest)})
    with tempfile.TemporaryDirectory(prefix="mutants") as folder:
        clean = Path(folder) / "clean"
        copy_without_defect(clean)
        told = not_passing(clean, tests) if tests else None
        if told is not None:  # a test that fails anyway kills nothing
            print(f"without any defect, not every test passes:\n{told}")
            return 1
        print(f"{'mutant':{_NAME}}  {'killed by':{_HOW}}  seconds")
        standing: list[Verdict] = []
        for verdict in pool.map(partial(attempt, clean=clean, seeds=seeds), [each.name for each in chosen]):
            print(f"{verdict.name:{_NAME}}  {verdict.how:{_HOW}}  {verdict.seconds:7.1f}", flush=True)
            if is_verbose and verdict.is_killed and verdict.told:
                print(f"    {verdict.told}")
            if not verdict.is_killed:
                standing.append(verdict)
    print(f"{len(chosen)} mutants in {time.perf_counter() - began:.0f} s, {len(standing)} not killed")
    for verdict in standing:
        print(f"\nNOT KILLED: {verdict.name}\n{verdict.told}")
    return 1 if standing else 0


def _count(pool: ProcessPoolExecutor, chosen: Sequence[Mutant], seeds: range) -> int:
    """Print for each mutant of the simulation how many seeds find it; one that none finds is a failure."""
    names = [mutant.name for mutant in chosen if isinstance(mutant.killer, BySeeds)]
    work: list[tuple[str, Backend]] = [(name, backend) for name in names for backend in BACKENDS]
    print(f"{'mutant':{_NAME}}  failing seeds of {len(seeds)}: {', '.join(BACKENDS)}")
    found = pool.map(partial(failing_seeds, seeds=seeds), *zip(*work, strict=True))
    is_well = True
    for name in names:
        counts = [next(found) for _ in BACKENDS]
        print(f"{name:{_NAME}}  {', '.join(map(str, counts))}", flush=True)
        is_well = is_well and all(counts)
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
