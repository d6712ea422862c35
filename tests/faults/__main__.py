"""All single faults of all scenarios, or all pairs, on one storage: `python -m tests.faults --help`.

The order is shuffled by the seed, so that a run which its budget ends has looked everywhere; `--skip` goes on where it
stopped. What fails is printed with the command that plays it again.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

from tests.faults.cases import BACKENDS, Case, Outcome, Spoilt, breaches_of, play, single_faults
from tests.faults.places import Place, place_for
from tests.faults.scenarios import SCENARIOS
from tests.support.virtual_time import Backend

RECOVERY = 2
"""calls of each method beyond those of a clean run that the second of a pair may spoil: those that recovery makes"""


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--storage", choices=["memory", "sqlite", "postgres"], default="memory")
    parser.add_argument("--pairs", action="store_true", help="play two faults at a time")
    parser.add_argument("--only", default="", metavar="TEXT", help="scenarios whose names contain this")
    parser.add_argument("--seed", type=int, default=1, help="orders the cases, and seeds jitter and schedules")
    parser.add_argument("--slice", default="1/1", metavar="I/N", help="play the I-th of N parts")
    parser.add_argument("--skip", type=int, default=0, metavar="CASES", help="go on after so many cases")
    parser.add_argument("--budget", type=float, default=float("inf"), metavar="SECONDS", help="stop after this time")
    parser.add_argument("--replay", metavar="CASE", help="play this case alone, as it was printed")
    return parser.parse_args(given)


def place_of(storage: str, stack: ExitStack) -> Place:
    """Return where cases are played; what that needs is there until the stack is closed."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    if storage != "postgres":
        return place_for("memory" if storage == "memory" else "sqlite", folder, str)
    from tests.support.postgres._databases import open_databases  # noqa: PLC0415 (they need the driver)
    from tests.support.postgres._provided import provided  # noqa: PLC0415
    from tests.support.postgres.fixtures import migrate  # noqa: PLC0415

    databases = stack.enter_context(open_databases(stack.enter_context(provided()), migrate))
    return place_for("postgres", folder, databases.shared)


def clean_runs(place: Place, names: Sequence[str], seed: int) -> dict[tuple[str, Backend], Outcome]:
    """Return what these scenarios come to where nothing goes wrong."""
    clean: dict[tuple[str, Backend], Outcome] = {}
    for name in names:
        for backend in BACKENDS:
            outcome = clean[name, backend] = play(Case(name, backend), place, seed=seed)
            if outcome.breaches:
                sys.exit(f"{name}@{backend} fails without any fault: {'; '.join(outcome.breaches)}")
    return clean


def cases(clean: dict[tuple[str, Backend], Outcome], *, pairs: bool, seed: int) -> list[Case]:
    """Return all cases of these scenarios, in the seed's order."""
    found: list[Case] = []
    for (name, backend), outcome in clean.items():
        faults = list(single_faults(outcome.calls))
        chosen = pairs_of(faults) if pairs else ((fault,) for fault in faults)
        found.extend(Case(name, backend, each) for each in chosen)
    random.Random(seed).shuffle(found)
    return found


def pairs_of(faults: Sequence[Spoilt]) -> Iterator[tuple[Spoilt, ...]]:
    """Yield two faults at a time: any two of a clean run's calls, and a call that only recovery makes as the second."""
    last = {fault.method: fault.at for fault in faults}
    beyond = [
        Spoilt(method, at + more, how)
        for method, at in last.items()
        for more in range(1, RECOVERY + 1)
        for how in {fault.how: None for fault in faults}
    ]
    for place, first in enumerate(faults):
        for second in (*faults[place + 1 :], *beyond):
            if (first.method, first.at) != (second.method, second.at):
                yield first, second


def main(given: Sequence[str] | None = None) -> int:
    """Play what was asked for; return 1 if a promise was broken."""
    asked = arguments(given)
    with ExitStack() as stack:
        place = place_of(asked.storage, stack)
        if asked.replay:
            case = Case.of(asked.replay)
            clean = play(Case(case.scenario, case.backend), place, seed=asked.seed)
            outcome = play(case, place, seed=asked.seed)
            breaches = breaches_of(case, outcome, clean)
            say(case, f"faults met: {outcome.met}", *(breaches or ["no breach"]))
            return 1 if breaches else 0
        names = [name for name in SCENARIOS if asked.only in name]
        part, _, parts = asked.slice.partition("/")
        runs = clean_runs(place, names, asked.seed)
        chosen = cases(runs, pairs=asked.pairs, seed=asked.seed)[int(part) - 1 :: int(parts)]
        what = "pairs of faults" if asked.pairs else "single faults"
        say(
            f"{len(names)} scenarios, {len(chosen):,} {what} on {asked.storage}, seed {asked.seed}, slice {asked.slice}"
        )
        return run(chosen, runs, place, asked)


def run(
    chosen: Sequence[Case], clean: dict[tuple[str, Backend], Outcome], place: Place, asked: argparse.Namespace
) -> int:
    """Play the cases for as long as the budget lasts, and tell what came of them."""
    began = told = time.monotonic()
    played = met = broken = 0
    for case in islice(chosen, asked.skip, None):
        if time.monotonic() - began > asked.budget:
            break
        outcome = play(case, place, seed=asked.seed)
        played += 1
        met += outcome.met == len(case.faults)
        breaches = breaches_of(case, outcome, clean[case.scenario, case.backend])
        if breaches:
            broken += 1
            again = f"python -m tests.faults --storage {asked.storage} --seed {asked.seed} --replay '{case}'"
            say(f"BROKEN {case}", *breaches, f"replay: {again}")
        if time.monotonic() - told > 60:
            told = time.monotonic()
            say(f"{asked.skip + played:,} of {len(chosen):,}, {broken} broken")
    seconds = time.monotonic() - began
    say(f"{played:,} cases in {seconds:,.0f} s; {met:,} met all their faults; {broken} broke a promise")
    if asked.skip + played < len(chosen):
        say(f"the budget is spent; go on with --skip {asked.skip + played}")
    return 1 if broken else 0


def say(*lines: object) -> None:
    print(*lines, sep="\n  ", flush=True)  # noqa: T201 -- a program that prints


if __name__ == "__main__":
    sys.exit(main())
