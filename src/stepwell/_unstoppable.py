"""What a worker does about handlers that can't be stopped: those that ignore their cancellation, and those in threads.

What they do is not recorded any more, whatever the policy. *abandon*: the worker goes on without them, and uses the
slot of each again, for as many as it has slots; threads keep their places among the threads. *exit*: the worker drains
and dies of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from stepwell._errors import UnstoppableHandler

if TYPE_CHECKING:
    from collections.abc import Callable

    from stepwell._leases import Held
    from stepwell._model import Row
    from stepwell._reports import Reports
    from stepwell._threads import Threads

__all__ = ["OnUnstoppable", "Unstoppable"]

OnUnstoppable: TypeAlias = Literal["abandon", "exit"]
"""What a worker does about a handler that goes on after its cancellation: go on without it, or exit."""


class Unstoppable:
    """The handlers of one worker that can't be stopped."""

    def __init__(self, threads: Threads, limit: int, reports: Reports, leave: Callable[[], None]) -> None:
        """Let up to *limit* slots be used again; call *leave* where the policy is to exit."""
        self.policy: OnUnstoppable = "abandon"
        self.fatal: UnstoppableHandler | None = None
        """what the worker dies of"""
        self._threads = threads
        self._limit = limit
        self._reports = reports
        self._leave = leave
        self._abandoned: set[Held] = set()
        """those that take no slot any more"""

    def __len__(self) -> int:
        return len(self._abandoned) + self._threads.abandoned

    def give_up(self, held: Held) -> bool:
        """Give up on a handler that ignores its cancellation; return whether its slot may be used again."""
        row = held.row
        if row is None:  # it has ended just now
            return False
        is_free = len(self._abandoned) < self._limit
        if is_free:
            self._abandoned.add(held)
            fate = f"its slot is used again ({len(self._abandoned)} of at most {self._limit} are)"
        else:
            fate = f"its slot is taken until it ends, for {self._limit} others are used again already"
        asked = "timeout" if held.ending is None else held.ending.value
        self._reports.unstoppable(
            f"goes on although it was cancelled ({asked}): its lease is given up and it can't commit; {fate}", row
        )
        self._exit_for(row)
        return is_free

    def has_ended(self, held: Held) -> bool:
        """Hear that a handler has ended; return whether it was given up and took no slot."""
        if held not in self._abandoned:
            return False
        self._abandoned.remove(held)
        return True

    def left_in_thread(self, row: Row, *, leaving: bool) -> None:
        """Give up on a handler in a thread. A worker that is *leaving* doesn't wait for it, and need not die of it."""
        self._reports.unstoppable(
            "goes on in its thread after its end: a thread can't be stopped; nothing that it returns is recorded "
            f"({self._threads.abandoned} of at most {self._threads.limit} threads do)",
            row,
        )
        if not leaving:
            self._exit_for(row)

    def _exit_for(self, row: Row) -> None:
        if self.policy == "exit" and self.fatal is None:
            self.fatal = UnstoppableHandler(row.id, row.step or "")
            self._leave()
