"""A storage that can be told to misbehave: any method, at its n-th call from now, before its work or after it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from enum import Enum
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from stepwell.storage import (
    Capability,
    Claims,
    Definition,
    Entry,
    Lease,
    Lifeline,
    Page,
    Query,
    Renewal,
    Storage,
    StorageError,
    Stored,
    Unit,
)

__all__ = ["ALL", "Fault", "Faulty", "How"]

T = TypeVar("T")

ALL: Final = ("define", "commit", "claim", "renew", "load", "journal", "find", "purge")


class How(Enum):
    """What goes wrong with a call."""

    FAILS_BEFORE = "fails before"
    """nothing was done, and the caller is told that it failed"""
    FAILS_AFTER = "fails after"
    """it was done, and the caller is told that it failed"""
    HANGS_BEFORE = "hangs before"
    """nothing is done until the fault is over"""
    HANGS_AFTER = "hangs after"
    """it was done, and the answer comes when the fault is over"""
    COMES_LATE = "comes late"
    """the caller is told that it failed, and it is done all the same when the fault is over: it was on its way"""


class Fault:
    """One thing that goes wrong, until it has happened often enough or is mended."""

    def __init__(
        self,
        methods: Sequence[str],
        how: How,
        *,
        skip: int,
        times: int | None,
        seconds: float | None,
        action: Action | None,
        late: TaskGroup | None,
    ) -> None:
        self._methods = methods
        self._how = how
        self._skip = skip
        self._times = times
        self._seconds = seconds
        self._action = action
        self._late = late
        self._mended = anyio.Event()
        self._met = anyio.Event()
        self.met: int = 0
        """how many calls it has spoilt"""

    def mend(self) -> None:
        """Let calls through again, those that hang included."""
        self._mended.set()

    def takes(self, method: str) -> bool:
        """Tell whether this call is spoilt."""
        if method not in self._methods or self._mended.is_set() or self.met == self._times:
            return False
        if self._skip:
            self._skip -= 1
            return False
        self.met += 1
        self._met.set()
        return True

    async def reached(self) -> None:
        """Return as soon as a call has been spoilt."""
        await self._met.wait()

    async def spoil(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do the work in the way it goes wrong."""
        match self._how:
            case How.FAILS_BEFORE:
                await self._happen()
                raise StorageError("told to fail, before anything was done")
            case How.FAILS_AFTER:
                await work()
                await self._happen()
                raise StorageError("told to fail, after it was done")
            case How.HANGS_BEFORE:
                await self._happen()
                return await work()
            case How.HANGS_AFTER:
                result = await work()
                await self._happen()
                return result
            case How.COMES_LATE:
                assert self._late is not None, "what comes late runs in a task group of the test's"
                self._late.start_soon(self._do_late, work)
                await anyio.lowlevel.checkpoint()
                raise StorageError("told to fail, while it was on its way")

    async def _do_late(self, work: Callable[[], Awaitable[T]]) -> None:
        await self._happen()
        await work()

    async def _happen(self) -> None:
        if self._action is not None:
            await self._action()
        elif self._how in {How.HANGS_BEFORE, How.HANGS_AFTER, How.COMES_LATE}:
            with anyio.move_on_after(self._seconds):
                await self._mended.wait()
        else:
            await anyio.lowlevel.checkpoint()


Action = Callable[[], Awaitable[Any]]


class Faulty:
    """Passes everything on to another storage, but for what it is told to spoil. Counts all calls."""

    def __init__(self, inner: Storage, late: TaskGroup | None = None) -> None:
        """What comes late runs in the task group *late*."""
        self._inner = inner
        self._late = late
        self._is_quiet = False
        self._faults: list[Fault] = []
        self.calls: Counter[str] = Counter()
        self.units: list[int] = []
        """how many units each commit held"""
        self.claimed: list[int] = []
        """how many executions each claim brought"""

    def spoil(
        self,
        *methods: str,
        how: How = How.FAILS_BEFORE,
        at: int = 1,
        times: int | None = 1,
        seconds: float | None = None,
        action: Action | None = None,
    ) -> Fault:
        """Spoil *times* calls (None: all) of these methods, from the *at*-th on; a hang ends after *seconds*.

        With an *action* it is awaited at that point, in place of hanging.
        """
        fault = Fault(methods, how, skip=at - 1, times=times, seconds=seconds, action=action, late=self._late)
        self._faults.append(fault)
        return fault

    def cut(self, *, how: How = How.HANGS_BEFORE) -> Fault:
        """Cut the caller off: every call goes wrong until the fault is mended."""
        return self.spoil(*ALL, how=how, times=None)

    def mend(self) -> None:
        """Mend whatever goes wrong."""
        for fault in self._faults:
            fault.mend()

    @contextmanager
    def quiet(self) -> Generator[None]:
        """Neither count calls nor spoil them, but for those that hang already."""
        self._is_quiet = True
        try:
            yield
        finally:
            self._is_quiet = False

    async def _call(self, method: str, work: Callable[[], Awaitable[T]]) -> T:
        if self._is_quiet:
            return await work()
        self.calls[method] += 1
        fault = next((fault for fault in self._faults if fault.takes(method)), None)
        return await (work() if fault is None else fault.spoil(work))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        return None

    async def define(self, definitions: Sequence[Definition], /) -> tuple[Definition, ...]:
        return await self._call("define", lambda: self._inner.define(definitions))

    async def commit(self, units: Sequence[Unit], /) -> Sequence[bool | None]:
        self.units.append(len(units))
        return await self._call("commit", lambda: self._inner.commit(units))

    async def claim(
        self,
        worker: str,
        capabilities: Sequence[Capability],
        /,
        *,
        limit: int,
        lease: float,
        held: Sequence[Lease] = (),
    ) -> Claims:
        async def work() -> Claims:
            claims = await self._inner.claim(worker, capabilities, limit=limit, lease=lease, held=held)
            self.claimed.append(len(claims.claimed))
            return claims

        return await self._call("claim", work)

    async def renew(self, worker: str, leases: Sequence[Lease], /, *, lease: float) -> Renewal:
        return await self._call("renew", lambda: self._inner.renew(worker, leases, lease=lease))

    async def load(self, id: str, /) -> Stored | None:
        return await self._call("load", lambda: self._inner.load(id))

    async def journal(self, id: str, /, *, after: int = 0, limit: int = 1000) -> list[Entry]:
        return await self._call("journal", lambda: self._inner.journal(id, after=after, limit=limit))

    async def find(self, query: Query, /) -> Page:
        return await self._call("find", lambda: self._inner.find(query))

    async def purge(self, age: float, /, *, limit: int) -> int:
        return await self._call("purge", lambda: self._inner.purge(age, limit=limit))

    async def wakeup(self) -> None:
        await self._inner.wakeup()

    def lifeline(self) -> Lifeline:
        return self._inner.lifeline()
