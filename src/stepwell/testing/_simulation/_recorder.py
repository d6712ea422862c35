"""Who runs which handler when: copies of workflows whose handlers say so, and the hazards that strike in handlers.

A copy has the names, types and edges of its original, so it is the same workflow to every storage. Its handlers run on
the loop: a `def` activity, which would get a thread, is called in line.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import anyio
import anyio.lowlevel

from stepwell import Context, Edges, Step, StepKind, Workflow
from stepwell.testing._simulation._processes import PROCESS

if TYPE_CHECKING:
    from stepwell.testing._simulation._processes import Process

__all__ = ["Call", "Recorder"]

_RIDERS: Final = frozenset({StepKind.DECISION, StepKind.SUCCEED, StepKind.FAIL})


@dataclass(eq=False, slots=True)
class Call:
    """One call of a handler."""

    process: Process
    execution: str
    step: str
    visit: int
    attempt: int
    kind: StepKind
    is_rider: bool
    """whether it may run before its visit is committed"""
    began_at: float
    is_stubborn: bool = False
    """whether it goes on although it was cancelled"""


class Witness(Protocol):
    """Who is told what handlers do, at the very moment."""

    def began(self, call: Call) -> None:
        """Hear that a handler begins."""
        ...

    def stopped(self, call: Call) -> None:
        """Hear that a handler is cancelled: its `finally` runs, if it doesn't go on regardless."""
        ...

    def ended(self, call: Call) -> None:
        """Hear that a handler has ended, one way or the other."""
        ...


class Recorder:
    """Hears of every call, and lets hazards strike."""

    def __init__(self, witness: Witness, happened: Counter[str]) -> None:
        self._witness = witness
        self._happened = happened
        self._copies: dict[Workflow[Any, Any], Workflow[Any, Any]] = {}
        self.hazards: dict[str, list[tuple[str, float]]] = {}
        """what the next handlers of a process meet: a kind, and how long it takes"""

    def recorded(self, workflow: Workflow[Any, Any]) -> Workflow[Any, Any]:
        """Return the copy of a workflow whose handlers are recorded."""
        copy = self._copies.get(workflow)
        if copy is None:
            copy = self._copies[workflow] = self._copied(workflow)
        return copy

    def _copied(self, workflow: Workflow[Any, Any]) -> Workflow[Any, Any]:
        steps = {name: self._step(step) for name, step in workflow.steps.items()}
        edges: list[Edges[Any, Any, Any]] = [
            Edges(
                steps[name],
                tuple((label, steps[target.name]) for label, target in routes.items()),
                workflow.catches.get(name, ()),
            )
            for name, routes in workflow.routes.items()
        ]
        copy = Workflow[Any, Any](
            workflow.name,
            version=workflow.version,
            start=steps[workflow.start.name],
            edges=edges,
            label=workflow.label,
            description=workflow.description,
        )
        subscripted = getattr(workflow, "__orig_class__", None)
        if subscripted is not None:
            copy.__orig_class__ = subscripted  # type: ignore[attr-defined] # what `typing` sets, and types are read from
        return copy

    def _step(self, step: Step[Any, Any]) -> Step[Any, Any]:
        more: dict[str, Any] = {}
        child: Workflow[Any, Any] | None = getattr(step, "child", None)
        if child is not None:
            more["child"] = self.recorded(child)
        is_async = step.is_async or step.kind is StepKind.ACTIVITY
        wrapped = self._async(step) if is_async else self._plain(step)
        return dataclasses.replace(step, function=wrapped, is_async=is_async, **more)

    def _async(self, step: Step[Any, Any]) -> Callable[..., Any]:
        function = step.function

        @functools.wraps(function)
        async def call(context: Context[Any], *signal: Any) -> Any:
            process = PROCESS.get()
            while process is None or process.is_over:
                await anyio.sleep_forever()
            record = self._record(process, step, context)
            self._witness.began(record)
            try:
                await self._meet_hazards(process)
                value = function(context, *signal)
                return await value if inspect.isawaitable(value) else value
            except anyio.get_cancelled_exc_class():
                self._witness.stopped(record)
                await self._go_on_regardless(process, record)
                raise
            finally:
                self._witness.ended(record)

        return call

    def _plain(self, step: Step[Any, Any]) -> Callable[..., Any]:
        function = step.function

        @functools.wraps(function)
        def call(context: Context[Any], *signal: Any) -> Any:
            process = PROCESS.get()
            if process is None or process.is_over:
                return function(context, *signal)
            record = self._record(process, step, context)
            self._witness.began(record)
            try:
                return function(context, *signal)
            finally:
                self._witness.ended(record)

        return call

    @staticmethod
    def _record(process: Any, step: Step[Any, Any], context: Context[Any]) -> Call:
        rides = step.kind in _RIDERS and not step.is_async
        return Call(
            process,
            context.execution_id,
            step.name,
            context.visit,
            context.attempt,
            step.kind,
            rides,
            anyio.current_time(),
        )

    async def _meet_hazards(self, process: Process) -> None:
        """Let happen what was laid for the next handler of this process: its death, or a loop that is blocked."""
        for hazard in self.hazards.get(process.name, ()):
            kind, duration = hazard
            if kind == "poison":
                self._happened["poison struck"] += 1
                process.kill()
                await anyio.sleep_forever()
            if kind == "block":
                self.hazards[process.name].remove(hazard)
                self._happened["loop blocked"] += 1
                await self.block(process, duration)
                return

    async def block(self, process: Process, duration: float) -> None:
        """Keep everything of this process from running for a while, and the caller, who does it, from its next line."""
        timers = self._timers
        if timers is not None and not process.is_paused:
            process.pause(anyio.current_time())
            timers(duration, process)
        await anyio.lowlevel.checkpoint()

    _timers: Callable[[float, Process], None] | None = None

    def resume_by(self, timers: Callable[[float, Process], None]) -> None:
        """Let *timers* resume a process after so many seconds."""
        self._timers = timers

    async def _go_on_regardless(self, process: Process, record: Call) -> None:
        """Swallow a cancellation for a while, where that was laid for a handler of this process."""
        laid = self.hazards.get(process.name, [])
        stubborn = next((hazard for hazard in laid if hazard[0] == "stubborn"), None)
        if stubborn is None or process.is_over:
            return
        laid.remove(stubborn)
        record.is_stubborn = True
        self._happened["cancellation ignored"] += 1
        with anyio.CancelScope(shield=True):
            await anyio.sleep(stubborn[1])
