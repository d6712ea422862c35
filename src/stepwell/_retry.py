"""Retry policies and durations: numbers in, numbers out. Pure: the random number is handed in.

The delay before attempt n + 1 is `min(max_backoff, backoff · multiplier^(n-1))`, then jittered.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeGuard, cast

from stepwell._errors import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LONGEST", "Retry", "Seconds", "parse_duration", "seconds"]

Seconds: TypeAlias = float | timedelta
"""A duration in code: seconds, or a `timedelta`."""

LONGEST: Final = 36_500 * 86_400.0
"""The longest duration that is accepted, in seconds: 36,500 days, some hundred years."""

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}
_DURATION: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)(ms|s|m|h|d|w)", re.ASCII)


def seconds(value: Seconds, what: str, *, positive: bool = False) -> float:
    """Return a duration as float seconds; *what* names it in the error.

    Raises `TypeError` for what is neither a number nor a `timedelta`, `ValueError` for NaN, an infinite, a negative or
    (with *positive*) a zero duration, and for one of more than 36,500 days.
    """
    number: object = value.total_seconds() if isinstance(value, timedelta) else value
    if not is_number(number):
        message = f"{what} must be seconds (a number) or a timedelta, not {quoted(value)}"
        raise TypeError(message)
    if not number >= 0 or (positive and number == 0):  # NaN is not >= 0 either
        at_least = "more than zero" if positive else "zero or more"
        message = f"{what} must be {at_least} seconds, not {quoted(value)}"
        raise ValueError(message)
    if number > LONGEST:
        message = f"{what} must be at most 36,500 days (None, where it is allowed, means no limit), not {quoted(value)}"
        raise ValueError(message)
    return float(number)


def parse_duration(text: str) -> float:
    """Return the seconds that a text such as `30s`, `5m` or `7d` stands for; for text borders only.

    The units are ms, s, m, h, d and w. There is no unit for months and no bare number: what is not understood is a
    `ValueError`, never 0.

    >>> parse_duration("1.5h")
    5400.0
    """
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        message = f"{quoted(text)} is not a duration; write a number and a unit (ms, s, m, h, d, w), such as 30s or 7d"
        raise ValueError(message)
    return seconds(float(found[1]) * _UNITS[found[2]], f"the duration {quoted(text)}")


@dataclass(frozen=True, slots=True, init=False)
class Retry:
    """How often a step is tried, and how long to wait between its attempts.

    `backoff` and `max_backoff` are seconds or `timedelta`s, kept as seconds. `jitter` is the share by which a delay
    varies either way, 0 to 1. An error that is an instance of a class in `give_up_on` is not tried again.

    Raises `ValueError` naming every field that is wrong.
    """

    max_attempts: int
    backoff: float
    multiplier: float
    max_backoff: float
    jitter: float
    give_up_on: tuple[type[BaseException], ...]

    def __init__(  # noqa: PLR0917 - the order is the one of the fields
        self,
        max_attempts: int = 3,
        backoff: Seconds = 1.0,
        multiplier: float = 2.0,
        max_backoff: Seconds = 300.0,
        jitter: float = 0.1,
        give_up_on: tuple[type[BaseException], ...] = (),
    ) -> None:
        """Check all fields at once and normalise the durations to float seconds."""
        problems: list[str] = []
        delays = [_checked(backoff, "backoff", problems), _checked(max_backoff, "max_backoff", problems)]
        if not problems and delays[1] < delays[0]:
            problems.append(f"max_backoff ({delays[1]}) must not be less than backoff ({delays[0]})")
        problems += _problems(max_attempts, multiplier, jitter, give_up_on)
        if problems:
            message = f"bad Retry: {'; '.join(problems)}"
            raise ValueError(message)
        for field, value in (
            ("max_attempts", max_attempts),
            ("backoff", delays[0]),
            ("multiplier", float(multiplier)),
            ("max_backoff", delays[1]),
            ("jitter", float(jitter)),
            ("give_up_on", tuple(give_up_on)),
        ):
            object.__setattr__(self, field, value)

    @classmethod
    def of(cls, value: int | Retry) -> Retry:
        """Return the policy itself, or for a number that many attempts without a delay."""
        if isinstance(value, Retry):
            return value
        return cls(max_attempts=value, backoff=0.0, jitter=0.0)

    def delay(self, attempt: int, random: float) -> float:
        """Return the seconds to wait after attempt number *attempt* failed; *random* is in [0, 1).

        The result never exceeds `max_backoff` by more than the jitter, however high the attempt.
        """
        if self.backoff == 0:
            return 0.0
        exponent = attempt - 1
        if self.multiplier > 1:  # so that the power stays below 2 ** 1023, which a float can just hold
            exponent = min(exponent, math.floor(1023 / math.log2(self.multiplier)))
        delay = min(self.max_backoff, self.backoff * self.multiplier**exponent)
        return delay * (1 + self.jitter * (2 * random - 1))


def _checked(value: Seconds, what: str, problems: list[str]) -> float:
    try:
        return seconds(value, what)
    except (TypeError, ValueError) as error:
        problems.append(str(error))
        return 0.0


def _problems(max_attempts: object, multiplier: object, jitter: object, give_up_on: object) -> Iterator[str]:
    if isinstance(max_attempts, bool) or not isinstance(max_attempts, int) or max_attempts < 1:
        yield f"max_attempts must be a whole number of 1 or more, not {quoted(max_attempts)}"
    if not _is_between(multiplier, 1, 1_000_000):
        yield f"multiplier must be a number from 1 to 1,000,000, not {quoted(multiplier)}"
    if not _is_between(jitter, 0, 1):
        yield f"jitter must be a number from 0 to 1, not {quoted(jitter)}"
    if not isinstance(give_up_on, tuple | list) or not all(map(is_exception, cast("tuple[object, ...]", give_up_on))):
        yield f"give_up_on must be a tuple of exception classes, not {quoted(cast('Any', give_up_on))}"


def is_number(value: object) -> TypeGuard[int | float]:
    """Tell whether a value is a real number; `True` and `False` are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_exception(value: object) -> TypeGuard[type[BaseException]]:
    """Tell whether a value is an exception class."""
    return isinstance(value, type) and issubclass(value, BaseException)


def _is_between(value: object, low: float, high: float) -> bool:
    return is_number(value) and low <= value <= high
