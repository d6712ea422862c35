"""The time of the loop that runs, at the price of a call. Imports neither Trio nor asyncio.

`anyio.current_time` finds out each time anew which loop runs; a step asks for the time often enough to feel that.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias, cast

import anyio
import anyio.lowlevel

if TYPE_CHECKING:
    from typing import Any

__all__ = ["Clock", "loop_clock"]

Clock: TypeAlias = Callable[[], float]
"""Tells the loop's time in seconds, as `anyio.current_time` does."""


def loop_clock() -> Clock:
    """Return the clock of the loop that runs now; it is to be asked in this loop only."""
    loop: Any = anyio.lowlevel.current_token().native_token
    trio: Any = sys.modules.get("trio")
    if trio is not None and isinstance(loop, trio.lowlevel.TrioToken):
        return cast("Clock", trio.current_time)
    return cast("Clock", getattr(loop, "time", anyio.current_time))  # asyncio's token is the loop itself
