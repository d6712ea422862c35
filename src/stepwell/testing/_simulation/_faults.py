"""What goes wrong: a plan of faults, one after the other, that a seed draws or a test writes down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, Literal, get_args

__all__ = ["FAULTS", "Fault", "FaultKind", "drawn_plan"]

FaultKind = Literal["crash", "pause", "partition", "slow", "flaky", "deaf", "drain", "poison", "block", "stubborn"]
FAULTS: Final[tuple[FaultKind, ...]] = get_args(FaultKind)

_LONGEST: Final[dict[FaultKind, float]] = {
    "pause": 15.0,
    "partition": 12.0,
    "slow": 10.0,
    "flaky": 5.0,
    "deaf": 20.0,
    "block": 15.0,
    "stubborn": 8.0,
}
"""seconds"""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    *delay* is counted from the fault before, in seconds, *duration* from its beginning. *victim* counts the processes
    that live then, those with workers first, and goes round. The kinds: `crash` kills a process; `pause` stops it as
    SIGSTOP does, while time goes on for all others; `partition` cuts it off from the storage; `slow` makes its messages
    take up to 4 s each way; `flaky` loses some of all requests and answers; `deaf` loses all hints that something is
    due; `drain` stops a process in good order; `poison` lets the next handler there kill its process; `block` lets the
    next handler there keep the loop to itself; `stubborn` lets the next handler there that is cancelled go on for a
    while.
    """

    delay: float
    kind: FaultKind
    victim: int = 0
    duration: float = 0.0


def drawn_plan(random: Random, *, within: float) -> tuple[Fault, ...]:
    """Draw faults that begin within so many seconds; each plan leaves some kinds out, so that rarer ones meet."""
    share = random.choice((0.2, 0.4, 0.7, 0.9))
    kinds: Sequence[FaultKind] = [kind for kind in FAULTS if random.random() < share] or FAULTS
    pause = random.choice((0.2, 0.5, 1.0, 2.0))
    faults: list[Fault] = []
    at = 0.0
    while True:
        delay = round(random.expovariate(1 / pause), 3)
        at += delay
        if at > within:
            return tuple(faults)
        kind = random.choice(kinds)
        duration = round(random.random() * _LONGEST.get(kind, 0.0), 3)
        faults.append(Fault(delay, kind, random.randrange(8), duration))
