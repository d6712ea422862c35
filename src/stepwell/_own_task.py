"""A call in a task of its own, so that what user code does to the task it runs in ends with the call.

Starts tasks: one per call, which has ended when the call returns. User code may cancel its task natively, set context
variables, or leave a cancel scope open; in the task that holds the lease each of these would outlive the step.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from anyio import create_task_group, current_effective_deadline, get_cancelled_exc_class

from stepwell._raised import is_a

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["call_in_own_task"]

_NOTHING: Final = object()


async def call_in_own_task(function: Callable[..., Awaitable[Any]], arguments: tuple[Any, ...], name: str) -> Any:
    """Return what the function returns, or raise what it raises, a cancellation of its own included.

    A cancellation from outside goes on only if the function let it through: what it returned nevertheless is returned.
    """
    value: Any = _NOTHING
    raised: BaseException | None = None

    async def call() -> None:
        nonlocal value, raised
        try:
            value = await function(*arguments)
        except BaseException as error:
            if is_a(error, get_cancelled_exc_class()) and current_effective_deadline() == -math.inf:
                raise
            raised = error

    try:
        async with create_task_group() as tasks:
            tasks.start_soon(call, name=name)
    except get_cancelled_exc_class():
        if value is _NOTHING and raised is None:
            raise
    if raised is not None:
        try:
            raise raised
        finally:
            raised = None  # its traceback refers to this frame
    return value
