"""Who listens to events: streams with a bounded buffer, and callbacks that are called one at a time.

Nobody who listens can hold up or change what happens: a full buffer loses events and says how many (`Lagged`), a
callback that raises is logged. The callbacks run in one task of the engine's task group.
"""

from __future__ import annotations

import inspect
import math
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import anyio
from anyio import WouldBlock, create_memory_object_stream, get_cancelled_exc_class

from stepwell._checks import InvalidArgument
from stepwell._failure import describe, failure_of
from stepwell._interrupts import exposed
from stepwell._log import Log
from stepwell._notices import EVENT_KINDS, Event, Lagged
from stepwell._own_context import Turn, call_in_own_context
from stepwell._raised import is_a

if TYPE_CHECKING:
    from anyio.abc import ObjectReceiveStream
    from anyio.streams.memory import MemoryObjectSendStream

__all__ = ["Listener", "Listeners"]

Listener = Callable[[Event], Awaitable[None] | None]

_MAX_QUEUED: Final = 10_000
"""events that may wait for slow callbacks"""
_FLUSH_LIMIT: Final = 1.0
"""seconds that callbacks get for what is queued when the engine closes"""

logger = Log()


class _Subscription:
    """One open stream."""

    __slots__ = ("_missed", "_send", "kinds")

    def __init__(self, kinds: frozenset[str], send: MemoryObjectSendStream[Event | Lagged]) -> None:
        self.kinds = kinds
        self._send = send
        self._missed = 0

    def offer(self, event: Event) -> None:
        """Pass the event on, or count it as missed."""
        try:
            if self._missed:
                self._send.send_nowait(Lagged(self._missed))
                self._missed = 0
            self._send.send_nowait(event)
        except WouldBlock:
            self._missed += 1
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return  # the listener is gone; its block ends the subscription


class Listeners:
    """Passes events on to all who asked for their kind."""

    def __init__(self) -> None:
        self._subscriptions: list[_Subscription] = []
        self._callbacks: list[tuple[frozenset[str], Listener]] = []
        self._queue: deque[Event] = deque()
        self._missed = 0
        self._queued = anyio.Event()
        self._emptied = anyio.Event()
        self._is_calling = False
        self._turn = Turn()

    @property
    def is_needed(self) -> bool:
        """Whether anyone listens at all."""
        return bool(self._subscriptions or self._callbacks)

    def tell(self, event: Event) -> None:
        """Pass an event on, at once and without waiting for anyone."""
        for subscription in self._subscriptions:
            if event.kind in subscription.kinds:
                subscription.offer(event)
        if any(event.kind in kinds for kinds, _ in self._callbacks):
            if len(self._queue) >= _MAX_QUEUED:
                self._missed += 1
                return
            self._queue.append(event)
            self._queued.set()

    @asynccontextmanager
    async def stream(self, kinds: Iterable[str], buffer: int) -> AsyncGenerator[ObjectReceiveStream[Event | Lagged]]:
        """Open a stream of the events of these kinds (all kinds, if none is named)."""
        if type(buffer) is not int or buffer < 1:
            raise InvalidArgument(f"buffer must be a positive number of events, not {describe(buffer)}")
        known = _known(kinds)
        send, receive = create_memory_object_stream[Any](buffer)
        subscription = _Subscription(known, send)
        with send, receive:
            self._subscriptions.append(subscription)
            try:
                yield receive
            finally:
                self._subscriptions.remove(subscription)

    def add(self, kinds: Iterable[str], listener: Listener) -> Callable[[], None]:
        """Call *listener* with each event of these kinds; return what removes it again."""
        if not callable(listener):
            raise InvalidArgument(f"a listener must be callable, not {describe(listener)}")
        entry = (_known(kinds), listener)
        self._callbacks.append(entry)

        def remove() -> None:
            if entry in self._callbacks:
                self._callbacks.remove(entry)

        return remove

    async def run(self) -> None:
        """Call the callbacks, one at a time, until cancelled."""
        while True:
            self._is_calling = True
            await self._call_all()
            self._is_calling = False
            self._emptied.set()
            if not self._queue:
                self._queued = anyio.Event()
                await self._queued.wait()

    async def flush(self) -> None:
        """Wait until the callbacks were called for what is queued, for at most a second."""
        with anyio.move_on_after(_FLUSH_LIMIT, shield=True):
            while self._queue or self._is_calling:
                self._emptied = anyio.Event()
                await self._emptied.wait()

    async def _call_all(self) -> None:
        while self._queue:
            event = self._queue.popleft()
            for kinds, listener in list(self._callbacks):
                if event.kind in kinds:
                    await self._call(listener, event)
        if self._missed:
            logger.warning("stepwell: listeners are too slow: %d events were not told to them", self._missed)
            self._missed = 0

    async def _call(self, listener: Listener, event: Event) -> None:
        try:
            result = exposed(listener, event)
            if inspect.isawaitable(result):
                await call_in_own_context(_itself, (result,), self._turn, None)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # whatever a listener raises is its own business
            if is_a(error, get_cancelled_exc_class()) and anyio.current_effective_deadline() == -math.inf:
                raise
            told = failure_of(error)  # bounded, and without passwords, whatever it is
            logger.error("stepwell: a listener for %s raised %s\n%s", event.kind, told.summary, told.traceback)


async def _itself(result: Awaitable[Any]) -> Any:
    return await result


def _known(kinds: Iterable[str]) -> frozenset[str]:
    named = frozenset(kinds)
    unknown = sorted(str(kind) for kind in named - frozenset(EVENT_KINDS))
    if unknown:
        raise InvalidArgument(f"no event is of kind {', '.join(unknown)}; kinds: {', '.join(EVENT_KINDS)}")
    return named or frozenset(EVENT_KINDS)
