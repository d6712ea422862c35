"""What the command line itself finds wrong."""

from __future__ import annotations

from typing import Final, cast

__all__ = ["USAGE", "CommandError", "first_error"]

USAGE: Final = 2


class CommandError(Exception):
    """Raised for what the user can mend; the message says how, and *exit_code* is the command's."""

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def first_error(error: BaseException) -> BaseException:
    """Return the error itself, or what a group of errors is first about."""
    first = error
    while isinstance(first, BaseExceptionGroup):
        first = cast("BaseExceptionGroup[BaseException]", first).exceptions[0]
    return first
