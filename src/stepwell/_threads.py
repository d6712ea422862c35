"""Worker threads for plain `def` activities: bounded, abandoned when cancelled, and reported when they are.

A thread can't be stopped. One whose activity timed out or lost its lease runs on; nothing of what it returns is
recorded, and it keeps its place among the bounded number until it ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
from anyio import CapacityLimiter, from_thread, to_thread

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Threads"]


class Threads:
    """Runs functions in at most *limit* threads at a time, those that were abandoned included."""

    def __init__(self, limit: int) -> None:
        self._places = CapacityLimiter(limit)

    async def place(self) -> object:
        """Wait for a free thread and return the right to use it; to be given to `run`, or to `give_back`."""
        ticket = object()
        await self._places.acquire_on_behalf_of(ticket)
        return ticket

    def give_back(self, ticket: object) -> None:
        """Free the place without having used it."""
        self._places.release_on_behalf_of(ticket)

    async def run(
        self, ticket: object, function: Callable[[Any], Any], argument: Any, *, abandoned: Callable[[], None]
    ) -> Any:
        """Call the function in a thread and return what it returns; a caller that is cancelled leaves it behind.

        *abandoned* is then called, in the loop, before the cancellation goes on.
        """
        loop = anyio.lowlevel.current_token()
        has_left = False
        has_ended = False

        def call() -> Any:
            nonlocal has_ended
            try:
                return function(argument)
            finally:
                has_ended = True
                if has_left:
                    self._give_back_from_thread(ticket, loop)

        try:
            return await to_thread.run_sync(call, abandon_on_cancel=True, limiter=CapacityLimiter(1))
        except BaseException:
            if not has_ended:
                has_left = True
                abandoned()
            raise
        finally:
            if not has_left:
                self.give_back(ticket)

    def _give_back_from_thread(self, ticket: object, loop: anyio.lowlevel.EventLoopToken) -> None:
        try:
            from_thread.run_sync(self.give_back, ticket, token=loop)
        except RuntimeError:  # the loop is gone, and the places with it
            return
