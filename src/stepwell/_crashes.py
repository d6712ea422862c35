"""A task group whose owner's exception leaves bare, and whose tasks' deaths surface as one error of the library."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from anyio import create_task_group, get_cancelled_exc_class
from anyio.abc import TaskGroup

from stepwell._errors import WorkerCrashed

__all__ = ["guarded_task_group"]


@asynccontextmanager
async def guarded_task_group(what: str) -> AsyncGenerator[TaskGroup]:
    """Run the block in a task group, and wait for its tasks before the block's own exception goes on.

    The block's exception leaves as it is. A task that dies cancels the block and is raised as WorkerCrashed, its cause
    the group of errors; where both happen, the block's exception leaves with the WorkerCrashed as its context. Ctrl-C in
    a task leaves as KeyboardInterrupt. Cancellation, Ctrl-C and SystemExit in the block cancel the tasks at once; after
    any other exception they are left to end by themselves.
    """
    body: BaseException | None = None
    crash: BaseException | None = None
    try:
        async with create_task_group() as tasks:
            try:
                yield tasks
            except get_cancelled_exc_class():
                raise
            except (KeyboardInterrupt, SystemExit) as error:
                body = error
                tasks.cancel_scope.cancel()
            except BaseException as error:
                body = error
    except BaseExceptionGroup as group:
        interrupt = group.subgroup(KeyboardInterrupt)
        crash = KeyboardInterrupt() if interrupt is not None else WorkerCrashed(f"{what}: {_first(group)}")
        crash.__cause__ = group
    if body is not None:
        if crash is not None:
            body.__context__ = crash
        raise body
    if crash is not None:
        raise crash


def _first(group: BaseExceptionGroup[BaseException]) -> str:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"
