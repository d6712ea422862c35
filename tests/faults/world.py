"""Where one scenario is played: engines on a storage that may be spoilt, and a record of what was told and what ran.

A scenario's client insists: after a StorageError it asks again, as users are told to. Any other error is a breach.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, Final, TypeVar

import anyio
import msgspec
from anyio.abc import TaskGroup

from stepwell import Context, Engine, Failure, Handle, NotResumable, Status, StepwellError, Workflow, activity, succeed
from stepwell._entropy import Entropy
from stepwell._model import Kind
from stepwell.storage import Storage, StorageError
from tests.engine.faulty import Faulty, How
from tests.support.oracle import breaches_in, everything_in
from tests.support.waiting import Gate

__all__ = ["LONG", "Breach", "World", "began", "here"]

T = TypeVar("T")

LONG: Final = 600.0
"""virtual seconds within which everything must come to its end, whatever single fault there was"""
_TRIES: Final = 20
_SUCCESSES: Final = frozenset({Kind.STEP_SUCCEEDED, Kind.STEP_ROUTED})


class Breach(AssertionError):
    """Raised when a promise was broken; the message says which."""


class World:
    """The stage of one scenario."""

    def __init__(self, storage: Storage, faulty: Faulty, tasks: TaskGroup, *, seed: int, lasting: float) -> None:
        self.storage = storage
        """the truth: reads here are neither counted nor spoilt"""
        self.faulty = faulty
        self.tasks = tasks
        self.troubles: list[str] = []
        self.is_calm = True
        """whether nobody here dies or is cut off on purpose, so that nothing may be logged as an error"""
        self.refusals = 0
        """StorageErrors that clients were told"""
        self._seed = seed
        self._lasting = lasting
        """how much longer things may take than in a world without faults, in seconds"""
        self._engines = 0
        self._canaries = 0
        self.is_mended = False
        """what handlers that are broken look at"""
        self._gates: dict[str, Gate] = {}
        self._ran: Counter[tuple[str, str, int, int]] = Counter()
        self._expected: dict[str, Status] = {}
        self._may_raise: set[str] = set()
        global _here  # noqa: PLW0603 -- handlers are functions of a module, made once; one world is played at a time
        _here = self

    # -- engines and workers -------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def engine(
        self, *workflows: Workflow[Any, Any], storage: Storage | None = None, **options: Any
    ) -> AsyncGenerator[Engine]:
        """Open an engine whose chances are those of this world's seed."""
        async with AsyncExitStack() as stack:

            async def open_it() -> Engine:
                engine = Engine(storage or self.faulty, workflows=[*workflows, canary], **options)
                self._engines += 1
                engine._entropy = Entropy(self._seed + self._engines)
                engine.on("worker.error", lambda event: self.troubles.append(event.message))
                return await stack.enter_async_context(engine)

            yield await self.insist(open_it)

    @asynccontextmanager
    async def worker(self, engine: Engine, *, poll_interval: float = 3600.0, **options: Any) -> AsyncGenerator[None]:
        """Run a worker that must be alive at the block's end: it has to run one more execution then."""

        async with AsyncExitStack() as stack:
            run = partial(engine.worker, poll_interval=poll_interval, **options)
            await self.insist(lambda: stack.enter_async_context(run()))
            yield
            self._canaries += 1
            with self.faulty.quiet():
                handle = await engine.start(canary, self._canaries, id=f"canary{self._canaries}")
                if await handle.result(self._lasting + LONG) != self._canaries:
                    raise Breach("a worker gave another result than its step")

    @asynccontextmanager
    async def doomed(self, *workflows: Workflow[Any, Any], **options: Any) -> AsyncGenerator[Engine]:
        """Run a worker that dies at the block's end: nothing that it does from then on is heard."""
        link = Faulty(self.faulty)
        self.is_calm = False
        async with self.engine(*workflows, storage=link, **options) as engine, anyio.create_task_group() as tasks:
            tasks.start_soon(self.insist, partial(engine.run_worker, poll_interval=30.0))
            yield engine
            link.cut(how=How.FAILS_BEFORE)
            tasks.cancel_scope.cancel()

    # -- clients -------------------------------------------------------------------------------------------------------

    async def insist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call until the storage answers: a client that is told of a storage's error asks again."""
        for attempt in range(_TRIES):
            try:
                return await call()
            except StorageError:
                self.refusals += 1
                await anyio.sleep(1.0 + attempt)
        raise Breach(f"a client was refused {_TRIES} times")

    async def start(
        self, engine: Engine, flow: Workflow[Any, Any], id: str, *, ends: Status = Status.SUCCEEDED, **options: Any
    ) -> Handle[Any]:
        """Start an execution that must end as *ends*: from here on it is acknowledged."""
        handle = await self.insist(lambda: engine.start(flow, 0, id=id, **options))
        self._expected[id] = ends
        return handle

    async def output(self, engine: Engine, id: str, expected: object) -> None:
        """Wait for an execution's output, which must be this one."""
        found = await self.insist(lambda: self._result(engine, id))
        if found != expected:
            raise Breach(f"{id} gave {found!r}, not {expected!r}")

    async def error(self, engine: Engine, id: str, error: type[StepwellError], text: str = "") -> None:
        """Wait for an execution's end, which must be this error."""
        await self.refused(lambda: self._result(engine, id), error, text)

    async def _result(self, engine: Engine, id: str) -> Any:
        with anyio.fail_after(LONG + self._lasting):
            return await engine.result_of(id)

    async def refused(
        self,
        call: Callable[[], Awaitable[Any]],
        error: type[StepwellError] | tuple[type[StepwellError], ...],
        text: str = "",
    ) -> None:
        """Call what must be refused with this error."""
        try:
            found = await self.insist(call)
        except StepwellError as told:
            if not isinstance(told, error) or text not in str(told):
                raise
            return
        raise Breach(f"{error} was due, but {found!r} came")

    async def until(self, id: str, *wanted: Status, step: str | None = None) -> None:
        """Return when an execution is stored so."""
        with anyio.fail_after(LONG + self._lasting):
            while True:
                stored = await self.storage.load(id)
                if stored is not None and stored.row.status in wanted and step in {None, stored.row.step}:
                    return
                await anyio.sleep(2)

    async def resume(self, engine: Engine, id: str, *, attempts: int = 1) -> None:
        """Resume an execution. After an unknown outcome it may be resumed already."""
        refusals = self.refusals
        try:
            await self.insist(lambda: engine.resume(id, attempts))
        except NotResumable:
            if self.refusals == refusals:
                raise

    def expect(self, id: str, status: Status) -> None:
        """Let an execution end otherwise than was said."""
        self._expected[id] = status

    # -- handlers ------------------------------------------------------------------------------------------------------

    def may_raise(self, *types: str) -> None:
        """Let the journal tell of failures of these types: handlers raise them."""
        self._may_raise.update(types)

    def gate(self, name: str) -> Gate:
        """Return the gate of that name, at which handlers stop."""
        return self._gates.setdefault(name, Gate())

    @property
    def ran(self) -> int:
        """How many handlers began."""
        return sum(self._ran.values())

    async def reached(self, name: str, count: int = 1) -> None:
        """Return when so many handlers have come to a gate."""
        await self.gate(name).reached(count, within=LONG + self._lasting)

    def began(self, ctx: Context[Any]) -> None:
        """Hear that a handler begins."""
        self.note(ctx.execution_id, ctx.step, ctx.visit, ctx.attempt)

    def note(self, id: str, step: str, visit: int, attempt: int) -> None:
        """Hear that a handler began, perhaps in another process."""
        self._ran[id, step, visit, attempt] += 1

    def forget(self, id: str) -> None:
        """Hear that an execution was purged: its id is free, and its steps may run anew."""
        self._ran = Counter({ran: times for ran, times in self._ran.items() if ran[0] != id})

    # -- afterwards ----------------------------------------------------------------------------------------------------

    async def breaches(self) -> list[str]:
        """Return every promise that was broken, in words."""
        broken = await breaches_in(self.storage)
        stored = await everything_in(self.storage)
        for id, status in self._expected.items():
            found = stored[id].row.status if id in stored else None
            if found is not status:
                broken.append(f"{id} was acknowledged and is {found}, not {status}")
        for id, one in stored.items():
            if id not in self._expected and not one.row.status.is_terminal:
                broken.append(f"{id} is {one.row.status}, and nobody said that it would stay so")
            for entry in one.journal:
                if entry.kind in {Kind.STEP_FAILED, Kind.STEP_RETRY} and (told := self._foreign(entry.payload)):
                    broken.append(f"{id}: {told} is booked as what step {entry.step} raised")
        for (id, step, visit, attempt), times in self._ran.items():
            if times > 1:
                broken.append(f"{id}: attempt {attempt} of {step} (visit {visit}) ran {times} times")
            if id not in stored:
                continue  # purged
            for entry in stored[id].journal:
                if entry.kind in _SUCCESSES and (entry.step, entry.visit) == (step, visit) and entry.attempt < attempt:
                    broken.append(f"{id}: {step} (visit {visit}) ran again, after its success was recorded")
        return broken

    def _foreign(self, failure: str | None) -> str:
        """Return what a failure says if it isn't one that a handler of this scenario raises."""
        told = Failure("none", "") if failure is None else msgspec.json.decode(failure, type=Failure)
        return "" if told.type.rpartition(".")[2] in self._may_raise else told.summary


_here: World | None = None


def here() -> World:
    """Return the world that is being played."""
    assert _here is not None
    return _here


def began(ctx: Context[Any]) -> World:
    """Tell the world that a handler begins, and return it."""
    world = here()
    world.began(ctx)
    return world


@activity
async def chirp(ctx: Context[int]) -> int:
    began(ctx)
    return ctx.input


@succeed
def chirped(ctx: Context[int]) -> int:
    return ctx.output(chirp)


canary: Final = Workflow[int, int]("canary", version="1", start=chirp, edges=[chirp.then(chirped)])
