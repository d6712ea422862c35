"""Worker threads for plain `def` activities: bounded, abandoned when cancelled, and reported when they are.

A thread can't be stopped. One whose activity timed out or lost its lease runs on; nothing of what it returns is
recorded, and it keeps its place among the bounded number until it ends.
"""

from __future__ import annotations

from enum import Enum
from threading import Lock
from typing import TYPE_CHECKING, Any

import anyio
from anyio import CapacityLimiter, to_thread

from stepwell.storage._run_soon import run_soon

if TYPE_CHECKING:
    from collections.abc import Callable

    from stepwell.storage._run_soon import RunSoon

__all__ = ["Threads"]


class _Stage(Enum):
    """How far a function got on its way through a thread."""

    WAITING = "waiting"
    RUNNING = "running"
    ENDED = "ended"
    LEFT = "left"


class _Outcome:
    """What a function returned or raised, wrapped: an event loop that carries it bare looks into it, and trips."""

    __slots__ = ("_error", "_value")

    def __init__(self, value: Any = None, error: BaseException | None = None) -> None:
        self._value = value
        self._error = error

    def taken(self) -> Any:
        """Return the value, or raise the error; once, for neither is kept."""
        value, error, self._value, self._error = self._value, self._error, None, None
        if error is None:
            return value
        try:
            raise error
        finally:
            del error  # its traceback refers to this frame


class Threads:
    """Runs functions in at most *limit* threads at a time, those that were abandoned included."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.abandoned = 0
        """threads that run on although nobody waits for them"""
        self._places = CapacityLimiter(limit)

    async def place(self, at_most: float) -> object | None:
        """Return the right to use a thread, to be given to `run` or to `give_back`; None if none frees in that time."""
        ticket = object()
        with anyio.move_on_after(at_most):
            await self._places.acquire_on_behalf_of(ticket)
            return ticket
        return None

    def give_back(self, ticket: object) -> None:
        """Free the place without having used it."""
        self._places.release_on_behalf_of(ticket)

    async def run(
        self, ticket: object, function: Callable[[Any], Any], argument: Any, *, abandoned: Callable[[], None]
    ) -> Any:
        """Call the function in a thread and return what it returns; a caller that is cancelled leaves it behind.

        *abandoned* is then called, in the loop, before the cancellation goes on.
        """
        soon = run_soon()
        lock = Lock()
        stage = _Stage.WAITING

        def move(to: _Stage) -> _Stage:
            """Go to a stage and return the one before; the thread and the loop do so at the same time."""
            nonlocal stage
            with lock:
                before, stage = stage, to
            return before

        def call() -> _Outcome:
            if move(_Stage.RUNNING) is _Stage.LEFT:  # the caller was gone before this thread began
                return _Outcome()
            try:
                return _Outcome(function(argument))
            except BaseException as error:
                return _Outcome(error=error)
            finally:
                if move(_Stage.ENDED) is _Stage.LEFT:
                    self._give_back_from_thread(ticket, soon)

        try:
            outcome = await to_thread.run_sync(call, abandon_on_cancel=True, limiter=CapacityLimiter(1))
            return outcome.taken()
        finally:
            if move(_Stage.LEFT) is _Stage.RUNNING:
                self.abandoned += 1
                abandoned()
            else:
                self.give_back(ticket)

    def _give_back_from_thread(self, ticket: object, soon: RunSoon) -> None:
        try:
            soon(
                self._take_back, ticket
            )  # not waited for: the loop may have stopped, and the process wait for this thread
        except RuntimeError:  # the loop is gone, and the places with it
            return

    def _take_back(self, ticket: object) -> None:
        self.abandoned -= 1
        self.give_back(ticket)
