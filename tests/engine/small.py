"""Small workflows around one function, and what it takes to see how they end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stepwell import (
    Context,
    Engine,
    ExecutionFailed,
    Failure,
    Retry,
    Status,
    Workflow,
    activity,
    decision,
    fail,
    succeed,
)
from stepwell.storage._protocol import Storage

__all__ = ["Ctx", "Through", "deciding", "done", "failure_of_run", "healthy", "nothing", "refused", "single"]

Ctx = Context[int]


@succeed
def done(ctx: Ctx) -> int:
    return ctx.input


@activity
async def nothing(ctx: Ctx) -> None:
    pass


healthy = Workflow[int, int]("healthy", version="1", start=nothing, edges=[nothing.then(done)])


def single(
    function: Any, *, retry: Retry | int = 1, timeout: float | None = 30.0, version: str = "1", name: str = "single"
) -> Workflow[int, int]:
    """A workflow of the activity `work`, and a terminal that returns the input."""
    work = activity(name="work", retry=retry, timeout=timeout, returns=Any)(function)
    return Workflow[int, int](name, version=version, start=work, edges=[work.then(done)])


@fail
def refused(ctx: Ctx) -> str:
    return "refused"


def deciding(function: Any, *, timeout: float | None = 30.0) -> Workflow[int, int]:
    """An activity, and the decision `which` after it: it rides along if the function is plain."""
    which: Any = decision(name="which", timeout=timeout)(function)
    return Workflow[int, int](
        "deciding", version="1", start=nothing, edges=[nothing.then(which), which.to({"go": done, "stop": refused})]
    )


async def failure_of_run(storage: Storage, workflow: Workflow[int, Any]) -> Failure:
    """Run the workflow to its failure; see to it that it is in order afterwards, and that its worker goes on."""
    async with Engine(storage, workflows=[workflow, healthy]) as engine, engine.worker():
        execution = await engine.start(workflow, 1)
        with pytest.raises(ExecutionFailed) as caught:
            await execution.result(600)
        after = await execution.get()
        assert (after.status, after.current_step, after.due_at, after.worker) == (Status.FAILED, None, None, None)
        assert await (await engine.start(healthy, 7)).result(60) == 7
    assert caught.value.failure is not None
    return caught.value.failure


class Through:
    """A storage that passes on all calls but those that it is given other functions for."""

    def __init__(self, inner: Storage, **instead: Callable[..., Any]) -> None:
        self._inner = inner
        self._instead = instead

    def __getattr__(self, name: str) -> Any:
        return self._instead.get(name) or getattr(self._inner, name)
