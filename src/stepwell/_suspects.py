"""Executions whose workers may have disappeared because of them: one at a time runs in a worker, so that it shows.

The longer it takes, the more seldom the others come back, each with two journal entries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio

if TYPE_CHECKING:
    from collections.abc import Callable

    from stepwell._leases import Held

__all__ = ["Suspects"]

_MIN_DELAY: Final = 1.0
_MAX_DELAY: Final = 60.0
"""seconds"""


class Suspects:
    """The suspects of one worker."""

    def __init__(self, over: Callable[[], None]) -> None:
        """Call *over* whenever another one may run."""
        self._over = over
        self._runs: Held | None = None
        self._since = 0.0

    def delay(self, held: Held) -> float:
        """Return 0 if this suspect may run now, else the seconds after which to ask again."""
        now = anyio.current_time()
        if self._runs is None:
            self._runs, self._since = held, now
        if self._runs is held:
            return 0.0
        return min(max(now - self._since, _MIN_DELAY), _MAX_DELAY)

    def is_over(self, held: Held) -> None:
        """Let another one run, if it was this one that did: its step has ended, one way or the other."""
        if self._runs is held:
            self._runs = None
            self._over()
