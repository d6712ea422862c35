"""A rule that was found broken, and all rules that can be."""

from __future__ import annotations

from typing import Final, Self

from msgspec import Struct

__all__ = ["RULES", "Breach"]

RULES: Final[dict[str, int]] = {
    "one-success": 1,
    "one-outcome": 1,
    "holder": 2,
    "token": 2,
    "attempts": 4,
    "stranded": 5,
    "paused": 5,
    "readable": 6,
    "numbered": 6,
    "ordered": 6,
    "begins": 6,
    "path": 6,
    "row": 6,
    "lawful": 7,
    "final": 7,
    "counted": 8,
    "used": 8,
    "discarded": 8,
    "pending": 8,
    "child": 9,
    "told": 9,
}
"""Each rule, and the promise that it is part of."""

_MAX_FOUND: Final = 1_000
"""characters of what was found that a breach keeps"""


class Breach(Struct, frozen=True, kw_only=True):
    """A promise that was found broken: which, in which execution, and what was found in the place of what."""

    promise: int
    """its number in the documentation of the promises"""
    rule: str
    execution: str | None
    """the execution's id; None where not even that can be read"""
    expected: str
    found: str
    seq: int | None = None
    """the journal entry that is wrong, if it is one"""

    @classmethod
    def of(cls, rule: str, execution: str | None, expected: str, found: str, seq: int | None = None) -> Self:
        """Return the breach of this rule."""
        return cls(
            promise=RULES[rule], rule=rule, execution=execution, expected=expected, found=found[:_MAX_FOUND], seq=seq
        )

    def __str__(self) -> str:
        where = repr(self.execution) if self.seq is None else f"{self.execution!r} at entry {self.seq}"
        return f"P{self.promise} ({self.rule}) broken by {where}: expected {self.expected}, found {self.found}"
