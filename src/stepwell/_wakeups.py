"""Hints that something may be due, from this process and from others. Never the truth: a poll stays underneath."""

from __future__ import annotations

import heapq
import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import anyio
import anyio.lowlevel

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["Bell", "Wakeups"]

_MAX_TIMES: Final = 10_000
"""times that a bell remembers; beyond, the poll finds what is due"""


class Bell:
    """What one waiter listens to: rung now, or at times that were told beforehand. Rings that nobody heard coalesce."""

    def __init__(self) -> None:
        self._is_rung = False
        self._is_from_elsewhere = False
        self._times: list[float] = []
        self._moved = anyio.Event()

    def ring(self, after: float = 0.0, *, from_elsewhere: bool = False) -> None:
        """Ring after so many seconds; *from_elsewhere* if another process or engine gave the hint."""
        if after <= 0:
            self._is_rung = True
            self._is_from_elsewhere |= from_elsewhere
            self._moved.set()
        elif len(self._times) < _MAX_TIMES:
            heapq.heappush(self._times, anyio.current_time() + after)
            self._moved.set()

    async def wait(self, at_most: float) -> None:
        """Return when it rings, or after *at_most* seconds. Always a checkpoint: a loop over it can be cancelled."""
        await anyio.lowlevel.checkpoint()
        end = anyio.current_time() + at_most
        while not self._is_rung:
            next_time = self._times[0] if self._times else math.inf
            if min(next_time, end) <= anyio.current_time():
                break
            self._moved = anyio.Event()
            with anyio.move_on_after(min(next_time, end) - anyio.current_time()):
                await self._moved.wait()
        self._is_rung = False
        now = anyio.current_time()
        while self._times and self._times[0] <= now:
            heapq.heappop(self._times)

    def heard_from_elsewhere(self) -> bool:
        """Tell whether a hint from elsewhere was among the rings since this was last asked."""
        heard, self._is_from_elsewhere = self._is_from_elsewhere, False
        return heard


class Wakeups:
    """The bells of all who wait in this process."""

    def __init__(self) -> None:
        self._bells: dict[Bell, None] = {}  # rung in the order in which they came

    @contextmanager
    def bell(self) -> Generator[Bell]:
        """Listen as long as the block runs."""
        bell = Bell()
        self._bells[bell] = None
        try:
            yield bell
        finally:
            del self._bells[bell]

    def ring(self, after: float = 0.0, *, from_elsewhere: bool = False) -> None:
        """Ring every bell after so many seconds."""
        for bell in self._bells:
            bell.ring(after, from_elsewhere=from_elsewhere)
