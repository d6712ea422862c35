"""The library's log. A log handler is the user's code: what it raises must not change what becomes of an execution."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Final

__all__ = ["Log"]

_CALLERS: Final = 3
"""frames from where a record is made to who tells it"""


class Log:
    """Tells the logger `stepwell`; what its handlers raise is dropped, since there is nobody left to tell."""

    def warning(self, message: str, *values: object) -> None:
        """Tell of what somebody should look at."""
        self._tell(logging.WARNING, message, values)

    def error(self, message: str, *values: object) -> None:
        """Tell of what went wrong."""
        self._tell(logging.ERROR, message, values)

    def exception(self, message: str, *values: object) -> None:
        """Tell of the exception that is handled just now."""
        self._tell(logging.ERROR, message, values, with_error=True)

    @staticmethod
    def _tell(level: int, message: str, values: tuple[object, ...], *, with_error: bool = False) -> None:
        with suppress(Exception):
            logging.getLogger("stepwell").log(level, message, *values, exc_info=with_error, stacklevel=_CALLERS)
