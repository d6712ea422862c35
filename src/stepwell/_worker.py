"""A worker: claims what is due as slots free up, runs each claim in a task of its own, and drains when told to go.

Starts tasks: one per claimed execution, one that renews all leases, one that watches them. All live in the task groups
of `Worker.run`, so none outlives it.

Leaving: stop claiming, let running steps end for up to `grace` seconds, then cancel them and hand their leases back.
When the worker itself is cancelled, steps are cancelled at once.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio
from anyio import CancelScope, create_task_group

from stepwell._claiming import Claiming
from stepwell._claims import Claim, Place
from stepwell._contained import ContainedTasks
from stepwell._interrupts import sheltered
from stepwell._leases import Ending, Leases
from stepwell._model import Status
from stepwell._notices import claim_notices
from stepwell._reports import Reports
from stepwell._runner import Run
from stepwell._suspects import Suspects
from stepwell._threads import Threads
from stepwell._unstoppable import Unstoppable
from stepwell._watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable

    from stepwell._leases import Beat, Held, Timing
    from stepwell._listeners import Listeners
    from stepwell._model import Row, Stored
    from stepwell._program import Program
    from stepwell._registry import Registry
    from stepwell._services import Services
    from stepwell._unstoppable import OnUnstoppable
    from stepwell._wakeups import Bell
    from stepwell.storage._protocol import Lease

__all__ = ["Worker"]

_STATUSES: Final = frozenset(map(str, Status))
_EXIT_LIMIT: Final = 10.0
"""seconds beyond its grace that a worker which has to exit may take, to hand back what it runs"""


class Worker:
    """Runs executions until it is stopped. Made by the engine; `id` is this one's alone, whatever its name."""

    def __init__(
        self,
        id: str,
        services: Services,
        registry: Registry,
        timing: Timing,
        *,
        concurrency: int,
        listeners: Listeners,
        single_step: bool = False,
    ) -> None:
        self.id = id
        self.is_stopping = False
        """whether nothing is claimed any more, and no further step begun"""
        self.threads = Threads(concurrency)
        self._services = services
        self._timing = timing
        self._concurrency = concurrency
        self._listeners = listeners
        self._single_step = single_step
        self._is_closed = False
        self._running = 0
        self._grace = 0.0
        self.suspects = Suspects(self._look_again)
        self._steps: ContainedTasks | None = None
        """while executions that are being started may be claimed at once"""
        self._is_idle = False
        """whether the last claim found that nothing more was due"""
        self._reports = Reports(id, listeners)
        self._unstoppable = Unstoppable(self.threads, concurrency, self._reports, self._exit)
        self.leases = Leases(
            services.storage,
            id,
            timing,
            unknown=self._tell_unknown,
            unstoppable=self._give_up,
            stalled=self._tell_stalled,
            failed=lambda error: self.trouble(f"leases can't be renewed: {error}"),
        )
        self._claiming = Claiming(self, services, registry, self.leases, lease=timing.lease)
        self._watchdog = Watchdog(services.storage, id, self.leases, timing)

    @property
    def abandoned(self) -> int:
        """How many handlers run on that can't be stopped: those whose slots are used again, and those in threads."""
        return len(self._unstoppable)

    # -- what a run asks (Host) ----------------------------------------------------------------------------------------

    def goes_on(self) -> bool:
        """Tell whether the next step may begin under this lease."""
        return not (self._single_step or self.is_stopping)

    def trouble(self, message: str, held: Held | None = None, row: Row | None = None) -> None:
        """Tell of what is wrong with the worker, its storage or a handler, rather than with a step."""
        self._reports.trouble(message, row)

    def lease_lost(self, held: Held, row: Row) -> None:
        """Tell that this worker lost a lease; what ran under it was cancelled."""
        self._reports.lease_lost(row)

    def left_in_thread(self, row: Row) -> None:
        """Tell of a handler that was left behind in its thread, which can't be stopped."""
        self._unstoppable.left_in_thread(row, leaving=self.is_stopping)

    def _look_again(self) -> None:
        self._claiming.bell.ring()

    def _tell_unknown(self, lease: Lease) -> None:
        self._claiming.found_unknown(lease)

    def _tell_stalled(self, beat: Beat, seconds: float) -> None:
        block = self._watchdog.block
        self._reports.blocked(seconds, block if block is not None and block.beat is beat else None)

    def _give_up(self, held: Held) -> None:
        """Go on without a handler that ignores its cancellation."""
        if self._unstoppable.give_up(held):
            self._running -= 1
        self.suspects.is_over(held)
        self._look_again()

    def _exit(self) -> None:
        self._watchdog.exit_after(self._grace + _EXIT_LIMIT)
        self.stop()

    # -- living and leaving --------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Claim nothing any more, and begin no further step."""
        self.is_stopping = True
        self._look_again()

    def close(self) -> None:
        """Stop at once: cancel what runs, and whatever a claim that is on its way still brings."""
        self._is_closed = True
        self.stop()
        self.leases.end_all(Ending.DRAINED)

    async def run(
        self,
        bell: Bell,
        *,
        poll_interval: float,
        grace: float,
        on_unstoppable: OnUnstoppable,
        ready: Callable[[], None],
    ) -> None:
        """Claim and run until stopped, then drain for up to *grace* seconds; or until cancelled, then stop at once.

        Raises UnstoppableHandler if the worker is to exit for one.
        """
        self._grace, self._unstoppable.policy = grace, on_unstoppable
        async with self._renewing(), create_task_group() as tasks:
            self._steps = steps = ContainedTasks(tasks)
            self._claiming.bell = bell
            ready()
            try:
                while not self.is_stopping:
                    may_be_more = await self._claim(steps)
                    self._is_idle = not (may_be_more or self._claiming.failures)
                    if not self.is_stopping:
                        await self._claiming.pause(poll_interval, may_be_more=may_be_more)
                with anyio.move_on_after(grace):
                    await self._claiming.drain(poll_interval, lambda: bool(self._running) and not self._is_closed)
            finally:
                self._steps = None
            self.leases.end_all(Ending.DRAINED)
            steps.close()
        if self._unstoppable.fatal is not None:
            raise self._unstoppable.fatal

    async def run_once(self, limit: int) -> int:
        """Claim up to *limit* executions, run one step of each, and return how many were claimed."""
        claimed = await self._claiming.request(limit)
        async with self._renewing(), create_task_group() as tasks:
            steps = ContainedTasks(tasks)
            for claim in claimed:
                self._start(steps, claim)
            steps.close()
        return len(claimed)

    @asynccontextmanager
    async def _renewing(self) -> AsyncGenerator[None]:
        """Keep leases alive until the last step has ended, whatever becomes of the worker's own scope."""
        async with create_task_group() as siblings:
            scopes = [CancelScope(shield=True), CancelScope(shield=True)]

            async def live(scope: CancelScope, work: Callable[[], Any]) -> None:
                with scope:
                    await work()

            siblings.start_soon(sheltered, live, scopes[0], self.leases.renew)
            siblings.start_soon(sheltered, live, scopes[1], self.leases.watch)
            try:
                with self._watchdog.watching():
                    yield
            finally:
                for scope in scopes:
                    scope.cancel()

    # -- claiming ------------------------------------------------------------------------------------------------------

    async def _claim(self, steps: ContainedTasks) -> bool:
        """Claim as many executions as there are free slots; return whether there may be more that are due."""
        self._is_idle = False  # from here on the free slots are spoken for
        free = max(self._concurrency - self._running, 0)
        claimed = await self._claiming.claim(free)
        if claimed is None:
            return False
        for claim in claimed:
            self._start(steps, claim)
        return len(claimed) == free

    # -- executions that are claimed as they are started (`_claims`) ---------------------------------------------------

    def place(self, program: Program) -> Place | None:
        """Keep a free slot for an execution that is being started; None where what is due already has to come first."""
        if self._steps is None or self.is_full or not self._is_idle or self.is_stopping:
            return None
        self._running += 1
        self.leases.claims_sent += 1
        return Place(self, program, self._timing.lease)

    def fill(self, claim: Claim) -> bool:
        """Begin to run the claim in the place that was kept; False if the worker starts nothing any more."""
        if self._steps is None:
            return False
        self.leases.claims_answered += 1
        self._running -= 1
        self._start(self._steps, claim)
        return True

    def vacate(self) -> None:
        """Keep the place no longer."""
        self.leases.claims_answered += 1
        self._running -= 1
        self._look_again()

    @property
    def is_full(self) -> bool:
        """Whether every slot is taken."""
        return self._running >= self._concurrency

    # -- running what was claimed --------------------------------------------------------------------------------------

    def _start(self, steps: ContainedTasks, claim: Claim) -> None:
        stored, row = claim.stored, claim.stored.row
        held = self.leases.take(row.id, row.token, sent_at=claim.sent_at)
        if self._is_closed:
            held.end(Ending.DRAINED)
        if self._listeners.is_needed:
            for event in claim_notices(row, _found(stored)):
                self._services.after(row.id, partial(self._listeners.tell, event))
        run = Run(self._services, self, claim.program, stored, held)
        self._running += 1
        steps.start(partial(self._run, run, held), partial(getattr, run, "has_open_scope"))

    async def _run(self, run: Run, held: Held) -> None:
        try:
            await run.run()
        finally:
            is_awaited = self.is_full or self.is_stopping
            self.leases.drop(held)
            self.suspects.is_over(held)
            if not self._unstoppable.has_ended(held):
                self._running -= 1
            if is_awaited:
                self._look_again()
            if held.ending is Ending.LOST:
                self._claiming.bell.ring(self._timing.lease)  # by then it has lapsed


def _found(stored: Stored) -> Status:
    """Return where a claim found the execution, as its entry says; one that can't be read says nothing."""
    ref = stored.journal[-1].ref if stored.journal else None
    return Status(ref) if ref in _STATUSES else Status.QUEUED
