"""Where ids and jitter come from: one place, so that a simulation can seed it."""

from __future__ import annotations

import itertools
import random
import time

__all__ = ["Entropy"]


class Entropy:
    """Random numbers for jitter and ids. Without a *seed*, ids come from the operating system: forks share none."""

    def __init__(self, seed: int | None = None) -> None:
        self._jitter = random.Random(seed)  # noqa: S311 -- no secret
        self._ids = random.SystemRandom() if seed is None else self._jitter
        self._counter = None if seed is None else itertools.count(1)

    def fraction(self) -> float:
        """Return a number from 0 to 1, 1 excluded."""
        return self._jitter.random()

    def id(self) -> str:
        """Return 32 hexadecimal digits that nobody else has, in the order of the milliseconds in which they were made.

        48 bits of time, then 80 random ones, as in a UUID of version 7 (RFC 9562). What was started together so lies
        together in every index of a database. With a seed, a counter takes the place of the time.
        """
        time_part = time.time_ns() // 1_000_000 if self._counter is None else next(self._counter)
        return f"{time_part:012x}{self._ids.getrandbits(80):020x}"

    def token(self) -> str:
        """Return 16 random hexadecimal digits."""
        return f"{self._ids.getrandbits(64):016x}"
