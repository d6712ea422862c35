"""Many bad handlers at once under one worker, and how each execution ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from stepwell import Engine, Execution, ExecutionFailed, Failure, Retry, Status, Workflow, activity, decision
from stepwell.storage import Storage
from tests.engine.small import done, healthy, nothing, refused

__all__ = ["KINDS", "Ending", "async_activity", "async_decision", "endings_of", "riding_decision"]

Make = Callable[[], Any]


@dataclass(frozen=True)
class Ending:
    """What became of one execution."""

    execution: Execution
    failure: Failure | None
    """None where it succeeded"""


async def endings_of(storage: Storage, flows: Mapping[str, Workflow[int, Any]]) -> dict[str, Ending]:
    """Run each workflow beside the others; afterwards the same worker must still bring a good execution to its end."""
    endings: dict[str, Ending] = {}
    async with Engine(storage, workflows=[healthy, *flows.values()]) as engine, engine.worker():
        handles = {name: await engine.start(flow, 1, id=name) for name, flow in flows.items()}
        for name, handle in handles.items():
            failure = None
            try:
                await handle.result(600)
            except ExecutionFailed as error:
                failure = error.failure
            execution = await handle.get()
            assert (execution.current_step, execution.due_at, execution.worker) == (None, None, None)
            assert (failure is None) == (execution.status is Status.SUCCEEDED)
            endings[name] = Ending(execution, failure)
        assert await (await engine.start(healthy, 7)).result(60) == 7
    return endings


def async_activity(name: str, act: Make, *, retry: int | Retry = 1) -> Workflow[int, int]:
    """Return a workflow whose only activity does what *act* does."""

    async def work(ctx: Any) -> Any:
        return act()

    step: Any = activity(name="work", retry=retry, returns=Any)(work)
    return Workflow[int, int](name, version="1", start=step, edges=[step.then(done)])


def async_decision(name: str, act: Make) -> Workflow[int, int]:
    """Return a workflow whose decision does what *act* does, in a task."""

    async def which(ctx: Any) -> Any:
        return act()

    return _deciding(name, which)


def riding_decision(name: str, act: Make) -> Workflow[int, int]:
    """Return a workflow whose decision does what *act* does, as a part of the commit before it."""

    def which(ctx: Any) -> Any:
        return act()

    return _deciding(name, which)


def _deciding(name: str, which: Any) -> Workflow[int, int]:
    step: Any = decision(name="which")(which)
    edges = [nothing.then(step), step.to({"go": done, "stop": refused})]
    return Workflow[int, int](name, version="1", start=nothing, edges=edges)


KINDS: Iterable[Callable[[str, Make], Workflow[int, int]]] = (async_activity, async_decision, riding_decision)
