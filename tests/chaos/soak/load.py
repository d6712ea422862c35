"""The clients: they start executions, signal, cancel and pause them, and remember what they were told.

Starts tasks: one for each execution, in a task group of `Load.run`.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import anyio

from stepwell import (
    Engine,
    Execution,
    ExecutionCancelled,
    ExecutionEnded,
    ExecutionFailed,
    NotResumable,
    Query,
    Status,
    StorageError,
)
from tests.chaos.mixture import KINDS, gate, kind_of

__all__ = ["Load", "Wrong"]

T = TypeVar("T")

AT_ONCE: Final = 1500
"""executions that are open at a time"""
PAUSE: Final = 0.1
TERRIBLE: Final = ("poisoned", "blocked")
EVERY: Final = 15.0
"""seconds between two of those that take their worker down, or stop it"""


@dataclass(frozen=True)
class Wrong:
    """An execution that did not end as it must, or as somebody was told."""

    id: str
    what: str

    def __str__(self) -> str:
        return f"{self.id}: {self.what}"


class Load:
    """All clients of one soak."""

    def __init__(self, engine: Engine, *, executions: int, seconds: float, seed: int) -> None:
        self.engine = engine
        self.executions = executions
        self.seconds = seconds
        self.choices = random.Random(f"load {seed}")
        self.acknowledged: dict[str, int] = {}
        """what was started, and its input"""
        self.cancelled: dict[str, Status] = {}
        """what `cancel` has told"""
        self.results: dict[str, Any] = {}
        self.open: set[str] = set()
        """what is being started, or has not ended"""
        self.did: Counter[str] = Counter()
        self.met: Counter[str] = Counter()
        """what the storage said when it didn't do what was asked"""
        self.longest_silence = 0.0
        """seconds without the end of any execution"""
        self._heard_at = 0.0
        self._plan = self._planned()
        self._has_started = anyio.Event()
        self._has_ended = anyio.Event()
        self._is_stopped = False

    async def started(self) -> None:
        """Return when all is started."""
        await self._has_started.wait()

    async def ended(self) -> None:
        """Return when all that was started has ended."""
        await self._has_ended.wait()

    def stop(self) -> None:
        """Start no more."""
        self._is_stopped = True

    def _planned(self) -> list[str]:
        """Return the kinds of all executions, in the order of their starts."""
        names = list(KINDS)
        plan = self.choices.choices(names, [KINDS[name].share for name in names], k=self.executions)
        for place in range(terrible := max(2, 2 * round(self.seconds / EVERY / 2))):
            plan[(2 * place + 1) * self.executions // (2 * terrible)] = TERRIBLE[place % 2]
        return plan

    async def run(self) -> None:
        """Start all executions, spread over the time there is, and see each to its end."""
        begun = self._heard_at = anyio.current_time()
        free = anyio.Semaphore(AT_ONCE)
        async with anyio.create_task_group() as tasks:
            for number, name in enumerate(self._plan):
                if self._is_stopped:
                    break
                await anyio.sleep(max(begun + number * self.seconds / self.executions - anyio.current_time(), 0))
                await free.acquire()
                tasks.start_soon(self._client, f"{name} {number}", number, free)
            self._has_started.set()
        self._has_ended.set()

    async def _client(self, id: str, number: int, free: anyio.Semaphore) -> None:
        self.open.add(id)
        try:
            kind = kind_of(id)
            await self._insist("start", lambda: self.engine.start(kind.workflow, number, id=id))
            self.acknowledged[id] = number
            await anyio.sleep(self.choices.random())
            match kind.deed:
                case "signal":
                    await self._signal(id, number)
                case "cancel":
                    self.cancelled[id] = await self._insist("cancel", lambda: self.engine.cancel(id))
                case "pause":
                    await self._pause(id)
                case "nothing":
                    pass
            self.results[id] = await self._insist("result", lambda: self._result(id))
            now = anyio.current_time()
            self.longest_silence, self._heard_at = max(self.longest_silence, now - self._heard_at), now
            self.open.discard(id)
        finally:
            free.release()

    async def _signal(self, id: str, number: int) -> None:
        for _ in range(self.choices.choice((1, 1, 2))):
            await self._insist("signal", lambda: self.engine.signal(id, gate, number, signal_id=f"signal of {id}"))

    async def _pause(self, id: str) -> None:
        try:
            await self._insist("pause", lambda: self.engine.pause(id))
        except ExecutionEnded:
            return
        await anyio.sleep(self.choices.random())
        try:
            await self._insist("resume", lambda: self.engine.resume(id))
        except NotResumable:  # an earlier try has done it, though its answer was lost; or it ended in time
            self.did["resumed already"] += 1

    async def _result(self, id: str) -> Any:
        try:
            return await self.engine.result_of(id)
        except (ExecutionFailed, ExecutionCancelled) as error:
            return error

    async def _insist(self, what: str, call: Callable[[], Awaitable[T]]) -> T:
        """Do it again until the storage has answered: all that is asked here may be asked twice."""
        while True:
            try:
                done = await call()
            except StorageError as error:
                self.did[f"{what}, unknown"] += 1
                self.met[str(error).rpartition("/postgres: ")[2][:80]] += 1
                await anyio.sleep(PAUSE * self.choices.random())
            else:
                self.did[what] += 1
                return done

    async def wrong(self) -> list[Wrong]:
        """Compare what is stored with what must have become of it, and with what was told."""
        found: dict[str, Execution] = {}
        after: str | None = None
        while True:
            page = await self.engine.find(Query(limit=1000, after=after))
            found.update((execution.id, execution) for execution in page.executions)
            after = page.next
            if after is None:
                break
        wrong = [Wrong(id, f"is {one.status}, nobody's") for id, one in found.items() if not one.status.is_terminal]
        for id, number in self.acknowledged.items():
            if id not in found:
                wrong.append(Wrong(id, "was acknowledged and is lost"))
            else:
                wrong += self._wrong_of(found[id], number)
        return wrong

    def _wrong_of(self, execution: Execution, number: int) -> list[Wrong]:
        id, kind = execution.id, kind_of(execution.id)
        expected: Status = self.cancelled.get(id, kind.status)
        if execution.status is not expected:
            return [Wrong(id, f"is {execution.status}, not {expected}: {execution.error}")]
        if expected is Status.CANCELLED:
            return []
        ended = execution.error if expected is Status.FAILED else execution.output
        must = "slowly" if kind.deed == "cancel" else kind.expected(number)
        if ended != must:
            return [Wrong(id, f"ended with {ended!r}, not {must!r}")]
        told = self.results.get(id)
        if expected is Status.SUCCEEDED and told != must:
            return [Wrong(id, f"was told to have ended with {told!r}, not {must!r}")]
        return []
