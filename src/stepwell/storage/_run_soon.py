"""How a thread has an event loop do something, without waiting for it: a loop may have stopped for good."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import anyio.lowlevel

__all__ = ["RunSoon", "run_soon"]


class RunSoon(Protocol):
    """Has the host's loop call a function, from any thread."""

    def __call__(self, function: Callable[..., object], /, *args: object) -> object:
        """Call it soon. Raises RuntimeError where the loop has ended."""
        ...


def run_soon() -> RunSoon:
    """Return the running loop's own way to be called from another thread."""
    native: Any = anyio.lowlevel.current_token().native_token
    soon: RunSoon = getattr(native, "run_sync_soon", None) or native.call_soon_threadsafe
    return soon
