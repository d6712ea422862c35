"""Where Ctrl-C may strike, and which tasks may be used again. Imports neither Trio nor asyncio.

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

__all__ = ["exposed", "mark_shelters", "may_use_task_again", "sheltered"]

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


def may_use_task_again() -> bool:
    """Tell whether nothing that user code has left in this task can strike later.

    On asyncio something may: a timer that cancels the task (`asyncio.timeout` that was entered and never left), or what
    is left of a `Task.cancel()` that somebody swallowed. Nobody can see the former, so no task is used again there.
    """
    asyncio = sys.modules.get("asyncio")
    try:
        return asyncio is None or asyncio.current_task() is None
    except RuntimeError:  # no loop of asyncio's runs: this is Trio
        return True
