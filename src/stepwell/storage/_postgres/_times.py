"""Times as the tables keep them: integers, microseconds since the epoch, within a bigint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from stepwell._model import Moment

__all__ = ["LATEST", "microseconds", "time_of", "within"]

LATEST: Final = 2**63 - 1


def microseconds(seconds: float) -> int:
    """Return *seconds* in the unit of the tables; at most the latest time that they can hold."""
    length = seconds * 1_000_000
    return LATEST if length >= LATEST else round(length)


def within(number: int) -> int:
    """Return *number*, or the one next to it that a bigint can hold."""
    return max(-LATEST, min(number, LATEST))


def time_of(moment: Moment, now: int) -> int | None:
    """Return *moment* as a time, or None for never."""
    if moment.after is not None:
        return min(now + microseconds(moment.after), LATEST)
    return None if moment.at is None else within(moment.at)
