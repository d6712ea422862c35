"""How far a step is, told by way of its log: `logging` takes any object as a message, and shows its text."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Progress"]


@dataclass(frozen=True, slots=True)
class Progress:
    """A log message that a reader of lines sees as *text*, and a reader of numbers as *done* parts of *total*."""

    done: int
    total: int
    text: str

    def __str__(self) -> str:
        """Show what a line of the log says."""
        return self.text
