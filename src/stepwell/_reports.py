"""What a worker tells of itself: troubles, lost leases, handlers that don't stop, and a loop that was blocked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepwell._log import Log
from stepwell._notices import Event, Summary

if TYPE_CHECKING:
    from stepwell._listeners import Listeners
    from stepwell._model import Row
    from stepwell._watchdog import Block

__all__ = ["Reports"]

logger = Log()


class Reports:
    """Tells whoever listens to the engine's events, and the log where nobody may be listening."""

    def __init__(self, worker: str, listeners: Listeners) -> None:
        self._worker = worker
        self._listeners = listeners

    def trouble(self, message: str, row: Row | None = None) -> None:
        """Tell of what is wrong with the worker, its storage or a handler, rather than with a step."""
        self._tell("worker.error", message, row)

    def lease_lost(self, row: Row) -> None:
        """Tell that the worker lost a lease; what ran under it was cancelled."""
        self._tell("execution.lease_lost", "the lease was lost or couldn't be renewed", row)

    def unstoppable(self, message: str, row: Row) -> None:
        """Tell of a handler that goes on after its end."""
        text = f"step {row.step!r} (attempt {row.attempt}) of execution {row.id!r} {message}"
        logger.warning("stepwell: %s", text)
        self._tell("step.unstoppable", text, row)

    def blocked(self, seconds: float, block: Block | None) -> None:
        """Tell that the loop turns again, and what is known of why it didn't: little, if the thread didn't turn either.

        One that the machine gave no time to, say, or that user code kept from the interpreter.
        """
        known = "nobody saw why" if block is None else f"{block.culprit} blocked it; {block.measures}"
        message = f"the event loop didn't turn for {seconds:.1f} s: {known}"
        logger.warning("stepwell: worker %s: %s", self._worker, message)
        stack = "" if block is None else f"\n{block.stack}"
        self._tell("worker.blocked", f"{message}{stack}", None if block is None else block.row)

    def _tell(self, kind: str, message: str, row: Row | None) -> None:
        worker = self._worker
        if row is None:
            self._listeners.tell(Event(kind, None, worker=worker, message=message))
            return
        summary, at = Summary.of(row), row.revision
        self._listeners.tell(
            Event(kind, summary, row.step, row.visit, row.attempt, worker, message=message, revision=at)
        )
