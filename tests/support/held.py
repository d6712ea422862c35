"""A storage whose every call holds virtual time, so that time never jumps over a commit in flight."""

from __future__ import annotations

from collections.abc import Collection
from functools import wraps
from inspect import iscoroutinefunction
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar, cast

from tests.support.virtual_time import VirtualTime

__all__ = ["WAITS_FOR_OTHERS", "Opened", "held"]

WAITS_FOR_OTHERS = frozenset({"wakeup"})
"""Methods that wait for what others do, perhaps for long: under a hold they would stop time for good."""


class Opened(Protocol):
    """An async context manager that gives itself."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> bool | None: ...


S = TypeVar("S", bound=Opened)


def held(inner: S, time: VirtualTime, *, unheld: Collection[str] = WAITS_FOR_OTHERS) -> S:
    """Return a stand-in for *inner* that runs its async methods, opening and closing under `time.hold()`.

    Methods named in *unheld*, methods that aren't async, and all other attributes are those of *inner*.
    """
    return cast("S", _Held(inner, time, unheld))


class _Held:
    def __init__(self, inner: Opened, time: VirtualTime, unheld: Collection[str]) -> None:
        self._inner = inner
        self._time = time
        self._unheld = unheld

    async def __aenter__(self) -> Self:
        with self._time.hold():
            await self._inner.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> bool | None:
        with self._time.hold():
            return await self._inner.__aexit__(exc_type, exc, traceback)

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._inner, name)
        if name in self._unheld or not iscoroutinefunction(attribute):
            return attribute

        @wraps(attribute)
        async def call(*args: Any, **kwargs: Any) -> Any:
            with self._time.hold():
                return await attribute(*args, **kwargs)

        return call
