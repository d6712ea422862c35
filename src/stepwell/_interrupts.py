"""Where Ctrl-C may strike, and whether a cancellation of asyncio's own is left. Imports neither Trio nor asyncio.

Trio raises KeyboardInterrupt between any two instructions of whatever task runs, so it could cut the engine's own
bookkeeping in two: a lease taken and never run, a commit sent and never told. What runs in `sheltered` is spared:
Ctrl-C then goes to the program's main task, at its next checkpoint, as it always does on asyncio. User code that runs
inside is `exposed` again, so that a handler which never yields can still be interrupted.

Trio marks functions, not tasks: https://trio.readthedocs.io/en/stable/reference-lowlevel.html (KeyboardInterrupt).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["exposed", "is_task_as_new", "mark_shelters", "sheltered"]

T = TypeVar("T")


async def sheltered(function: Callable[..., Awaitable[T]], *arguments: object) -> T:
    """Call the function where Ctrl-C doesn't strike; tasks that it starts are not sheltered."""
    return await function(*arguments)


def exposed(function: Callable[..., T], *arguments: object) -> T:
    """Call the function where Ctrl-C strikes at once."""
    return function(*arguments)


def mark_shelters() -> None:
    """Tell Trio, if it is used at all. To be called in a running loop; again is harmless."""
    trio = sys.modules.get("trio")
    if trio is not None:
        trio.lowlevel.enable_ki_protection(sheltered)
        trio.lowlevel.disable_ki_protection(exposed)


def is_task_as_new() -> bool:
    """Tell whether nothing is left in this task of an `asyncio.Task.cancel()` that somebody swallowed."""
    asyncio = sys.modules.get("asyncio")
    try:
        return asyncio is None or not asyncio.current_task().cancelling()
    except RuntimeError:  # no loop of asyncio's runs: this is Trio
        return True
