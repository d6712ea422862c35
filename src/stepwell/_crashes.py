"""A task group whose owner's exception leaves bare, and whose tasks' deaths surface as one error of the library."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

from anyio import create_task_group, current_effective_deadline, get_cancelled_exc_class

from stepwell._errors import WorkerCrashed
from stepwell._failure import failure_of
from stepwell._raised import holds

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

__all__ = ["guarded_task_group"]


@asynccontextmanager
async def guarded_task_group(what: str) -> AsyncGenerator[TaskGroup]:
    """Run the block in a task group, and wait for its tasks before the block's own exception goes on.

    The block's exception leaves as it is. A task that dies cancels the block and is raised as WorkerCrashed, its cause
    the error, or the group of them where there are several; where both happen, the block's exception leaves, and the
    WorkerCrashed ends its chain of contexts. Ctrl-C in a task leaves as KeyboardInterrupt. Cancellation, Ctrl-C and
    SystemExit in the block cancel the tasks at once; after any other exception they are left to end by themselves.
    """
    body: BaseException | None = None
    crash: BaseException | None = None
    try:
        async with create_task_group() as tasks:
            try:
                yield tasks
            except get_cancelled_exc_class():
                raise
            except BaseException as error:
                body = _without_cancellation(error)
                if body is None:
                    raise
                if _is_urgent(body):
                    tasks.cancel_scope.cancel("the block was interrupted")
    except BaseExceptionGroup as group:
        interrupt = group.subgroup(KeyboardInterrupt)
        crash = KeyboardInterrupt() if interrupt is not None else WorkerCrashed(f"{what}: {_first(group)}")
        crash.__cause__ = _only(group)
    if body is not None:
        if crash is not None:
            _append_context(body, crash)
        raise body
    if crash is not None:
        raise crash


def _without_cancellation(error: BaseException) -> BaseException | None:
    """Return what the block raised by itself: on Trio a group of its own may hold cancellations from around it, too."""
    if current_effective_deadline() > -math.inf or not isinstance(error, BaseExceptionGroup):
        return error
    group = cast("BaseExceptionGroup[BaseException]", error)
    cancelled, rest = group.split(get_cancelled_exc_class())
    return group if cancelled is None else rest


def _is_urgent(error: BaseException) -> bool:
    return holds(error, (KeyboardInterrupt, SystemExit))


def _append_context(error: BaseException, context: BaseException) -> None:
    """Add *context* where the chain of contexts ends, so that what *error* came from is still told."""
    seen = {id(error)}
    while error.__context__ is not None and id(error.__context__) not in seen:
        error = error.__context__
        seen.add(id(error))
    if error is not context:
        error.__context__ = context


def _only(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the one error that a group holds, however deep; the group if there are several."""
    error, *others = group.exceptions
    if others:
        return group
    return _only(cast("BaseExceptionGroup[BaseException]", error)) if isinstance(error, BaseExceptionGroup) else error


def _first(group: BaseExceptionGroup[BaseException]) -> str:
    first = group.exceptions[0]
    if isinstance(first, BaseExceptionGroup):
        return _first(cast("BaseExceptionGroup[BaseException]", first))
    return failure_of(first).summary
