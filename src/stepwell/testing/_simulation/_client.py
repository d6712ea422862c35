"""Clients: who starts, signals, cancels, pauses and resumes, and asks again until an answer comes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from stepwell import EngineClosed, StorageError, UnknownWorkflow
from stepwell.testing._simulation._nodes import Operation

if TYPE_CHECKING:
    from stepwell import Engine, Execution, Status, Workflow
    from stepwell.testing._simulation._nodes import Node
    from stepwell.testing._simulation._oracle import Ledger

__all__ = ["Client"]

T = TypeVar("T")

_PATIENCE = 15.0
"""seconds that a client waits for one process before it asks another"""
_TRIED_AGAIN = (StorageError, EngineClosed, UnknownWorkflow)
"""errors that are no answer; the last one: not known in that process"""


class Client:
    """What a workload acts through. Each call is made in some process, and made again in another until it is answered.

    *random* is the workload's own generator. What an engine refuses is raised; a storage that can't be reached isn't.
    """

    def __init__(self, nodes: Callable[[], Sequence[Node]], random: Random, schedule: Random, ledger: Ledger) -> None:
        """Ask whichever of *nodes* is up."""
        self.random = random
        self._nodes = nodes
        self._schedule = schedule
        self._ledger = ledger

    async def start(self, workflow: Workflow[Any, Any], input: Any, /, *, id: str) -> None:
        """Start an execution, whose id makes it the same one however often that is tried."""
        name, version = workflow.key
        await self._ask(lambda engine: engine.start(name, input, id=id, version=version))
        self._ledger.started[id] = f"{name} {version}"

    async def signal(self, id: str, step: str, payload: Any = None, /, *, signal_id: str) -> None:
        """Send a signal. Raises SignalError and ExecutionEnded as `Engine.signal` does."""
        await self._ask(lambda engine: engine.signal(id, step, payload, signal_id=signal_id))
        self._ledger.signalled.add((id, signal_id))

    async def cancel(self, id: str, /) -> Status:
        """Cancel an execution; return how it stands."""
        status = await self._ask(lambda engine: engine.cancel(id))
        self._ledger.cancelled.add(id)
        return status

    async def pause(self, id: str, /) -> None:
        """Pause an execution. Raises ExecutionEnded."""
        await self._ask(lambda engine: engine.pause(id))

    async def resume(self, id: str, /) -> None:
        """Resume an execution. Raises NotResumable."""
        await self._ask(lambda engine: engine.resume(id))

    async def get(self, id: str, /) -> Execution:
        """Return how an execution stands. Raises ExecutionNotFound."""
        return await self._ask(lambda engine: engine.get(id))

    async def sleep(self, seconds: float, /) -> None:
        """Let virtual time pass."""
        await anyio.sleep(seconds)

    async def _ask(self, work: Callable[[Engine], Awaitable[T]]) -> T:
        while True:
            up = [node for node in self._nodes() if node.is_up]
            if not up:
                await anyio.sleep(0.5)
                continue
            operation = Operation(work)
            self._schedule.choice(up).ask(operation)
            with anyio.move_on_after(_PATIENCE):
                await operation.is_over.wait()
            if operation.has_result:
                result: T = operation.result
                return result
            if operation.error is not None and not isinstance(operation.error, _TRIED_AGAIN):
                raise operation.error
            await anyio.sleep(0.05 + self._schedule.random())
