"""Times as the tables keep them: integers, microseconds since the epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from stepwell._model import Moment

__all__ = ["later", "microseconds", "time_of"]

_LATEST: Final = 2**63 - 1


def microseconds(seconds: float) -> int:
    """Return *seconds* in the unit of the tables."""
    return round(seconds * 1_000_000)


def later(now: int, seconds: float) -> int:
    """Return the time so many seconds from *now*; at most the last one that SQLite can hold."""
    if seconds * 1_000_000 >= _LATEST - now:
        return _LATEST
    return now + microseconds(seconds)


def time_of(moment: Moment, now: int) -> int | None:
    """Return *moment* as a time, or None for never."""
    return moment.at if moment.after is None else later(now, moment.after)
