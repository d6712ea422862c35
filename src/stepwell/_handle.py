"""A running execution in a client's hands."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Generic, overload

import anyio

from stepwell._retry import Seconds, seconds
from stepwell._typevars import OutT_co, SignalT
from stepwell.storage._protocol import StorageError

if TYPE_CHECKING:
    from stepwell._definition import Wait
    from stepwell._engine import Engine
    from stepwell._execution import Execution, JournalEntry
    from stepwell._model import Status

__all__ = ["Handle"]

_LAST_LOOK: Final = 1.0
"""seconds that a look at where an execution stands may take, once it was waited for long enough"""


class Handle(Generic[OutT_co]):
    """One execution: wait for its result, look at it, signal, cancel, pause and resume it."""

    __slots__ = ("_engine", "id")

    def __init__(self, engine: Engine, id: str) -> None:
        self._engine = engine
        self.id = id

    async def result(self, timeout: Seconds | None = None) -> OutT_co:
        """Wait until it has ended, for at most *timeout* (seconds, None for no limit), and return its output.

        Raises ExecutionFailed, ExecutionCancelled, and TimeoutError if it has not ended by then; it goes on regardless.
        """
        limit = None if timeout is None else seconds(timeout, "timeout")
        with anyio.move_on_after(limit):
            output: OutT_co = await self._engine.result_of(self.id)
            return output
        stands = "it goes on"
        with anyio.move_on_after(_LAST_LOOK), suppress(StorageError):
            execution = await self.get()
            if execution.status.is_terminal:
                ended: OutT_co = await self._engine.result_of(self.id)
                return ended
            stands = f"it is {execution.status}, at step {execution.current_step!r}"
        raise TimeoutError(f"execution {self.id!r} has not ended within {limit:g} s; {stands}")

    async def get(self) -> Execution:
        """Return how it stands."""
        return await self._engine.get(self.id)

    async def journal(self, after: int = 0, limit: int = 1000) -> list[JournalEntry]:
        """Return up to *limit* lines of its journal above *after*, in order."""
        return await self._engine.journal(self.id, after=after, limit=limit)

    @overload
    async def signal(
        self, step: Wait[Any, SignalT, Any, Any], payload: SignalT, *, signal_id: str | None = None
    ) -> None: ...
    @overload
    async def signal(self, step: str, payload: Any = None, *, signal_id: str | None = None) -> None: ...
    async def signal(self, step: Any, payload: Any = None, *, signal_id: str | None = None) -> None:
        """Send a signal to one of its waits; see `Engine.signal`."""
        await self._engine.signal(self.id, step, payload, signal_id=signal_id)

    async def cancel(self, reason: str = "") -> Status:
        """Cancel it and its open children; return how it stands then: cancelled, or already ended and how."""
        return await self._engine.cancel(self.id, reason)

    async def pause(self, reason: str = "") -> None:
        """Let a running step finish, and start nothing further."""
        await self._engine.pause(self.id, reason)

    async def resume(self, attempts: int = 1) -> None:
        """Go on after a pause, or give the step that failed *attempts* more attempts."""
        await self._engine.resume(self.id, attempts)

    def __repr__(self) -> str:
        """Show the id."""
        return f"<Handle {self.id!r}>"
