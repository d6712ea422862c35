"""One run: processes, a storage, a wire, clients, and a plan of what goes wrong. Then all is mended, and must end.

One seed gives generators that are apart, so that to change the faults changes neither the workload nor the order of
tasks: one for the loop's order, one for times on the wire, one for faults, one for the workload.

Starts tasks: the wire, each process, the clients, and whoever lets faults happen; all end with the run.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from random import Random
from typing import TYPE_CHECKING, Any, Final

import anyio

from stepwell import MemoryStorage, verify
from stepwell.testing._simulation._client import Client
from stepwell.testing._simulation._faults import Fault, drawn_plan
from stepwell.testing._simulation._loops import Backend, Livelock, run_simulated
from stepwell.testing._simulation._network import Network
from stepwell.testing._simulation._nodes import Node, WorkerSettings
from stepwell.testing._simulation._oracle import Ledger, Oracle, StoredCheck
from stepwell.testing._simulation._processes import Process
from stepwell.testing._simulation._recorder import Recorder
from stepwell.testing._simulation._storage import SimulatedStorage

if TYPE_CHECKING:
    from collections.abc import Generator

    from anyio.abc import TaskGroup

    from stepwell import Workflow
    from stepwell.storage import Row
    from stepwell.testing._simulation._recorder import Call

__all__ = ["Outcome", "Scenario", "Trial", "run_trial"]

_EPOCH: Final = 1_767_225_600.0
"""what the storage's clock shows when virtual time begins: 2026-01-01"""
_DRIFT: Final = 0.009
"""how far a worker's clock may go faster or slower than the storage's"""
_MOST_VERIFIED: Final = 10_000
"""executions that are checked at the end of a run"""
_ENOUGH: Final = 100
"""problems after which nothing more is to be learnt from a run"""

logger = logging.getLogger("stepwell")


@dataclass(frozen=True)
class Scenario:
    """What is to be run under faults: workflows, what clients do with them, and what must have come of it.

    *workload* is through when it returns. *expect* gets all rows by id at the end, and gives what is wrong with them.
    *settings* is how engines and workers are set up; each of *checks* looks at
    what is stored after every commit.
    """

    workflows: Sequence[Workflow[Any, Any]]
    workload: Callable[[Client], Awaitable[None]]
    expect: Callable[[Mapping[str, Row]], Iterable[str]] | None = None
    settings: WorkerSettings = field(default_factory=WorkerSettings)
    checks: tuple[StoredCheck, ...] = ()


@dataclass(frozen=True)
class Trial:
    """One run that is to be made."""

    seed: int
    backend: Backend
    scenario: Callable[[Random], Scenario]
    plan: tuple[Fault, ...] | None = None
    """in place of the one that the seed draws"""
    workers: int = 3
    faults_for: float = 25.0
    settle_within: float = 400.0
    """virtual seconds"""


@dataclass
class Outcome:
    """What came of a run."""

    seed: int
    backend: Backend
    plan: tuple[Fault, ...]
    problems: list[str] = field(default_factory=list[str])
    happened: Counter[str] = field(default_factory=Counter[str])
    digest: str = ""
    """of all that happened, in order"""


