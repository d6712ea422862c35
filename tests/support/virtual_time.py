"""Time under control, on asyncio and on Trio: nothing sleeps, and nothing is late.

Rule 1: virtual time moves only when every task waits and nothing is held; then it jumps to the next timer.
Rule 2: real work (a thread, a socket, another process) looks idle to such a clock, so it runs under `hold()`.
Rule 3: what runs under `hold()` must not sleep on the loop: its timer would never come.

Both backends begin at 0.0. Trio brings its own clock for this (`trio.testing.MockClock`); the one for asyncio is here.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, Protocol

from trio.testing import MockClock

__all__ = ["DAY", "EPOCH", "HOUR", "Backend", "VirtualTime", "VirtualTimeLoop"]

Backend = Literal["asyncio", "trio"]

HOUR: Final = 3600.0
DAY: Final = 24 * HOUR

EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
"""What the clock on the wall shows when virtual time begins, in seconds."""


@dataclass(slots=True)
class LoopTime:
    """Where an asyncio loop stands in virtual time; shared with whoever asks from another thread."""

    now: float = 0.0
    held: bool = False


class _JumpingSelector(selectors.DefaultSelector):
    """Instead of waiting for the next timer, moves time to it."""

    def __init__(self, time: LoopTime) -> None:
        super().__init__()
        self._time = time

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is None or self._time.held:  # only the outside world can go on: really wait for it
            return super().select(None)
        self._time.now += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose timers are due as soon as nothing else can run."""

    def __init__(self, time: LoopTime | None = None) -> None:
        self._virtual = time or LoopTime()
        super().__init__(_JumpingSelector(self._virtual))

    def time(self) -> float:
        return self._virtual.now


class _Mechanism(Protocol):
    @property
    def options(self) -> Mapping[str, Any]: ...
    def now(self) -> float: ...
    def hold(self) -> None: ...
    def release(self) -> None: ...


class _OnAsyncio:
    def __init__(self) -> None:
        self._time = LoopTime()
        self.options: Mapping[str, Any] = {"loop_factory": lambda: VirtualTimeLoop(self._time)}

    def now(self) -> float:
        return self._time.now

    def hold(self) -> None:
        self._time.held = True

    def release(self) -> None:
        self._time.held = False


class _OnTrio:
    def __init__(self) -> None:
        self._clock = MockClock(autojump_threshold=0)
        self.options: Mapping[str, Any] = {"clock": self._clock, "restrict_keyboard_interrupt_to_checkpoints": True}

    def now(self) -> float:
        return self._clock.current_time()

    def hold(self) -> None:
        self._clock.autojump_threshold = math.inf

    def release(self) -> None:
        self._clock.autojump_threshold = 0


class VirtualTime:
    """The virtual time of one test, on the backend it runs on."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._mechanism: _Mechanism = _OnTrio() if backend == "trio" else _OnAsyncio()
        self._holders = 0

    @property
    def anyio_backend(self) -> tuple[str, dict[str, Any]]:
        """What `anyio.run` and AnyIO's pytest plugin take to run in this time; good for one run."""
        return self._backend, dict(self._mechanism.options)

    def now(self) -> float:
        """Return the virtual seconds since the beginning; from any thread."""
        return self._mechanism.now()

    def clock(self, *, epoch: float = EPOCH) -> Callable[[], float]:
        """Return a clock for a storage: seconds since 1970, moving with this time; callable from any thread."""
        return lambda: epoch + self.now()

    @contextmanager
    def hold(self) -> Generator[None]:
        """Keep time where it is while real work is in flight. Holds may overlap; only from the loop's own thread."""
        self._holders += 1
        if self._holders == 1:
            self._mechanism.hold()
        try:
            yield
        finally:
            self._holders -= 1
            if self._holders == 0:
                self._mechanism.release()
