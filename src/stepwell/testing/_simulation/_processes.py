"""Processes that share one event loop: each can be stopped, let go on, and killed at any instant.

Rule 1: whatever runs for a process runs in a context in which `PROCESS` is that process; tasks and timers inherit it.
Rule 2: the loops (`_loops`) run nothing of a process that stands still. They park it with the process, which gives it
back when it goes on. So its deadlines are late, as they are after a SIGSTOP, and a dead one does nothing any more.
"""

from __future__ import annotations

from contextvars import Context, ContextVar
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PROCESS", "Process", "process_in"]


class Process:
    """A process: all that runs in its context."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_dead = False
        self.is_paused = False
        self.is_over = False
        """whether the simulation is over for it: what it still does has no effect, and isn't looked at"""
        self.paused_at = 0.0
        self.resumed_at = -1.0
        """when it last went on after a pause, by the loop's clock"""
        self.lease_ends: dict[str, float] = {}
        """when its lease on each execution ends by its own clock, as far as it has heard"""
        self.on_death: dict[object, Callable[[], None]] = {}
        """told when it dies, by whoever waits for an answer of its"""
        self._parked: list[Callable[[], None]] = []

    @property
    def stands_still(self) -> bool:
        """Whether nothing of it may run."""
        return (self.is_dead or self.is_paused) and not self.is_over

    def park(self, go_on: Callable[[], None]) -> None:
        """Keep what is not to run now; *go_on* puts it back."""
        self._parked.append(go_on)

    def pause(self, now: float) -> None:
        """Stop everything, as SIGSTOP does. Whoever is running just now runs on to its next wait."""
        if not self.is_paused:
            self.is_paused, self.paused_at = True, now

    def resume(self, now: float) -> None:
        """Go on, as after SIGCONT: all that became due meanwhile is due at once."""
        if self.is_paused:
            self.is_paused, self.resumed_at = False, now
            self._give_back()

    def kill(self) -> None:
        """Stop everything for good. What it sent is on its way all the same."""
        if self.is_dead:
            return
        self.is_dead = True
        told, self.on_death = self.on_death, {}
        for tell in told.values():
            tell()

    def bury(self) -> None:
        """Let its tasks end, outside of what is simulated: Python can't drop a coroutine without running its rest."""
        self.is_over = True
        self._give_back()

    def _give_back(self) -> None:
        parked, self._parked = self._parked, []
        for go_on in parked:
            go_on()


PROCESS: Final[ContextVar[Process | None]] = ContextVar("stepwell_simulated_process", default=None)


def process_in(context: Context) -> Process | None:
    """Return the process for which something with this context runs, if it runs for one."""
    return context.get(PROCESS)