class _World:
    def __init__(self, trial: Trial) -> None:
        seeds = Random(trial.seed)  # noqa: S311 -- it decides what is tried
        self._order = seeds.getrandbits(63)
        self._schedule, self._faults, workload = (_generator(seeds) for _ in range(3))
        self._trial = trial
        self._scenario = trial.scenario(workload)
        self._settings = self._scenario.settings
        self.plan = drawn_plan(self._faults, within=trial.faults_for) if trial.plan is None else trial.plan
        self.happened: Counter[str] = Counter()
        self.oracle = Oracle(anyio.current_time, _clock, self.happened, self._scenario.checks)
        self.trace: list[tuple[Any, ...]] = []
        self._recorder = Recorder(self, self.happened)
        self._workflows = [self._recorder.recorded(workflow) for workflow in self._scenario.workflows]
        self._nodes: list[Node] = []
        self._ledger = Ledger()
        self._client = Client(lambda: self._nodes, workload, self._schedule, self._ledger)
        self._buried: list[Process] = []
        self._is_healed = False

    def run(self) -> None:
        run_simulated(self._trial.backend, self._order, self._run, stuck=self._bury_all)

    async def _run(self) -> None:
        storage = MemoryStorage(clock=_clock)
        watch = partial(self.oracle.watch, storage)
        self._network = network = Network(storage, self._schedule, self._faults, watch, self.happened)
        self._recorder.resume_by(self._resume_later)
        async with storage, anyio.create_task_group() as tasks:
            tasks.start_soon(network.run)
            for place in range(self._trial.workers + 1):
                tasks.start_soon(self._keep_up, tasks, place)
            tasks.start_soon(self._work)
            await self._suffer()
            self._heal()
            await self._settle()
            verified = await verify(storage, workflows=self._workflows, limit=_MOST_VERIFIED)
            for breach in verified.breaches:
                self.oracle.problem(str(breach))
            self._end()
            tasks.cancel_scope.cancel()

    # -- processes -----------------------------------------------------------------------------------------------------

    async def _keep_up(self, tasks: TaskGroup, place: int) -> None:
        """Keep a process running in this place, as whatever runs services does. The first place has no worker."""
        count = 0
        while True:
            count += 1
            node = self._node(place, count)
            self._nodes.append(node)
            tasks.start_soon(node.live)
            await node.has_left.wait()
            self._nodes.remove(node)
            self._note_end(node.process)
            await anyio.sleep(0.1 if self._is_healed else self._schedule.random() * 4)

    def _note_end(self, process: Process) -> None:
        self._buried.append(process)
        self.trace.append((anyio.current_time(), process.name, "dead" if process.is_dead else "left"))

    def _node(self, place: int, count: int) -> Node:
        process = Process(f"{'client' if not place else 'worker'}{place}-{count}")
        rate = 1 + _DRIFT * (2 * self._faults.random() - 1)
        return Node(
            process,
            SimulatedStorage(self._network, process, rate=rate),
            self._known_to(place),
            self._settings,
            self._schedule.getrandbits(32),
            works=place > 0,
            failed=self.oracle.problem,
        )

    def _known_to(self, place: int) -> list[Workflow[Any, Any]]:
        """Return the workflows that a process knows: all, but in mid-upgrade a worker may lack some versions."""
        names = Counter(workflow.name for workflow in self._workflows)
        if self._is_healed or not place:
            return self._workflows
        known = [each for each in self._workflows if names[each.name] == 1 or self._faults.random() < 0.6]
        self.happened["worker lacks a version"] += len(known) < len(self._workflows)
        return known

    # -- what goes wrong -----------------------------------------------------------------------------------------------

    async def _suffer(self) -> None:
        began = anyio.current_time()
        for fault in self.plan:
            if len(self.oracle.problems) > _ENOUGH:
                return
            await anyio.sleep(fault.delay)
            self._let_happen(fault)
        await anyio.sleep(max(0.0, began + self._trial.faults_for - anyio.current_time()))

    def _let_happen(self, fault: Fault) -> None:
        alive = [node for node in self._nodes if not node.process.is_dead]
        if not alive:
            return
        alive.sort(key=lambda node: (not node.works, node.process.name))
        node = alive[fault.victim % len(alive)]
        process, network = node.process, self._network
        self.happened[fault.kind] += 1
        self.trace.append((anyio.current_time(), process.name, fault.kind, fault.duration))
        match fault.kind:
            case "crash":
                process.kill()
            case "pause":
                if not process.is_paused:
                    process.pause(anyio.current_time())
                    self._resume_later(fault.duration, process)
            case "partition" | "slow":
                hit = network.cut_off if fault.kind == "partition" else network.slow
                hit[process] = hit.get(process, 0) + 1
                network.after(fault.duration, partial(_less, hit, process))
            case "drain":
                node.stop()
            case "flaky":
                network.flaky += 1
                network.after(fault.duration, self._less_flaky)
            case "deaf":
                network.deaf += 1
                network.after(fault.duration, self._less_deaf)
            case "poison" | "block" | "stubborn":
                self._recorder.hazards.setdefault(process.name, []).append((fault.kind, fault.duration))

    def _less_flaky(self) -> None:
        self._network.flaky = max(0, self._network.flaky - 1)

    def _less_deaf(self) -> None:
        self._network.deaf = max(0, self._network.deaf - 1)

    def _resume_later(self, seconds: float, process: Process) -> None:
        self._network.after(seconds, lambda: process.resume(anyio.current_time()))

    def _heal(self) -> None:
        """Mend everything; what still lacks a version leaves, and comes back with all."""
        self._is_healed = True
        self._network.heal()
        self._recorder.hazards.clear()
        everything = frozenset(workflow.key for workflow in self._workflows)
        for node in self._nodes:
            node.process.resume(anyio.current_time())
            if node.keys != everything:
                node.stop()
        self.trace.append((anyio.current_time(), "healed"))

    async def _settle(self) -> None:
        """Wait until all is done, which it must be within a bounded time."""
        end = anyio.current_time() + self._trial.settle_within
        while anyio.current_time() < end:
            is_done = self._ledger.is_settled and self.oracle.is_idle()
            if is_done or len(self.oracle.problems) > _ENOUGH:
                return
            await anyio.sleep(1)

    def _end(self) -> None:
        """Look at what there is now; what the tasks still do has no effect and isn't looked at."""
        self.oracle.look_at_end(self._ledger)
        if self._scenario.expect is not None:
            rows = {id: stored.row for id, stored in sorted(self.oracle.stored.items())}
            for wrong in self._scenario.expect(rows):
                self.oracle.problem(wrong)
        self.trace.append((anyio.current_time(), "ended"))
        self._bury_all()

    def _bury_all(self) -> None:
        for process in (*(node.process for node in self._nodes), *self._buried):
            process.bury()

    # -- what is done and seen -----------------------------------------------------------------------------------------

    async def _work(self) -> None:
        await self._scenario.workload(self._client)
        self._ledger.is_settled = True

    def began(self, call: Call) -> None:
        """Hear that a handler begins."""
        self.trace.append((call.began_at, call.process.name, "begins", call.execution, call.step, call.attempt))
        self.oracle.began(call)

    def stopped(self, call: Call) -> None:
        """Hear that a handler is cancelled."""
        if not call.process.is_over:
            self.oracle.stopped(call)

    def ended(self, call: Call) -> None:
        """Hear that a handler has ended."""
        if not call.process.is_over:
            self.trace.append((anyio.current_time(), call.process.name, "ends", call.execution, call.step))
            self.oracle.ended(call)

    def digest(self) -> str:
        """Return a digest of all that happened."""
        digest = sha256(repr(self.trace).encode())
        digest.update(repr(self._network.trace).encode())
        for id, stored in sorted(self.oracle.stored.items()):
            digest.update(repr((id, stored.row, stored.journal, stored.signals)).encode())
        return digest.hexdigest()


def _clock() -> float:
    """Return what the storage's clock shows."""
    return _EPOCH + anyio.current_time()


def _generator(seeds: Random) -> Random:
    return Random(seeds.getrandbits(63))  # noqa: S311 -- as above


def _less(hit: dict[Process, int], process: Process) -> None:
    """One fault fewer; none are left where all was mended meanwhile."""
    hit[process] = max(0, hit.get(process, 0) - 1)


@contextmanager
def _quietly() -> Generator[None]:
    """Keep the engine from logging each of the thousand faults."""
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def run_trial(trial: Trial) -> Outcome:
    """Run one seed on one backend."""
    world = _World(trial)
    outcome = Outcome(trial.seed, trial.backend, world.plan, world.oracle.problems, world.happened)
    with _quietly():
        try:
            world.run()
        except Livelock as livelock:
            outcome.problems.append(str(livelock))
        else:
            outcome.digest = world.digest()
    return outcome
