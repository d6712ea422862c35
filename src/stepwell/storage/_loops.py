"""Where the asyncio coroutines of a driver run: in the host's loop, or in the one loop of a thread of their own.

A driver that needs asyncio is written once, as coroutines. Where the host is asyncio, they are simply awaited. Anywhere
else (Trio) each call is one hop: the whole unit of work is handed to the thread, and one message comes back; a hop for
each statement would cost several times as much.

Starts a daemon thread, where the host isn't asyncio.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Context
from typing import Any, Final, Generic, Protocol, TypeVar, cast

import anyio
import anyio.lowlevel
from anyio import CancelScope

from stepwell.storage._protocol import StorageError
from stepwell.storage._run_soon import run_soon

__all__ = ["Loop", "loop_for_host"]

T = TypeVar("T")

_END_LIMIT: Final = 5.0
"""seconds for which a call that was cut off may go on"""
_CLOSED: Final = "the storage was closed while this was asked of it; open it again"


class Loop(Protocol):
    """Runs coroutines of the driver for the host."""

    @property
    def is_host(self) -> bool:
        """Whether it is the host's own loop, so that connections of the host's can be used in it."""
        ...

    async def run(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Return what the coroutine returns. A cancelled caller cancels it, and waits until it has ended."""
        ...

    async def close(self) -> None:
        """End the thread, if there is one, and whatever still runs in it. Can't be cancelled."""
        ...


async def loop_for_host() -> Loop:
    """Return the host's own loop if that is asyncio's, else a started thread."""
    if isinstance(anyio.lowlevel.current_token().native_token, asyncio.AbstractEventLoop):
        return _HostLoop()
    thread = _LoopThread()
    await thread.start()
    return thread


class _HostLoop:
    is_host = True

    async def run(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        return await function(*args)

    async def close(self) -> None:
        """Leave the host's loop alone."""


class _Job(Generic[T]):
    """One call on its way through the thread."""

    __slots__ = ("args", "done", "error", "function", "has_ended", "is_cut_off", "is_unwanted", "scope", "value")

    def __init__(self, function: Callable[..., Awaitable[T]], args: tuple[Any, ...]) -> None:
        self.function = function
        self.args = args
        self.done = anyio.Event()
        """set in the host's loop"""
        self.scope: CancelScope | None = None
        """where it runs, in the thread"""
        self.is_unwanted = False
        self.is_cut_off = False
        """whether the thread ended before it did"""
        self.has_ended = False
        """whether it came to its own end, and wasn't cancelled"""
        self.value: T | None = None
        self.error: BaseException | None = None

    def result(self) -> T:
        if self.error is not None:
            raise self.error
        if self.is_cut_off and not self.has_ended:
            raise StorageError(_CLOSED)
        return cast("T", self.value)


class _LoopThread:
    """An asyncio loop in a thread, for a host that is not asyncio."""

    is_host = False

    def __init__(self) -> None:
        self._soon = run_soon()
        self._loop = asyncio.new_event_loop()
        self._ended = anyio.Event()
        self._tasks: dict[asyncio.Task[None], _Job[Any]] = {}
        self._is_closed = False
        self._thread = threading.Thread(target=self._main, name="stepwell-postgres", daemon=True)

    async def start(self) -> None:
        self._thread.start()

    async def run(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        await anyio.lowlevel.checkpoint_if_cancelled()
        if self._is_closed:
            raise StorageError(_CLOSED)
        job = _Job(function, args)
        # A context of its own: the host's says that its event loop is the host's.
        self._loop.call_soon_threadsafe(self._begin, job, context=Context())
        try:
            await job.done.wait()
        except BaseException:
            with suppress(RuntimeError):  # the thread has ended, and the answer is on its way
                self._loop.call_soon_threadsafe(self._cancel, job, context=Context())
            with CancelScope(shield=True):
                await job.done.wait()
            # What came to its end all the same isn't lost: a scope's cancellation comes again at the next checkpoint.
            if not job.has_ended or anyio.current_effective_deadline() != -math.inf:
                raise
        return job.result()

    async def close(self) -> None:
        self._is_closed = True
        self._loop.call_soon_threadsafe(self._loop.stop, context=Context())
        with CancelScope(shield=True):
            await self._ended.wait()
        self._thread.join()

    # From here on: in the thread.

    def _main(self) -> None:
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(self._cut_off())
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()
            self._tell(self._ended)

    def _begin(self, job: _Job[Any]) -> None:
        task = self._loop.create_task(self._do(job))
        self._tasks[task] = job
        task.add_done_callback(self._tasks.pop)

    async def _cut_off(self) -> None:
        """End what still runs, so that nobody waits for ever for an answer."""
        for job in list(self._tasks.values()):
            job.is_cut_off = True
            self._cancel(job)
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=_END_LIMIT)
        for task in list(self._tasks):
            task.cancel()  # where it shields itself
        if self._tasks:
            await asyncio.wait(list(self._tasks))

    async def _do(self, job: _Job[Any]) -> None:
        try:
            with CancelScope() as job.scope:
                if job.is_unwanted:
                    job.scope.cancel()
                job.value = await job.function(*job.args)
                job.has_ended = True
        except asyncio.CancelledError:  # natively, as nobody does but the end of the thread
            job.is_cut_off = True
        except BaseException as error:  # whatever it is goes to the caller
            job.error = error
            job.has_ended = True
        finally:
            self._tell(job.done)

    @staticmethod
    def _cancel(job: _Job[Any]) -> None:
        job.is_unwanted = True
        if job.scope is not None:
            job.scope.cancel()

    def _tell(self, event: anyio.Event) -> None:
        try:
            self._soon(event.set)
        except RuntimeError:  # the host's loop has ended, and with it everybody who waits
            return
