"""Verifies the model, its mutants and its situations: `python -m tests.model [NAME …]`.

Exits with 0 where all is as expected, 1 where something is not, 2 where Spin, gcc or a name is missing. With names,
only those variants are run whose names begin so, and each counterexample is told event by event.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from tests.model.expectations import EXPECTATIONS, NEXT_LOOK, Expectation
from tests.model.verifier import Outcome, ToolMissing, ToolRefused, require_tools, verify

AT_ONCE: Final = 2


def main(names: list[str]) -> int:
    """Verify what *names* begin, or everything, and print a table."""
    chosen = [one for one in EXPECTATIONS if not names or any(one.name.startswith(name) for name in names)]
    if not chosen:
        print(f"no variant of the model begins with {' or '.join(names)}", file=sys.stderr)
        return 2
    try:
        require_tools()
    except ToolMissing as error:
        print(error, file=sys.stderr)
        return 2
    begun = time.monotonic()
    width = max(len(one.name) for one in EXPECTATIONS)
    print(f"{'variant':{width}}  {'expected':12} {'states':>9} {'seconds':>7}  outcome")
    as_expected = 0
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for one, outcome in zip(chosen, threads.map(outcome_of, chosen), strict=True):
            as_expected += outcome.complaint is None
            verdict = outcome.complaint or "as expected"
            print(f"{one.name:{width}}  {promised(one):12} {outcome.states:>9,} {outcome.seconds:>7.1f}  {verdict}")
            if names or outcome.complaint is not None:
                for event in outcome.story:
                    print(f"    {event}")
            sys.stdout.flush()
    print(f"{as_expected} of {len(chosen)} as expected, in {time.monotonic() - begun:.1f} s")
    return 0 if as_expected == len(chosen) else 1


def outcome_of(expected: Expectation) -> Outcome:
    """Verify one; a tool that fails is not as expected either."""
    try:
        return verify(expected)
    except ToolRefused as error:
        return Outcome(str(error), 0, 0.0)


def promised(expected: Expectation) -> str:
    """Say in a word or two what must come of it."""
    if expected.reaches is not None:
        return "is reached"
    if expected.breaks is None:
        return "holds"
    return "breaks P3*" if expected.breaks == NEXT_LOOK else f"breaks P{expected.breaks}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
