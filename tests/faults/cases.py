"""Cases: a scenario, and what goes wrong in it. Played one by one, each in a world and in virtual time of its own.

A case is written `scenario@backend: commit 3 fails after, load 1 hangs before`, and replayed from that.
"""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Final, Self, cast

import anyio
import trio._core._run as trio_scheduler

from stepwell.storage import Storage
from tests.engine.faulty import Faulty, How
from tests.faults.scenarios import SCENARIOS
from tests.faults.world import World
from tests.support.virtual_time import Backend, VirtualTime

__all__ = ["BACKENDS", "Case", "Outcome", "Spoilt", "breaches_of", "play", "single_faults"]

BACKENDS: Final[tuple[Backend, ...]] = ("asyncio", "trio")
LASTING: Final = 100.0
"""seconds for which a call hangs, or comes late: longer than any limit of the engine's, and than a lease"""
GIVEN_UP: Final = 20_000.0
"""virtual seconds after which a scenario counts as one that never ends"""

Open = Callable[[VirtualTime], AbstractAsyncContextManager[Storage]]
"""Opens an empty storage, in this time."""


@dataclass(frozen=True, slots=True)
class Spoilt:
    """One call that goes wrong: the *at*-th of this method, as the scenario counts them."""

    method: str
    at: int
    how: How

    def __str__(self) -> str:
        return f"{self.method} {self.at} {self.how.value}"

    @classmethod
    def of(cls, text: str) -> Self:
        """Read what `str` wrote."""
        method, at, how = text.strip().split(" ", 2)
        return cls(method, int(at), How(how))


@dataclass(frozen=True, slots=True)
class Case:
    """A scenario on one event loop, with calls that go wrong in it."""

    scenario: str
    backend: Backend
    faults: tuple[Spoilt, ...] = ()

    def __str__(self) -> str:
        return f"{self.scenario}@{self.backend}: {', '.join(map(str, self.faults)) or 'nothing'}"

    @classmethod
    def of(cls, text: str) -> Self:
        """Read what `str` wrote. Raises ValueError."""
        head, _, tail = text.partition(":")
        scenario, _, name = head.strip().partition("@")
        backend: Backend | None = next((one for one in BACKENDS if one == name), None)
        if scenario not in SCENARIOS or backend is None:
            raise ValueError(f"{head!r} names no scenario and event loop")
        faults = () if tail.strip() in {"", "nothing"} else tuple(map(Spoilt.of, tail.split(",")))
        return cls(scenario, backend, faults)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a case."""

    calls: Counter[str]
    met: int
    """how many of its faults were met"""
    breaches: tuple[str, ...]
    told: int
    """how often a worker or a client was told of a storage's error"""
    ran: int
    """how many handlers began"""
    is_calm: bool
    """whether nobody died or was cut off on purpose"""


def single_faults(calls: Counter[str]) -> Iterator[Spoilt]:
    """Yield every single fault of a scenario that makes these calls."""
    for method, count in sorted(calls.items()):
        for at in range(1, count + 1):
            for how in How:
                yield Spoilt(method, at, how)


def breaches_of(case: Case, outcome: Outcome, clean: Outcome) -> tuple[str, ...]:
    """Return what a case broke, also in comparison with a *clean* run: where calls only fail, no handler runs again."""
    if outcome.breaches or not clean.is_calm or outcome.ran == clean.ran:
        return outcome.breaches
    if any(fault.how not in {How.FAILS_BEFORE, How.FAILS_AFTER} for fault in case.faults):
        return ()  # a lease may have been lost
    return (f"{outcome.ran} handlers ran in place of {clean.ran}, for a storage's error",)


def play(case: Case, open_storage: Open, *, seed: int = 0) -> Outcome:
    """Play one case from beginning to end, and look at what is left."""
    time = VirtualTime(case.backend)
    name, options = time.anyio_backend
    with _seeded(seed), _logged() as errors:
        return anyio.run(_play, case, open_storage, time, seed, errors, backend=name, backend_options=options)


async def _play(case: Case, open_storage: Open, time: VirtualTime, seed: int, errors: list[str]) -> Outcome:
    breaches: list[str] = []
    async with open_storage(time) as storage, anyio.create_task_group() as tasks:
        faulty = Faulty(storage, tasks)
        faults = [faulty.spoil(one.method, how=one.how, at=one.at, seconds=LASTING) for one in case.faults]
        world = World(storage, faulty, tasks, seed=seed, lasting=LASTING * len(faults))
        with anyio.move_on_after(GIVEN_UP) as limit:
            try:
                await SCENARIOS[case.scenario](world)
            except Exception as error:
                breaches.append(_told(error))
        if limit.cancelled_caught:
            breaches.append(f"not over after {GIVEN_UP:,.0f} s")
        for fault in faults:
            fault.mend()
        await anyio.wait_all_tasks_blocked()
        if not breaches:
            breaches.extend(await world.breaches())
        tasks.cancel_scope.cancel()
        if world.is_calm:
            breaches.extend(f"logged: {error}" for error in errors)
        told = len(world.troubles) + world.refusals
        return Outcome(
            faulty.calls, sum(fault.met for fault in faults), tuple(breaches), told, world.ran, world.is_calm
        )
    raise AssertionError("unreachable: nobody cancels it from outside")


def _told(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return " and ".join(map(_told, group.exceptions))
    cause = "" if error.__cause__ is None else f" because of {_told(error.__cause__)}"
    return f"{type(error).__name__}: {error}{cause}"


@contextmanager
def _seeded(seed: int) -> Generator[None]:
    """Let Trio, which shuffles what is ready, shuffle as the seed says."""
    scheduler: Any = trio_scheduler
    before = scheduler._ALLOW_DETERMINISTIC_SCHEDULING
    scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True
    scheduler._r.seed(seed)
    random.seed(seed)
    try:
        yield
    finally:
        scheduler._ALLOW_DETERMINISTIC_SCHEDULING = before


class _Errors(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(self.format(record))


@contextmanager
def _logged() -> Generator[list[str]]:
    """Gather what the library logs as an error."""
    handler = _Errors()
    logger = logging.getLogger("stepwell")
    logger.addHandler(handler)
    propagates, logger.propagate = logger.propagate, False
    try:
        yield handler.records
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagates
