"""Waiting for what happens, never for how long it may take.

A handler tells a `Recorder` what it did, or stops at a `Gate`; the test awaits the one and opens the other. Every wait
has a limit, in the seconds of the clock that the test runs on: virtual ones cost nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from threading import get_ident
from typing import Generic, TypeVar

import anyio
from anyio import from_thread

__all__ = ["Gate", "Recorder"]

T = TypeVar("T")

LIMIT = 60.0


class Recorder(Generic[T]):
    """What happened, in order. Made in the loop's thread; told from there or from AnyIO's worker threads."""

    def __init__(self) -> None:
        self.entries: list[T] = []
        self._thread = get_ident()
        self._changed = anyio.Event()

    def record(self, entry: T) -> None:
        """Add *entry* and wake whoever waits for it."""
        if get_ident() == self._thread:
            self._add(entry)
        else:
            from_thread.run_sync(self._add, entry)

    def _add(self, entry: T) -> None:
        self.entries.append(entry)
        self._changed.set()
        self._changed = anyio.Event()

    async def until(self, reached: Callable[[Sequence[T]], bool], *, within: float = LIMIT) -> None:
        """Return as soon as *reached* is true of the entries. Raises TimeoutError with them after *within* seconds."""
        with anyio.move_on_after(within):
            while not reached(self.entries):
                await self._changed.wait()
            return
        msg = f"not reached within {within} s; recorded so far: {self.entries}"
        raise TimeoutError(msg)

    async def until_recorded(self, *expected: T, within: float = LIMIT) -> None:
        """Return as soon as each of *expected* was recorded, in any order and as often as it is given here."""
        wanted = Counter(expected)
        await self.until(lambda entries: wanted <= Counter(entries), within=within)

    async def until_count(self, count: int, *, within: float = LIMIT) -> None:
        """Return as soon as there are *count* entries."""
        await self.until(lambda entries: len(entries) >= count, within=within)


class Gate:
    """Where handlers stop until the test lets them through."""

    def __init__(self) -> None:
        self.arrivals: Recorder[str] = Recorder()
        self._opened = anyio.Event()

    async def enter(self, name: str = "") -> None:
        """Arrive, as *name*, and wait until the gate is open."""
        self.arrivals.record(name)
        await self._opened.wait()

    async def reached(self, count: int = 1, *, within: float = LIMIT) -> None:
        """Return as soon as *count* have arrived."""
        await self.arrivals.until_count(count, within=within)

    def open(self) -> None:
        """Let through who waits and whoever comes; for good."""
        self._opened.set()
