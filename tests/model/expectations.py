"""What must come of each variant of the model: it keeps the promises, it breaks one, or a situation can be reached."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["BREAKS", "EXPECTATIONS", "HOLDS", "MODEL", "NEXT_LOOK", "REACHES", "Expectation"]

MODEL: Final = Path(__file__).with_name("lease.pml")

NEXT_LOOK: Final = 13
"""The number under which the model has what is left of promise 3 where a worker stands still."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """A variant of the model, and what must come of it."""

    name: str
    options: tuple[str, ...] = ()
    breaks: int | None = None
    """the promise that must be broken; of it alone the model is asked"""
    reaches: int | None = None
    """the situation that must be possible"""

    @property
    def must_fail(self) -> bool:
        """Whether the verifier must find a counterexample, rather than search through all states without one."""
        return self.breaks is not None or self.reaches is not None

    @property
    def defines(self) -> tuple[str, ...]:
        """The options, as the preprocessor takes them."""
        asked = [*self.options]
        if self.breaks is not None:
            asked.append(f"ONLY={self.breaks}")
        if self.reaches is not None:
            asked.append(f"REACH={self.reaches}")
        return tuple(f"-D{option}" for option in asked)

    @property
    def failing_assertion(self) -> str:
        """How the text of the assertion begins that must fail."""
        number = self.reaches if self.breaks is None else self.breaks
        return f"(({number}!={number})||"


def _mutant(name: str, breaks: int) -> Expectation:
    return Expectation(name, (name,), breaks=breaks)


HOLDS: Final = (
    Expectation("2 steps, 4 claims", ("STEPS=2", "CLAIMS=4")),
    Expectation("3 steps, 3 claims", ("STEPS=3", "CLAIMS=3")),
    Expectation("1 step, 5 claims", ("STEPS=1", "CLAIMS=5")),
    Expectation("SENDS_UNTRUSTED", ("SENDS_UNTRUSTED",)),
    Expectation("STALLS, all but P3", ("STALLS", "EXCEPT=3")),
    Expectation("JUMPS, all but P3", ("JUMPS", "EXCEPT=3")),
)

BREAKS: Final = (
    _mutant("EXPECTS_NOTHING", 2),
    _mutant("GUARDED_BY_TOKEN", 1),
    _mutant("CLAIM_WRITES_NOTHING", 2),
    _mutant("CANCEL_WRITES_NOTHING", 7),
    _mutant("RETRY_WITHOUT_ID", 1),
    _mutant("RUNS_AGAIN", 1),
    _mutant("CLAIMS_EARLY", 3),
    _mutant("TRUST_FROM_ANSWER", 3),
    _mutant("NO_MARGIN", 3),
    _mutant("NO_DEADLINE", 3),
    _mutant("NO_CHECK_AT_START", 3),
    _mutant("RENEWS_ANY_TOKEN", 3),
    Expectation("EXPECTS_NOTHING, order", ("EXPECTS_NOTHING",), breaks=6),
    Expectation("RENEWS_ANY_TOKEN, STALLS", ("RENEWS_ANY_TOKEN", "STALLS"), breaks=NEXT_LOOK),
    _mutant("STALLS", 3),
    _mutant("JUMPS", 3),
)

REACHES: Final = (
    Expectation("steps under two tokens", reaches=1),
    Expectation("a commit of one who is gone", reaches=2),
    Expectation("a claim of what was handed back", reaches=3),
)

EXPECTATIONS: Final = (*BREAKS, *REACHES, *HOLDS)
