"""What runs in one process: an engine, a worker if it has one, and what clients ask of that engine.

Starts tasks: one for each thing that a client asks. All end with the process.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import anyio

from stepwell import Engine, StorageError
from stepwell.testing._simulation._processes import PROCESS

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from stepwell import Workflow
    from stepwell.storage import Storage
    from stepwell.testing._simulation._processes import Process

__all__ = ["Node", "Operation", "WorkerSettings"]


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """How engines and workers are set up, as in `Engine` and `Engine.worker`."""

    lease: float = 10.0
    max_crashes: int = 3
    concurrency: int = 10
    poll_interval: float = 1.0
    grace: float = 2.0


@dataclass(eq=False)
class Operation:
    """Something that a client asks of an engine, and what came of it: neither, if the process died or left."""

    work: Callable[[Engine], Awaitable[Any]]
    is_over: anyio.Event = field(default_factory=anyio.Event)
    has_result: bool = False
    result: Any = None
    error: Exception | None = None

    async def run(self, engine: Engine) -> None:
        """Do it."""
        try:
            self.result = await self.work(engine)
            self.has_result = True
        except Exception as error:  # the client's, whatever it is
            self.error = error
        finally:
            self.is_over.set()


class Node:
    """One process, from its start to its end."""

    def __init__(
        self,
        process: Process,
        storage: Storage,
        workflows: Sequence[Workflow[Any, Any]],
        settings: WorkerSettings,
        seed: int,
        *,
        works: bool,
        failed: Callable[[str], None],
    ) -> None:
        """Run a worker if it *works*; tell *failed* of what may not happen to it."""
        self.process = process
        self.works = works
        self.keys = frozenset(workflow.key for workflow in workflows)
        self.is_leaving = False
        self.has_left = anyio.Event()
        self._storage = storage
        self._workflows = workflows
        self._settings = settings
        self._seed = seed
        self._failed = failed
        self._engine: Engine | None = None
        self._asked: list[Operation] = []
        self._is_asked = anyio.Event()
        process.on_death[self] = self.has_left.set

    @property
    def is_up(self) -> bool:
        """Whether clients can ask something of it."""
        return self._engine is not None and not self.process.is_dead and not self.is_leaving

    def ask(self, operation: Operation) -> None:
        """Have it done in this process."""
        self.process.on_death[operation] = operation.is_over.set
        self._asked.append(operation)
        self._is_asked.set()

    def stop(self) -> None:
        """Tell the process to end in good order."""
        self.is_leaving = True
        self._is_asked.set()

    async def live(self) -> None:
        """Be the process. A storage that can't be reached at the start ends it."""
        PROCESS.set(self.process)
        settings = self._settings
        try:
            async with (
                Engine(
                    self._storage,
                    workflows=self._workflows,
                    lease=settings.lease,
                    max_crashes=settings.max_crashes,
                    name=self.process.name,
                    seed=self._seed,
                ) as engine,
                anyio.create_task_group() as tasks,
            ):
                if self.works:
                    async with engine.worker(
                        concurrency=settings.concurrency, poll_interval=settings.poll_interval, grace=settings.grace
                    ):
                        await self._serve(engine, tasks)
                else:
                    await self._serve(engine, tasks)
                tasks.cancel_scope.cancel()
        except Exception as error:  # whatever it is: nothing that the network or a handler does may end a process
            if not _is_only(error, StorageError) and not self.process.is_over:
                self._failed(f"{self.process.name} died of {error!r}")
        finally:
            self._engine = None
            for operation in self._asked:
                operation.is_over.set()
            self.has_left.set()

    async def _serve(self, engine: Engine, tasks: TaskGroup) -> None:
        self._engine = engine
        while not self.is_leaving:
            self._is_asked = anyio.Event()
            asked, self._asked = self._asked, []
            for operation in asked:
                tasks.start_soon(operation.run, engine)
            await self._is_asked.wait()


def _is_only(error: Exception, kind: type[Exception]) -> bool:
    if isinstance(error, ExceptionGroup):
        return cast("ExceptionGroup[Exception]", error).split(kind)[1] is None
    return isinstance(error, kind)
