"""Where ids and jitter come from: one place, so that a simulation can seed it."""

from __future__ import annotations

import random

__all__ = ["Entropy"]


class Entropy:
    """Random numbers for jitter and ids. Without a *seed*, ids come from the operating system: forks share none."""

    def __init__(self, seed: int | None = None) -> None:
        self._jitter = random.Random(seed)  # noqa: S311 -- no secret
        self._ids = random.SystemRandom() if seed is None else self._jitter

    def fraction(self) -> float:
        """Return a number from 0 to 1, 1 excluded."""
        return self._jitter.random()

    def id(self) -> str:
        """Return 32 hexadecimal digits that nobody else has."""
        return f"{self._ids.getrandbits(128):032x}"
