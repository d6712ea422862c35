"""The loop that runs, as AnyIO drives it, at the price of a call. Imports neither Trio nor asyncio.

AnyIO finds out at each call anew which loop runs, and makes a cancel scope twice: `CancelScope.__new__` returns a whole
one, and Python initialises it once more. A step asks often enough to feel that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

import anyio.lowlevel

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio import CancelScope

__all__ = ["Loop"]


class _NewScope(Protocol):
    def __call__(self, *, deadline: float = ...) -> CancelScope: ...


class Loop(NamedTuple):
    """What a step asks of the loop. To be used in this loop only."""

    clock: Callable[[], float]
    """tells the loop's time in seconds, as `anyio.current_time` does"""
    scope: _NewScope
    """makes a cancel scope, as `anyio.CancelScope` does"""

    @classmethod
    def running(cls) -> Self:
        """Return the one that runs now."""
        backend = anyio.lowlevel.current_token().backend_class
        return cls(backend.current_time, backend.create_cancel_scope)
